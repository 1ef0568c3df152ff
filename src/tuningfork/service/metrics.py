"""What an operator can watch, in Prometheus form."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from tuningfork.domain.tuning_job import JobState
from tuningfork.store import tuning_jobs
from tuningfork.store.database import Database

_ANSWER_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
_JOB_BUCKETS = (0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3_600, 14_400, 86_400)


class Metrics:
    """Counters that the use cases move, in one registry.

    With a database, the jobs in each state and the depth of the queue are counted in it at every scrape, so they are
    right after a restart too.
    """

    def __init__(self, registry: CollectorRegistry, database: Database | None = None) -> None:
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
        self.prompt_tokens = Counter(
            "tuningfork_generation_prompt_tokens", "Tokens of the prompts answered.", registry=registry
        )
        self.cached_prompt_tokens = Counter(
            "tuningfork_generation_cached_prompt_tokens",
            "Of these, tokens that an earlier prompt on the same model begins with, so that they were not read again.",
            registry=registry,
        )
        self.output_tokens = Counter("tuningfork_generation_output_tokens", "Tokens generated.", registry=registry)
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
            registry.register(_JobCounts(database))


class _JobCounts(Collector):
    """Counts jobs when asked."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def collect(self) -> Iterator[GaugeMetricFamily]:
        with self._database.read() as connection:
            counts = tuning_jobs.count_by_state(connection)
        jobs = GaugeMetricFamily("tuningfork_tuning_jobs", "Tuning jobs by state.", labels=("state",))
        for state, count in counts.items():
            jobs.add_metric((state.value,), count)
        yield jobs
        yield GaugeMetricFamily(
            "tuningfork_tuning_queue_depth", "Jobs that wait for a trainer.", counts[JobState.QUEUED]
        )
