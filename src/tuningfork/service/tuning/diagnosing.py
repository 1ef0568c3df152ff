"""Looks at the losses of jobs for what to warn their owners of."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tuningfork.domain.diagnosis import diagnose
from tuningfork.domain.errors import Busy
from tuningfork.domain.findings import Finding, FindingKind
from tuningfork.domain.permission import Action, Principal
from tuningfork.domain.tuned_model import TunedModelId
from tuningfork.domain.tuning_job import JobId, JobState, TuningJob
from tuningfork.service.metrics import Metrics
from tuningfork.service.paging import Page
from tuningfork.service.tuning.tuned import Tuned, load
from tuningfork.store import tuning_jobs
from tuningfork.store.database import Database, Transaction
from tuningfork.store.evaluations import evaluations_of
from tuningfork.store.snapshots import snapshots_of

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """What the losses of a job so far give reason to warn of."""

    job: TuningJob
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DiagnosedInShort:
    """The kinds of findings of a job; of an ended job those that were recorded at its end."""

    job: TuningJob
    kinds: tuple[FindingKind, ...]


def findings_of(database: Database, job_id: JobId) -> tuple[Finding, ...]:
    """What the losses of this job so far give reason to warn of; nothing if the job was deleted.

    An unexpected error is logged, and nothing is found: no trained adapter must be lost for it, and no list or answer
    about other jobs.

    Raises:
        Busy: others were using the database for too long.

    """
    try:
        with database.read() as connection:
            job = tuning_jobs.find(connection, job_id)
            return () if job is None else _diagnosed(connection, job)
    except Busy:
        # The end of the job could not be recorded either, so the job waits for it; a caller asks again.
        raise
    except Exception:
        extra = {"action": "diagnosis_failed", "job": job_id}
        logger.exception("job %s: its losses could not be looked at", job_id, extra=extra)
        return ()


def _diagnosed(connection: Transaction, job: TuningJob) -> tuple[Finding, ...]:
    taken, evaluated = snapshots_of(connection, job), evaluations_of(connection, job.id)
    found = diagnose(taken, evaluated, over_preferences=job.hyperparameters.objective.over_preferences)
    # The model of a job that keeps its best checkpoint answers with the weights from before the loss rose.
    return tuple(each for each in found if not (job.keep_best and each.kind is FindingKind.OVERFITTING))


def tell(job: TuningJob, findings: Sequence[Finding], metrics: Metrics) -> None:
    """Log and count the findings of a job that has ended with weights."""
    for finding in findings:
        extra = {"action": "job_finding", "job": job.id, "finding": finding.kind.value}
        logger.warning("job %s: %s %s", job.id, finding.description, finding.advice, extra=extra)
        metrics.findings.labels(finding.kind.value).inc()
    if not findings:
        metrics.findings.labels("none").inc()


class Diagnosing:
    """The use cases of findings.

    `models` is the list of the models that a caller may read: `Tuning.list`.
    """

    def __init__(self, database: Database, models: Callable[..., Page[Tuned]]) -> None:
        self._database = database
        self._models = models

    def of(self, principal: Principal, model_id: TunedModelId) -> Diagnosis:
        """What the losses of the model's job so far give reason to warn of.

        Raises:
            NotFound: there is no such model.
            PermissionDenied: the caller may not read it.

        """
        with self._database.read() as connection:
            job = load(connection, principal, model_id, Action.GET).job
        return Diagnosis(job=job, findings=findings_of(self._database, job.id))

    def list(
        self, principal: Principal, *, page_size: int | None = None, page_token: str = ""
    ) -> Page[DiagnosedInShort]:
        """The findings of the models of a page of `Tuning.list`; models without any are left out.

        Raises:
            InvalidArgument: the size or the token is wrong.

        """
        page = self._models(principal, page_size=page_size, page_token=page_token, snapshots=False)
        found = [(each.job, self._kinds(each.job)) for each in page.items]
        items = tuple(DiagnosedInShort(job=job, kinds=kinds) for job, kinds in found if kinds)
        return Page(items, page.next_page_token)

    def _kinds(self, job: TuningJob) -> tuple[FindingKind, ...]:
        if job.state is not JobState.RUNNING:
            return job.findings or ()
        return tuple(finding.kind for finding in findings_of(self._database, job.id))
