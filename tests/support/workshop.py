"""The house between the API and the engines, composed over the executor in memory; and what its tests ask of it."""

import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry
from sqlalchemy import create_engine, make_url

from fakes import ECHO_CATALOG, Clock, InMemoryExecutor
from patience import PATIENCE_SECONDS
from tuningfork.dispatcher import Dispatcher
from tuningfork.domain.conversation import Conversation, Speaker, Turn
from tuningfork.domain.generation import GenerationRequest, RequestedSampling
from tuningfork.domain.hyperparameters import RequestedHyperparameters
from tuningfork.domain.operators import Operators
from tuningfork.domain.permission import Email, Principal
from tuningfork.domain.references import TunedRef, UnreadableName
from tuningfork.domain.staged_dataset import ReadFile
from tuningfork.domain.tuned_model import TunedModelId
from tuningfork.domain.tuning_job import JobState, TuningJob, TuningRequest
from tuningfork.evaluator import Evaluator
from tuningfork.execution.base import (
    CheckpointKept,
    Evaluated,
    Failed,
    Finished,
    Resumed,
    Stepped,
    Stopped,
    TrainingAssignment,
    TrainingEvent,
)
from tuningfork.execution.local.rows_of_files import read_rows
from tuningfork.safety.base import SafetyRater
from tuningfork.service.answering.generation import Generation
from tuningfork.service.answering.residency import Residency
from tuningfork.service.answering.safety import Safety
from tuningfork.service.datasets.arriving import Arrivals
from tuningfork.service.datasets.datasets import Datasets
from tuningfork.service.datasets.shelf import Shelf
from tuningfork.service.evaluating.beginning import Beginning
from tuningfork.service.evaluating.evaluations import Evaluations
from tuningfork.service.evaluating.held_out_data import HeldOut
from tuningfork.service.evaluating.leaks import LeakSearch
from tuningfork.service.evaluating.reading import Reading
from tuningfork.service.evaluating.running import EvaluationRunning
from tuningfork.service.identity.keys import Access
from tuningfork.service.identity.sessions import Sessions
from tuningfork.service.metrics import Metrics
from tuningfork.service.quotas import Quotas
from tuningfork.service.sharing.sharing import Sharing
from tuningfork.service.tuning.importing import Importing
from tuningfork.service.tuning.previewing import Previewing
from tuningfork.service.tuning.queue_places import QueuePlaces
from tuningfork.service.tuning.running import Running, StepReply
from tuningfork.service.tuning.speeds import Speeds
from tuningfork.service.tuning.tuning import Tuned, Tuning
from tuningfork.store.artifacts import Artifacts
from tuningfork.store.database import Database
from tuningfork.store.disk_reserve import DiskReserve
from tuningfork.store.leases import ServerId
from tuningfork.store.staged_rows import StagedFiles
from tuningfork.tutorial import EXAMPLES
from tuningfork.wire.gemini.names import tuned_id

UNLIMITED = Quotas()
SERVER = ServerId("server")
ADA = Principal(email=Email("ada@example.com"), project="123")
BOB = Principal(email=Email("bob@example.com"), project="456")
OLGA = Principal(email=Email("olga@example.com"), project="789")
"""Whoever runs the server beside the machine's owner."""

NUMBER_PAIRS = tuple(Conversation.pair(*pair) for pair in EXAMPLES)


def number_request(**changes: Any) -> TuningRequest:
    """The tutorial's request: fifteen pairs, five epochs, batches of four, nineteen steps."""
    request = TuningRequest(
        base_model="models/gemini-1.0-pro-001",
        examples=NUMBER_PAIRS,
        hyperparameters=RequestedHyperparameters(epoch_count=5, batch_size=4, learning_rate=0.001),
        display_name="number generator",
    )
    if name := changes.pop("tuned_model_source", ""):
        found = tuned_id(name)
        changes["source"] = UnreadableName(name) if found is None else TunedRef(found)
    return replace(request, **changes)


