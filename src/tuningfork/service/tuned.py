"""A tuned model together with its job, read on behalf of somebody who may."""

from dataclasses import dataclass

from tuningfork.domain.permission import Action, Principal
from tuningfork.domain.tuned_model import TunedModel, TunedModelId
from tuningfork.domain.tuning_job import TuningJob
from tuningfork.service.access import model_for
from tuningfork.store import tuning_jobs
from tuningfork.store.database import Transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuned:
    """A tuned model and the job that makes it."""

    model: TunedModel
    job: TuningJob


def load(connection: Transaction, principal: Principal, model_id: TunedModelId, action: Action) -> Tuned:
    """The model and its job with the snapshots so far.

    Raises:
        NotFound: there is no such model.
        PermissionDenied: the caller may not do this with it.

    """
    model = model_for(connection, principal, model_id, action)
    return Tuned(model=model, job=tuning_jobs.of_models(connection, [model_id])[model_id])


def hold(connection: Transaction, principal: Principal, model_id: TunedModelId, action: Action) -> Tuned:
    """As `load`, and nobody else changes the job until the transaction ends."""
    tuning_jobs.hold_of_model(connection, model_id)
    return load(connection, principal, model_id, action)
