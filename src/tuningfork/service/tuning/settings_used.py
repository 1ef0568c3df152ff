"""The settings of a job as they are used, each with whether it is what is used if nothing is chosen."""

from collections.abc import Iterator

from tuningfork.domain.base_model import PublicModel
from tuningfork.domain.early_stopping import usual_evaluate_every
from tuningfork.domain.hyperparameters import RequestedHyperparameters, resolve
from tuningfork.domain.job_detail import Setting
from tuningfork.domain.objective import DEFAULT_BETA, DirectPreferenceOptimization
from tuningfork.domain.tuning_job import TuningJob


def settings_used(job: TuningJob, base: PublicModel | None) -> tuple[Setting, ...]:
    """The settings in the order in which they are shown; none of a job that trains nothing, or not yet.

    `base` None: this server does not have the job's base model, so that the base's defaults are not known.
    """
    return tuple(_settings(job, base)) if job.total_steps else ()


def _settings(job: TuningJob, base: PublicModel | None) -> Iterator[Setting]:
    used, shape = job.hyperparameters, None if base is None else base.base.adapter
    rate = 0.0 if base is None else base.base.default_learning_rate
    usual = resolve(RequestedHyperparameters(), job.example_count, rate)
    yield _setting("epoch_count", used.epoch_count, usual.epoch_count)
    yield _setting("batch_size", used.batch_size, usual.batch_size)
    yield _setting("learning_rate", used.learning_rate, None if base is None else usual.learning_rate)
    if used.learning_rate_multiplier is not None:
        yield _setting("learning_rate_multiplier", used.learning_rate_multiplier, 1.0)
    yield _setting("adapter_rank", job.adapter.rank, None if shape is None else shape.rank)
    yield _setting("adapter_alpha", job.adapter.alpha, None if shape is None else shape.alpha)
    if isinstance(used.objective, DirectPreferenceOptimization):
        yield Setting(name="objective", value="dpo", is_default=False)
        yield _setting("beta", used.objective.beta, DEFAULT_BETA)
    yield from _of_evaluation(job)
    yield _setting("checkpoint_steps_every", job.checkpoints.steps_every, 0)
    yield _setting("checkpoint_epochs_every", job.checkpoints.epochs_every, 0)


def _of_evaluation(job: TuningJob) -> Iterator[Setting]:
    yield _setting("validation_example_count", job.validation_count, 0)
    if not job.validation_count:
        return
    trained = job.example_count * job.hyperparameters.epoch_count
    usual_every = usual_evaluate_every(job.total_steps, trained, job.validation_count)
    yield Setting(name="evaluate_every", value=job.evaluate_every, is_default=job.evaluate_every in (0, usual_every))
    yield _setting("keep_best", job.keep_best, False)
    stopping = job.early_stopping
    if stopping is not None:
        yield Setting(name="early_stopping_patience", value=stopping.patience, is_default=False)
        yield _setting("early_stopping_least_improvement", stopping.least_improvement, 0.0)


def _setting(name: str, value: float | bool, usual: float | bool | None) -> Setting:
    return Setting(name=name, value=value, is_default=None if usual is None else value == usual)