def ask(text: str, **sampling: Any) -> GenerationRequest:
    """One turn of one person."""
    return GenerationRequest(
        prompt=Conversation(turns=(Turn.said(Speaker.USER, text),)), sampling=RequestedSampling(**sampling)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Workshop:
    """Everything between the API and the engines, composed."""

    database: Database
    artifacts: Artifacts
    clock: Clock
    executor: InMemoryExecutor
    metrics: Metrics
    access: Access
    quotas: Quotas
    tuning: Tuning
    sharing: Sharing
    running: Running
    generation: Generation
    dispatcher: Dispatcher

    def advance(self, steps: int | None = None) -> TrainingAssignment:
        """Take a job up and pass on its events, to its end or for so many steps, as the dispatcher's thread would."""
        assignment = self.running.claim()
        assert assignment is not None, "no job waits"
        for event in self.executor.train(assignment):
            reply = self._pass_on(assignment, event)
            if isinstance(event, Stepped) and event.snapshot.step == steps:
                break
            if reply is StepReply.STOP:
                self.executor.stop(assignment.job_id)
        return assignment

    def _pass_on(self, assignment: TrainingAssignment, event: TrainingEvent) -> StepReply | None:
        job_id = assignment.job_id
        match event:
            case Resumed(step=step, snapshots=snapshots, evaluations=evaluated):
                return self.running.resumed(job_id, step, snapshots, evaluated)
            case Stepped(snapshot=snapshot, tokens=tokens):
                return self.running.record(job_id, snapshot, tokens)
            case Evaluated(evaluation=evaluation):
                return self.running.evaluated(job_id, evaluation)
            case CheckpointKept(step=step, epoch=epoch, adapter=adapter):
                return self.running.checkpoint_kept(job_id, step, epoch, adapter)
            case Finished(adapter=adapter):
                self.running.finish(job_id, adapter)
            case Stopped(adapter=partial):
                self.running.stopped(job_id, partial)
            case Failed(code=code, message=message):
                self.running.fail(job_id, code, message)
        return None

    def job(self, tuned: Tuned) -> TuningJob:
        """The job as it is now."""
        return self.tuning.get(ADA, tuned.model.id).job

    def wait_until(self, state: JobState, tuned: Tuned, timeout_seconds: float = PATIENCE_SECONDS) -> Tuned:
        """Wait for the dispatcher to bring the job there."""
        deadline = time.monotonic() + timeout_seconds
        while (found := self.tuning.get(ADA, tuned.model.id)).job.state is not state:
            assert time.monotonic() < deadline, f"still {found.job.state}: {found.job.error}"
            time.sleep(0.005)
        return found


def residency_of(workshop: Workshop, *pinned: TunedModelId) -> Residency:
    """Of the workshop's executor, with these models pinned."""
    return Residency(workshop.database, workshop.artifacts, ECHO_CATALOG, workshop.executor, pinned)


def previewing_of(workshop: Workshop, speeds: Speeds | None = None, **options: Any) -> Previewing:
    """Over the workshop's executor. `speeds` None: those that it has measured."""
    executor = workshop.executor
    speeds = speeds or workshop.running.speeds
    return Previewing(workshop.tuning, executor, executor, workshop.metrics, speeds, **options)


class FilesReadHere:
    """Reads uploaded files in this process: the same reading without the limits."""

    def read(self, file: Path, name: str, to: Path, *, header: bool | None = None) -> ReadFile:
        return read_rows(file, name, to, header=header)


def datasets_of(workshop: Workshop, **options: Any) -> Datasets:
    """Staged datasets over the workshop's database and executor. `options` are those of `Arrivals`."""
    entropy = random.Random(1).getrandbits
    shelf = Shelf(workshop.database, StagedFiles(workshop.artifacts.store), workshop.clock, entropy)
    readers = FilesReadHere()
    used = (workshop.executor, workshop.tuning, previewing_of(workshop))
    places = QueuePlaces(workshop.database, workshop.running.turns, workshop.running.speeds, places=2)
    made = Datasets.of(shelf, ECHO_CATALOG, readers, *used, ThreadPoolExecutor(2), places)
    return replace(made, arrivals=Arrivals(shelf, readers, **options)) if options else made


def evaluations_of(workshop: Workshop, shelf: Shelf) -> Evaluations:
    """Evaluation runs over the workshop's database; nobody carries them out."""
    w = workshop
    held_out, entropy = HeldOut(shelf, w.artifacts), random.Random(2).getrandbits
    beginning = Beginning(w.database, ECHO_CATALOG, held_out, w.clock, entropy, begun=lambda: None)
    return Evaluations(beginning=beginning, reading=Reading(w.database, w.clock, stopped=lambda: None))


def evaluator_of(workshop: Workshop, server: ServerId = SERVER, **options: Any) -> Evaluator:
    """What carries out the runs in the workshop's database, by its generation."""
    w = workshop
    leaks = LeakSearch(w.database, w.artifacts)
    running = EvaluationRunning(w.database, server, w.access, leaks, w.clock)
    return Evaluator(
        running, w.generation, w.quotas, lambda error: error.message, poll_seconds=0.02, pause_seconds=0.02, **options
    )


def build_workshop(
    database: Database,
    artifacts: Artifacts,
    clock: Clock,
    executor: InMemoryExecutor,
    quotas: Quotas = UNLIMITED,
    server: ServerId = SERVER,
    reserve: DiskReserve | None = None,
    **leases: Any,
) -> Workshop:
    """The use cases over the executor in memory. The dispatcher is not started.

    `leases` are the arguments of `Running` about them.
    """
    executor.artifacts = artifacts.store
    metrics = Metrics(CollectorRegistry(), database, token_step=1)
    running = Running(database, artifacts, ECHO_CATALOG, clock, metrics, server=server, savepoint_every=2, **leases)
    dispatcher = Dispatcher(
        running, executor, executor, metrics, concurrency=2, poll_seconds=0.05, grace_seconds=0.2, pause_seconds=0.01
    )
    # Servers on one database draw different ids, as real ones do.
    entropy = random.Random(0 if server == SERVER else server).getrandbits
    parts = (database, artifacts, ECHO_CATALOG, clock, entropy, metrics)
    return Workshop(
        database=database,
        artifacts=artifacts,
        clock=clock,
        executor=executor,
        metrics=metrics,
        access=Access(database, clock),
        quotas=quotas,
        tuning=Tuning(*parts, wake=dispatcher.wake, quotas=quotas, reserve=reserve),
        sharing=Sharing(database, entropy),
        running=running,
        generation=Generation(
            database, artifacts, ECHO_CATALOG, executor, metrics, quotas, new_id=lambda: "one-answer"
        ),
        dispatcher=dispatcher,
    )


def sessions_of(workshop: Workshop) -> Sessions:
    """The sessions in the workshop's database. Olga runs the server."""
    return Sessions(workshop.database, workshop.clock, workshop.access, Operators(frozenset({OLGA.email})))


def importing_of(workshop: Workshop) -> Importing:
    """The imports of the workshop."""
    w = workshop
    entropy = random.Random(1).getrandbits
    parts = (w.database, w.artifacts, ECHO_CATALOG, w.clock, entropy, w.metrics)
    return Importing(*parts, generators=w.executor, server=SERVER)


def with_rater(workshop: Workshop, rater: SafetyRater, **options: Any) -> Workshop:
    """The workshop with somebody who looks at texts."""
    w = workshop
    generation = Generation(
        w.database,
        w.artifacts,
        ECHO_CATALOG,
        w.executor,
        w.metrics,
        w.quotas,
        lambda: "answer-1",
        safety=Safety(rater, metrics=w.metrics, **options),
    )
    return replace(workshop, generation=generation)


@contextmanager
def fresh_postgresql_schema(url: str, schema: str) -> Iterator[str]:
    """A URL whose tables are in a new schema, which is dropped at the end."""
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.exec_driver_sql(f"CREATE SCHEMA {schema}")
    try:
        parts = make_url(url).update_query_dict({"options": f"-csearch_path={schema}"})
        yield parts.render_as_string(hide_password=False)
    finally:
        with engine.begin() as connection:
            connection.exec_driver_sql(f"DROP SCHEMA {schema} CASCADE")
        engine.dispose()
