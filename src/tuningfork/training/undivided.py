"""Passes that cannot be suspended: those of a base that runs by transformers' code, on a CPU.

Such a pass is one call of transformers and one of autograd, during which other jobs, and commands to the trainer, wait.
So passes are kept small, and a job whose examples are too long for that is named in the log.
"""

import logging

from tuningfork.modeling.loading import LoadedBase
from tuningfork.training.jobs import AdmittedJob

logger = logging.getLogger(__name__)

UNDIVIDED_TOKENS = 2048
"""The most tokens of a pass that cannot be suspended. An example with more tokens has a pass of its own."""


def is_undivided(base: LoadedBase) -> bool:
    """Whether passes over this base cannot be suspended, and may take long."""
    return base.decoder is None and base.device.type == "cpu"


def warn_if_long(base: LoadedBase, job: AdmittedJob, tokens: int) -> None:
    """Log a warning, once for each job, if a pass of so many tokens cannot be suspended."""
    if job.has_long_passes or tokens <= UNDIVIDED_TOKENS or not is_undivided(base):
        return
    job.has_long_passes = True
    logger.warning(
        "job %s has a pass of %d tokens, which cannot be suspended, since %s runs by transformers' code: other jobs, "
        "and the job's cancellation, wait until it has ended",
        job.definition.id,
        tokens,
        base.location,
    )
