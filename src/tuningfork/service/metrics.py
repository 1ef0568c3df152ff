"""The metrics of a server, for Prometheus."""

import threading
from collections.abc import Iterator
from functools import partial

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from tuningfork.domain.operations import Work
from tuningfork.domain.tuning_job import JobState
from tuningfork.store import tuned_models, tuning_jobs
from tuningfork.store.database import Database

_ANSWER_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
_JOB_BUCKETS = (0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3_600, 14_400, 86_400)


TOKEN_STEP = 1_000
"""Numbers of tokens are reported in multiples of this, so that they do not reveal single requests."""


class CoarseCounter:
    """A counter that grows in whole steps. An amount that does not fill a step is added to later amounts.

    Args:
        registry: shows the whole steps.
        step: their size.
        name: the counter's name.
        documentation: what it counts.

    """

    def __init__(self, registry: CollectorRegistry, step: int, name: str, documentation: str) -> None:
        self._counter = Counter(name, documentation, registry=registry)
        self._step = step
        self._rest = 0
        self._total = 0
        self._lock = threading.Lock()

    @property
    def total(self) -> int:
        """The whole steps so far."""
        return self._total

    def inc(self, amount: int) -> None:
        """Add an amount."""
        with self._lock:
            steps, self._rest = divmod(self._rest + amount, self._step)
            self._total += steps * self._step
        if steps:
            self._counter.inc(steps * self._step)


class Metrics:
    """Counters that the use cases increase, in one registry.

    With a database, the numbers of jobs in each state and in the queue are read from it at every scrape, so that they
    are right after a restart too.

    Tokens of prompts and answers are counted in steps of `token_step`.
    """

    def __init__(
        self, registry: CollectorRegistry, database: Database | None = None, *, token_step: int = TOKEN_STEP
    ) -> None:
        self.registry = registry
        self.created_jobs = Counter("tuningfork_tuning_jobs_created", "Tuning jobs accepted.", registry=registry)
        self.steps = Counter("tuningfork_tuning_steps", "Optimizer steps done.", registry=registry)
        self.trained_tokens = Counter(
            "tuningfork_tuning_tokens", "Tokens in the batches of these steps, prompts included.", registry=registry
        )
        self.queue_wait_seconds = Histogram(
            "tuningfork_tuning_queue_wait_seconds",
            "From a job's creation until a trainer first took it up.",
            buckets=_JOB_BUCKETS,
            registry=registry,
        )
        self.run_seconds = Histogram(
            "tuningfork_tuning_run_seconds",
            "From a job's first start to its end, by how it ended.",
            labelnames=("state",),
            buckets=_JOB_BUCKETS,
            registry=registry,
        )
        findings = "What the losses of jobs that ended with weights gave reason to warn of; `none`: of nothing."
        self.findings = Counter("tuningfork_tuning_findings", findings, ("finding",), registry=registry)
        coarse = partial(CoarseCounter, registry, token_step)
        self.prompt_tokens = coarse("tuningfork_generation_prompt_tokens", "Tokens of the prompts answered.")
        self.cached_prompt_tokens = coarse(
            "tuningfork_generation_cached_prompt_tokens",
            "Of these, tokens that an earlier prompt on the same model begins with, so that they were not read again.",
        )
        self.output_tokens = coarse("tuningfork_generation_output_tokens", "Tokens generated.")
        self.first_chunk_seconds = Histogram(
            "tuningfork_generation_first_chunk_seconds",
            "From a request for text to the first piece of it.",
            buckets=_ANSWER_BUCKETS,
            registry=registry,
        )
        self.answer_seconds = Histogram(
            "tuningfork_generation_seconds",
            "From a request for text to its end.",
            buckets=_ANSWER_BUCKETS,
            registry=registry,
        )
        self.blocked_texts = Counter(
            "tuningfork_safety_blocked",
            "Prompts and candidates withheld, by the category that passed its threshold.",
            labelnames=("text", "category"),
            registry=registry,
        )
        self.worker_deaths = Counter(
            "tuningfork_worker_deaths",
            "Calls that failed because their worker ended, by the worker's role.",
            labelnames=("role",),
            registry=registry,
        )
        if database is not None:
            registry.register(_RowCounts(database))

    def work(self) -> Work:
        """What was done since the server started, by these counters."""
        return Work(
            answers=_count_of(self.answer_seconds),
            prompt_tokens=self.prompt_tokens.total,
            output_tokens=self.output_tokens.total,
            steps=_count_of(self.steps),
            trained_tokens=_count_of(self.trained_tokens),
        )


def _count_of(metric: Counter | Histogram) -> int:
    """The total of a counter, or how many values a histogram has seen."""
    return next(
        int(sample.value)
        for family in metric.collect()
        for sample in family.samples
        if sample.name.endswith(("_total", "_count"))
    )


class _RowCounts(Collector):
    """Counts the jobs and models in the database at every scrape."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def collect(self) -> Iterator[GaugeMetricFamily]:
        with self._database.read() as connection:
            counts = tuning_jobs.count_by_state(connection)
            models = tuned_models.count_by_state_and_base(connection)
        jobs = GaugeMetricFamily("tuningfork_tuning_jobs", "Tuning jobs by state.", labels=("state",))
        for state, count in counts.items():
            jobs.add_metric((state.value,), count)
        yield jobs
        yield GaugeMetricFamily(
            "tuningfork_tuning_queue_depth", "Jobs that wait for a trainer.", counts[JobState.QUEUED]
        )
        tuned = GaugeMetricFamily(
            "tuningfork_tuned_models", "Tuned models by state and base model.", labels=("state", "base_model")
        )
        for (model_state, base), count in models.items():
            tuned.add_metric((model_state.value, base), count)
        yield tuned
