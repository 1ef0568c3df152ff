"""What is known of a job once its examples have been read: their number, and what is chosen for it."""

import hashlib
import math
from dataclasses import replace

from tuningfork.domain import hyperparameters
from tuningfork.domain.base_model import PublicModel
from tuningfork.domain.checkpoint_schedule import CheckpointSchedule
from tuningfork.domain.hyperparameters import MAX_LEARNING_RATE, MAX_STEPS, Hyperparameters
from tuningfork.domain.preparation import Preparation
from tuningfork.domain.tuning_job import TuningJob
from tuningfork.execution.preparation import Prepared

MOST_CHECKPOINTS = 10
"""A job with more epochs keeps about so many checkpoints, evenly distributed."""


def prepared_job(job: TuningJob, prepared: Prepared, base: PublicModel, *, quotes_examples: bool = True) -> TuningJob:
    """The job with what is known of it now that its examples were read.

    `quotes_examples`: whether the beginnings of its first examples may be kept in the database.
    """
    preparation = job.preparation or Preparation(training_uri="")
    count = prepared.training.count
    used = hyperparameters.resolve(preparation.hyperparameters, count, base.base.default_learning_rate)
    validated = 0 if prepared.validation is None else prepared.validation.count
    every = _steps_between(used, count)
    schedule = CheckpointSchedule()
    if preparation.keeps_checkpoints:
        few = used.epoch_count <= MOST_CHECKPOINTS
        schedule = CheckpointSchedule(epochs_every=1) if few else CheckpointSchedule(steps_every=every)
    return replace(
        job,
        is_prepared=True,
        hyperparameters=used,
        example_count=count,
        validation_count=validated,
        checkpoints=schedule,
        evaluate_every=every if validated else 0,
        teaches_next_turn=prepared.teaches_next_turn or job.teaches_next_turn,
        seed=_seed(job, used, prepared, base),
        preparation=None if job.preparation is None else replace(job.preparation, unread=None),
        data_statistics=prepared.statistics if quotes_examples else replace(prepared.statistics, first_turns=()),
    )


def _steps_between(used: Hyperparameters, count: int) -> int:
    """The steps of an epoch; of a job with many epochs, those between two of about ten equal parts."""
    return max(1, math.ceil(used.total_steps(count) / min(used.epoch_count, MOST_CHECKPOINTS)))


def _seed(job: TuningJob, used: Hyperparameters, prepared: Prepared, base: PublicModel) -> int:
    """The seed of a job, 32 bits. Two equal requests on equal files have the same seed, and so get the same adapter."""
    facts: tuple[object, ...] = (base.base.name, used, used.objective, job.adapter, prepared.training.digest)
    # Until now the job's seed is that of the weights that it goes on from (`seed_of_source`).
    facts += (job.seed,) if job.seed else ()
    return int.from_bytes(hashlib.sha256(repr(facts).encode()).digest()[:4], "big")


def fault_of(used: Hyperparameters, count: int) -> str | None:
    """What is wrong with the hyperparameters for so many examples; None: nothing."""
    steps = used.total_steps(count)
    if steps > MAX_STEPS:
        return (
            f"{count} examples, {used.epoch_count} epochs and batches of {used.batch_size} make {steps} steps; at most "
            f"{MAX_STEPS} are allowed, so lower epochCount."
        )
    if used.learning_rate > MAX_LEARNING_RATE:
        return (
            f"learningRateMultiplier leads to a learning rate of {used.learning_rate:g}; at most {MAX_LEARNING_RATE:g} "
            "is allowed."
        )
    return None
