"""Which tuned models were made over a base model, or are being made."""

from collections.abc import Collection, Sequence

from sqlalchemy import Connection, select

from tuningfork.domain.base_model import BaseModelName
from tuningfork.domain.tuned_model import TunedModelId
from tuningfork.domain.tuning_job import JobState
from tuningfork.store.schema import is_over, tuning_jobs

_WITH_WEIGHTS = (JobState.PREPARING, JobState.QUEUED, JobState.RUNNING, JobState.SUCCEEDED)


def models_over(
    connection: Connection, base_models: Collection[BaseModelName], aliases: Collection[BaseModelName] = ()
) -> Sequence[TunedModelId]:
    """The tuned models over one of these base models that have weights, or whose jobs have not ended; oldest first.

    `aliases` are further names of the base models, which count for jobs of early versions only (`schema.is_over`).
    """
    wanted = tuning_jobs.c.state.in_([state.value for state in _WITH_WEIGHTS])
    query = select(tuning_jobs.c.model_id).where(wanted, is_over(base_models, aliases))
    found = connection.execute(query.order_by(tuning_jobs.c.create_time, tuning_jobs.c.id)).scalars()
    return [TunedModelId(model_id) for model_id in found]
