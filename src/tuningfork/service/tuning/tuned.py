"""A tuned model together with its job, read for a caller whose role allows it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tuningfork.domain.permission import Action, Principal
from tuningfork.domain.tuned_model import TunedModel, TunedModelId
from tuningfork.domain.tuning_job import TuningJob
from tuningfork.service.identity.keys import model_for
from tuningfork.store import tuning_jobs
from tuningfork.store.database import Transaction
from tuningfork.store.snapshots import snapshots_of, snapshots_of_jobs


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuned:
    """A tuned model and the job that makes it.

    `request_id` and `probe_prompts` are those of the request for a new one; "": it had none.
    """

    model: TunedModel
    job: TuningJob
    request_id: str = ""
    probe_prompts: tuple[str, ...] = ()


def load(connection: Transaction, principal: Principal, model_id: TunedModelId, action: Action) -> Tuned:
    """The model and its job, without the job's snapshots.

    Raises:
        NotFound: there is no such model.
        PermissionDenied: none of the caller's roles allows the action.

    """
    model = model_for(connection, principal, model_id, action)
    return Tuned(model=model, job=tuning_jobs.of_models(connection, [model_id])[model_id])


def with_snapshots(connection: Transaction, tuned: Tuned) -> Tuned:
    """Read the job's snapshots so far, and return the model and the job with them."""
    taken = snapshots_of(connection, tuned.job)
    return replace(tuned, job=replace(tuned.job, snapshots=taken))


def with_jobs(connection: Transaction, models: Sequence[TunedModel], *, snapshots: bool) -> tuple[Tuned, ...]:
    """Each of these models with its job, and with the job's snapshots if they are wanted."""
    jobs = tuning_jobs.of_models(connection, [model.id for model in models])
    taken = snapshots_of_jobs(connection, jobs.values() if snapshots else ())
    return tuple(
        Tuned(model=model, job=replace(job, snapshots=taken.get(job.id, ())))
        for model, job in ((model, jobs[model.id]) for model in models)
    )


def hold(connection: Transaction, principal: Principal, model_id: TunedModelId, action: Action) -> Tuned:
    """Like `load`, and lock the job until the transaction ends."""
    tuning_jobs.hold_of_model(connection, model_id)
    return load(connection, principal, model_id, action)
