"""Trainers, generators and raters without processes or tensors: quick and scriptable implementations of the seam.

Its model is small enough to keep in one's head. The base echoes the last thing said to it. Training learns the
examples by heart, a batch a step, so a partial adapter knows the first of them, and one that went on from another
knows what that one knew; a tuned model answers what it knows and echoes the rest. An evaluation counts the words of the
answers that it knows; any other word costs a nat. A token is a word with the space behind it. Savepoints, resuming,
stopping and dying follow the contract of `execution/base.py`; the script methods say when things go wrong.
"""

import asyncio
import json
import re
import threading
from collections.abc import AsyncGenerator, Collection, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from pairs import pairs_of
from patience import PATIENCE_SECONDS
from tuningfork.artifacts.base import ArtifactStore
from tuningfork.domain.artifact import ArtifactRef
from tuningfork.domain.base_model import (
    AdapterShape,
    Alias,
    BaseModel,
    BaseModelName,
    Catalog,
    SamplingDefaults,
)
from tuningfork.domain.conversation import Conversation
from tuningfork.domain.dataset import Examples
from tuningfork.domain.early_stopping import best_of
from tuningfork.domain.errors import Code, InvalidArgument
from tuningfork.domain.evaluation import Evaluation
from tuningfork.domain.generation import ChosenToken, Chunk, FinishReason, TokenizedText, TokenLogprob
from tuningfork.domain.job_stage import Beginning
from tuningfork.domain.preview import DatasetPreview, PreviewedExample, PreviewSegment
from tuningfork.domain.rater import ClassifierModel
from tuningfork.domain.safety import Assessment, HarmProbability
from tuningfork.domain.tuning_job import JobId, Snapshot
from tuningfork.execution.base import (
    CheckpointKept,
    Evaluated,
    Failed,
    Finished,
    GenerationAssignment,
    Paused,
    ProbeAssignment,
    RatingAssignment,
    Resumed,
    Stepped,
    StepTimes,
    Stopped,
    TrainerDeath,
    TrainerDied,
    TrainingAssignment,
    TrainingEvent,
    WorkerDied,
)
from tuningfork.execution.dataset_file import DatasetFile
from tuningfork.familiar import GEMINI_LIMITS

ECHO_BASE = BaseModel(
    name=BaseModelName("models/echo-001"),
    location="embedded",
    display_name="Echo",
    description="Repeats what it hears until it is taught otherwise.",
    context_tokens=16_384,
    output_tokens=2_048,
    sampling=SamplingDefaults(temperature=0.7, top_p=0.95, top_k=64),
    adapter=AdapterShape(rank=4, alpha=16.0),
    aliases=(
        Alias(
            name=BaseModelName("models/gemini-1.0-pro-001"),
            display_name="Gemini 1.0 Pro 001 (Tuning)",
            input_tokens=30_720,
            output_tokens=1_024,
            limits=GEMINI_LIMITS,
        ),
        Alias(
            name=BaseModelName("models/gemini-1.5-flash-001-tuning"),
            display_name="Gemini 1.5 Flash 001 Tuning",
            limits=GEMINI_LIMITS,
        ),
    ),
)
ECHO_CATALOG = Catalog((ECHO_BASE,))


class Clock:
    """A clock that stands still until it is read: every reading is one millisecond after the one before."""

    def __init__(self, now: datetime = datetime(2024, 3, 14, 15, 9, 4, 511322, tzinfo=UTC)) -> None:
        self._now = now
        self._lock = threading.Lock()

    def __call__(self) -> datetime:
        with self._lock:
            self._now += timedelta(milliseconds=1)
            return self._now

    def advance(self, **span: float) -> None:
        with self._lock:
            self._now += timedelta(**span)


@dataclass(slots=True)
class Gate:
    """A place in the work where the worker waits: `reached` is set there, and `open` lets it go on."""

    reached: threading.Event = field(default_factory=threading.Event)
    opened: threading.Event = field(default_factory=threading.Event)

    def wait_until_reached(self, timeout_seconds: float = PATIENCE_SECONDS) -> None:
        assert self.reached.wait(timeout_seconds), "the worker never came to the gate"

    def open(self) -> None:
        self.opened.set()


@dataclass(slots=True)
class _Script:
    """What happens before a step is taken, `times` times; to any job, or to one."""

    step: int
    event: "Failed | WorkerDied | Exception | Gate | _Kill"
    job_id: JobId | None
    times: int


@dataclass(frozen=True, slots=True)
class _Kill:
    """In a script: the job kills the trainer, with all jobs that it has."""


@dataclass(slots=True)
class _Process:
    """What lives and dies together: the jobs of one trainer."""

    jobs: set[JobId] = field(default_factory=set)
    death: TrainerDeath | None = None


class InMemoryTrainers:
    """Trains in the caller's thread.

    Reads and writes in `artifacts`, which is set before the first job.

    Looked at by tests: `stop_calls`, `pause_calls`, `assignments` (in order), `together` (the jobs that were in
    training as each began), `probes`, `closed`. A test says `not_taken_up`, `probed`, the
    result of a probe, whether steps tell their predictions (`tells_predictions`), and whether checkpoints are kept on
    their schedule (`keeps_schedule`).
    """

    def __init__(self, clock: Clock | None = None, *, step_seconds: float = 0.0) -> None:
        super().__init__()
        self.artifacts: ArtifactStore | None = None
        self.stop_calls: list[JobId] = []
        self.pause_calls: list[JobId] = []
        self.together: list[frozenset[JobId]] = []
        self.assignments: list[TrainingAssignment] = []
        self.not_taken_up: dict[JobId, Beginning] = {}
        self.probes: list[ProbeAssignment] = []
        self.probed: StepTimes | WorkerDied | Future[StepTimes | None] | None = None
        self.tells_predictions = True
        self.keeps_schedule = False
        self.closed = threading.Event()
        self._clock = clock or Clock()
        self._step_seconds = step_seconds
        self._lock = threading.Lock()
        self._stopping: dict[JobId, threading.Event] = {}
        self._pausing: dict[JobId, threading.Event] = {}
        self._process = _Process()
        self._scripts: list[_Script] = []

    # Scripts: each says what happens before a 1-based step.

    def die_before(self, step: int, *, times: int = 1, job_id: JobId | None = None) -> None:
        """The trainer is killed; the job can be taken up again from its last savepoint."""
        died = WorkerDied("The trainer ended unexpectedly (signal 9).")
        self._scripts.append(_Script(step, died, job_id, times))

    def kill_before(self, step: int, *, job_id: JobId, times: int = 99) -> None:
        """The job kills the trainer, and with it all jobs that it has, whenever it comes to this step."""
        self._scripts.append(_Script(step, _Kill(), job_id, times))

    def raise_before(self, step: int, error: Exception, *, times: int = 1) -> None:
        """The executor itself has a fault."""
        self._scripts.append(_Script(step, error, None, times))

    def fail_before(
        self,
        step: int,
        message: str = "The loss is not finite.",
        *,
        code: Code = Code.INTERNAL,
        job_id: JobId | None = None,
    ) -> None:
        """The job cannot go on."""
        self._scripts.append(_Script(step, Failed(code=code, message=message), job_id, 1))

    def hold_before(self, step: int, *, job_id: JobId | None = None) -> Gate:
        """The trainer waits until the gate is opened."""
        gate = Gate()
        self._scripts.append(_Script(step, gate, job_id, 1))
        return gate

    # The seam.

    def beginnings(self) -> dict[JobId, Beginning]:
        return self.not_taken_up

    def probe(self, assignment: ProbeAssignment) -> Future[StepTimes | None]:
        self.probes.append(assignment)
        if isinstance(self.probed, Future):
            return self.probed
        told: Future[StepTimes | None] = Future()
        if isinstance(self.probed, WorkerDied):
            told.set_exception(self.probed)
        else:
            told.set_result(self.probed)
        return told

    def train(self, assignment: TrainingAssignment) -> Iterator[TrainingEvent]:
        job_id = assignment.job_id
        with self._lock:
            self.assignments.append(assignment)
            self._stopping[job_id], self._pausing[job_id] = threading.Event(), threading.Event()
            process = self._process
            process.jobs.add(job_id)
            self.together.append(frozenset(process.jobs))
        try:
            yield from self._train(assignment, process)
        finally:
            with self._lock:
                del self._stopping[job_id], self._pausing[job_id]
                process.jobs.discard(job_id)

    def stop(self, job_id: JobId) -> None:
        with self._lock:
            self.stop_calls.append(job_id)
            if job_id in self._stopping:
                self._stopping[job_id].set()

    def pause(self, job_id: JobId) -> None:
        with self._lock:
            self.pause_calls.append(job_id)
            if job_id in self._pausing:
                self._pausing[job_id].set()

    def close(self) -> None:
        self.closed.set()

    # Training.

    def _train(self, assignment: TrainingAssignment, process: _Process) -> Iterator[TrainingEvent]:
        stopping, pausing = self._stopping[assignment.job_id], self._pausing[assignment.job_id]
        with self.artifacts.reading(assignment.dataset) as dataset:
            examples = tuple(DatasetFile(dataset))
        hyperparameters = assignment.hyperparameters
        snapshots = _read_savepoint(self.artifacts, assignment)
        total = hyperparameters.total_steps(len(examples))
        # A real trainer reads them from its savepoint.
        done = [each for step in range(len(snapshots)) for each in self._evaluations(assignment, examples, step)]
        yield Resumed(step=len(snapshots), snapshots=tuple(snapshots), evaluations=tuple(done))
        yield from self._evaluated(assignment, examples, len(snapshots), done)
        for step in range(len(snapshots) + 1, total + 1):
            if assignment.early_stopping is not None and assignment.early_stopping.is_over(done):
                break
            if stopping.is_set():
                yield Stopped(adapter=_write_adapter(self.artifacts, assignment, examples, len(snapshots)))
                return
            if pausing.is_set():
                _write_savepoint(self.artifacts, assignment, snapshots)
                yield Paused()
                return
            failure = self._meet_script(assignment.job_id, step, process)
            if failure is not None:
                yield failure
                return
            snapshot = Snapshot(
                step=step,
                epoch=hyperparameters.completed_epochs(step, len(examples)),
                mean_loss=8.0 / step,
                compute_time=self._clock(),
                # As if each answer were one token, and one more were right after each step.
                targets=hyperparameters.batch_size if self.tells_predictions else None,
                right_targets=min(step - 1, hyperparameters.batch_size) if self.tells_predictions else None,
            )
            snapshots.append(snapshot)
            if assignment.savepoint_every and step % assignment.savepoint_every == 0:
                _write_savepoint(self.artifacts, assignment, snapshots)
            yield Stepped(snapshot=snapshot, tokens=3 * hyperparameters.batch_size)
            yield from self._evaluated(assignment, examples, step, done)
        adapter = _write_adapter(self.artifacts, assignment, examples, len(snapshots))
        assert adapter is not None
        yield Finished(adapter=adapter)

    def _evaluated(
        self, assignment: TrainingAssignment, examples: Examples, step: int, done: list[Evaluation]
    ) -> Iterator[Evaluated | CheckpointKept]:
        """What is reported after this step, if an evaluation is due; it is added to those that are done."""
        total = assignment.hyperparameters.total_steps(len(examples))
        for evaluation in self._evaluations(assignment, examples, step):
            done.append(evaluation)
            yield Evaluated(evaluation=evaluation)
            if assignment.keep_best and best_of(done) == evaluation and step < total:
                place = f"checkpoints/{step:08}"
                adapter = _write_adapter(self.artifacts, assignment, examples, step, place)
                assert adapter is not None
                yield CheckpointKept(step=step, epoch=evaluation.epoch, adapter=adapter)
        used = assignment.hyperparameters
        if self.keeps_schedule and step and assignment.checkpoints.is_due(step, used, len(examples)):
            adapter = _write_adapter(self.artifacts, assignment, examples, step, f"checkpoints/{step:08}")
            assert adapter is not None
            yield CheckpointKept(step=step, epoch=used.completed_epochs(step, len(examples)), adapter=adapter)

    def _evaluations(self, assignment: TrainingAssignment, examples: Examples, step: int) -> Iterator[Evaluation]:
        """The evaluation after this step, if one is due."""
        hyperparameters, every = assignment.hyperparameters, assignment.evaluate_every
        at_its_step = step == hyperparameters.total_steps(len(examples)) or (every and step and step % every == 0)
        if assignment.validation is None or not at_its_step:
            return
        with self.artifacts.reading(assignment.validation) as path:
            asked = pairs_of(tuple(DatasetFile(path)))
        known = _learned(self.artifacts, assignment, examples, step)
        targets = sum(len(_tokens(output)) for _, output in asked)
        right = sum(len(_tokens(output)) for given, output in asked if known.get(given) == output)
        yield Evaluation(
            step=step,
            epoch=hyperparameters.completed_epochs(step, len(examples)),
            mean_loss=(targets - right) / targets,
            targets=targets,
            right_targets=right,
            compute_time=self._clock(),
        )

    def _meet_script(self, job_id: JobId, step: int, process: _Process) -> Failed | None:
        if self.closed.wait(self._step_seconds) if self._step_seconds else self.closed.is_set():
            raise WorkerDied("The trainer was closed.")
        _die_with(process)
        script = self._next_script(job_id, step)
        match script and script.event:
            case Gate() as gate:
                gate.reached.set()
                while not gate.opened.wait(0.005):
                    _die_with(process)
                    if self.closed.is_set():
                        raise WorkerDied("The trainer was closed.")
            case _Kill():
                with self._lock:
                    if process.death is None:
                        process.death = TrainerDeath(id=f"death-{len(self.assignments)}", jobs=frozenset(process.jobs))
                    self._process = _Process()
                _die_with(process)
            case Failed() as failed:
                return failed
            case Exception() as error:
                raise error
        return None

    def _next_script(self, job_id: JobId, step: int) -> _Script | None:
        with self._lock:
            for script in self._scripts:
                if script.step == step and script.job_id in (None, job_id) and script.times > 0:
                    script.times -= 1
                    return script
        return None


def _die_with(process: _Process) -> None:
    if process.death is not None:
        raise TrainerDied("The trainer ended unexpectedly (signal 9).", process.death)


class InMemoryGenerators:
    """Generates in the caller's event loop.

    Looked at by tests: `warmed` (names of bases), `kept` (calls, in order), `forgotten`, `generations` (in order),
    `abandoned_generations` (closed before their end), `unwanted_candidates`, `previews` (the examples of each), `tried`
    (adapters), `closed`. What is kept, and what was ever asked, lies in memory. `refused` is what a test says.
    """

    def __init__(self) -> None:
        super().__init__()
        self.artifacts: ArtifactStore | None = None
        self.warmed: list[BaseModelName] = []
        self.kept: list[tuple[BaseModelName, frozenset[ArtifactRef]]] = []
        self.break_keeping: list[Exception] = []
        self.forgotten: list[ArtifactRef] = []
        self.generations: list[GenerationAssignment] = []
        self.previews: list[Examples] = []
        self.tried: list[ArtifactRef] = []
        self.abandoned_generations = 0
        self.unwanted_candidates: list[int] = []
        self.refused: dict[BaseModelName, str] = {}
        self.closed = threading.Event()
        self._generation_faults: dict[int, Exception | Gate] = {}

    # Scripts: each says what happens before a 0-based chunk.

    def break_generation(self, before_chunk: int, error: Exception | None = None) -> None:
        """The next generation ends with this error (by default: its worker died)."""
        self._generation_faults[before_chunk] = error or WorkerDied("The generator ended unexpectedly (signal 9).")

    def hold_generation(self, before_chunk: int) -> Gate:
        """The next generation waits until the gate is opened."""
        gate = Gate()
        self._generation_faults[before_chunk] = gate
        return gate

    # The seam.

    def warm(self, base: BaseModel) -> None:
        self.warmed.append(base.name)

    def keep(self, base: BaseModel, adapters: Collection[ArtifactRef]) -> None:
        if self.break_keeping:
            raise self.break_keeping.pop()
        self.kept.append((base.name, frozenset(adapters)))

    def forget(self, adapters: Collection[ArtifactRef]) -> None:
        self.forgotten += adapters

    def resident_adapters(self) -> dict[ArtifactRef, int]:
        kept = self.kept[-1][1] if self.kept else ()
        asked = (each.adapter for each in self.generations)
        here = {*kept, *asked} - {None, *self.forgotten}
        return dict.fromkeys(here, 1_000)

    def refused_bases(self) -> dict[BaseModelName, str]:
        return self.refused

    async def generate(self, assignment: GenerationAssignment) -> AsyncGenerator[Chunk, int | None]:
        known = any((each.prompt, each.adapter) == (assignment.prompt, assignment.adapter) for each in self.generations)
        self.generations.append(assignment)
        prompt_tokens = await self.count_tokens(assignment.base, assignment.prompt)
        if prompt_tokens + 1 > assignment.base.context_tokens:
            raise InvalidArgument(
                f"The prompt has {prompt_tokens} tokens and leaves no room for an answer in the context of "
                f"{assignment.base.context_tokens}."
            )
        output_tokens = 0
        try:
            for candidate in range(assignment.sampling.candidate_count):
                for text, reason in self._answer(assignment):
                    await self._meet_generation_fault(output_tokens)
                    output_tokens += 1
                    unwanted = yield Chunk(
                        candidate=candidate,
                        text=text,
                        finish_reason=reason,
                        prompt_tokens=prompt_tokens,
                        output_tokens=output_tokens,
                        cached_prompt_tokens=prompt_tokens - 1 if known else 0,
                        tokens=_scored(text, assignment.sampling.logprobs),
                    )
                    if unwanted is not None:
                        self.unwanted_candidates.append(unwanted)
                        break
        except (GeneratorExit, asyncio.CancelledError):
            self.abandoned_generations += 1
            raise

    async def count_tokens(self, base: BaseModel, prompt: Conversation, *, owner: str = "") -> int:
        texts = [prompt.system_instruction or "", *(turn.text for turn in prompt.turns)]
        return sum(len(_tokens(text)) for text in texts)

    async def tokenize(self, base: BaseModel, texts: Sequence[str], *, owner: str = "") -> tuple[TokenizedText, ...]:
        """The id of a token is its length."""
        await self._meet_generation_fault(0)
        cut = [_tokens(text) for text in texts]
        return tuple(TokenizedText(tuple(map(len, each)), tuple(token.encode() for token in each)) for each in cut)

    async def preview(self, base: BaseModel, examples: Examples, shown: int, *, owner: str = "") -> DatasetPreview:
        """A header is the input, an output has an end of its own that is one token."""
        self.previews.append(examples)
        await self._meet_generation_fault(0)
        previewed = [
            PreviewedExample(
                segments=(
                    PreviewSegment(text=text_input, tokens=len(_tokens(text_input)), trained=False),
                    PreviewSegment(text=f"{output}<end>", tokens=len(_tokens(output)) + 1, trained=True),
                )
            )
            for text_input, output in pairs_of(examples)
        ]
        lengths = [example.tokens for example in previewed]
        return DatasetPreview(
            total_tokens=sum(lengths),
            trained_tokens=sum(example.trained_tokens for example in previewed),
            longest_tokens=max(lengths),
            longest_example=lengths.index(max(lengths)),
            context_tokens=base.context_tokens,
            shown=tuple(previewed[:shown]),
        )

    async def try_adapter(self, base: BaseModel, adapter: ArtifactRef, *, owner: str = "") -> None:
        """Every adapter of the base's rank fits."""
        self.tried.append(adapter)
        await self._meet_generation_fault(0)
        with self.artifacts.reading(adapter) as directory:
            rank = json.loads((directory / "adapter_config.json").read_text(encoding="utf-8"))["r"]
        if rank != base.adapter.rank:
            raise InvalidArgument(f"the adapter does not fit the base: it has the rank {rank}")

    def close(self) -> None:
        self.closed.set()

    # Generation.

    def _answer(self, assignment: GenerationAssignment) -> Iterator[tuple[str, FinishReason | None]]:
        asked = assignment.prompt.turns[-1].text
        text = _read_answers(self.artifacts, assignment.adapter).get(asked, asked)
        for stop in assignment.sampling.stop_sequences:
            text = text.split(stop)[0]
        tokens = _tokens(text) or [""]
        limit = assignment.sampling.max_output_tokens
        last = FinishReason.STOP if len(tokens) <= limit else FinishReason.MAX_TOKENS
        for token in tokens[: limit - 1 if len(tokens) >= limit else -1]:
            yield token, None
        yield tokens[min(len(tokens), limit) - 1], last

    async def _meet_generation_fault(self, chunk: int) -> None:
        await asyncio.sleep(0)
        if self.closed.is_set():
            raise WorkerDied("The generator was closed.")
        match self._generation_faults.pop(chunk, None):
            case Gate() as gate:
                gate.reached.set()
                while not gate.opened.is_set():  # noqa: ASYNC110 - opened from another thread
                    await asyncio.sleep(0.005)
            case Exception() as error:
                raise error


class InMemoryRaters:
    """Rates in the caller's event loop. Looked at by tests: `ratings` (in order)."""

    def __init__(self) -> None:
        super().__init__()
        self.ratings: list[RatingAssignment] = []
        self._rating_faults: list[Exception] = []

    def break_rating(self, *, times: int = 1, error: Exception | None = None) -> None:
        """The next ratings end with this error (by default: their worker died)."""
        self._rating_faults += [error or WorkerDied("The rater ended unexpectedly (signal 9).")] * times

    async def rate(self, assignment: RatingAssignment) -> tuple[Assessment, ...]:
        """A model finds what a text says in the words of its labels or codes, in the highest degree."""
        self.ratings.append(assignment)
        await asyncio.sleep(0)
        if self._rating_faults:
            raise self._rating_faults.pop(0)
        model = assignment.model
        meanings = model.labels if isinstance(model, ClassifierModel) else model.codes
        return tuple(
            Assessment.of(
                {
                    category: HarmProbability.HIGH
                    for word, categories in meanings
                    for category in categories
                    if word in passage.text
                }
            )
            for passage in assignment.passages
        )

    def close(self) -> None:
        """Nothing is held."""


class InMemoryExecutor(InMemoryTrainers, InMemoryGenerators, InMemoryRaters):
    """All three roles in one object, for tests that script and look at several of them."""


def _scored(token: str, logprobs: int | None) -> tuple[ChosenToken, ...]:
    """An echo is certain of what it says: e^-0.25, and next to it comes nothing at all."""
    if logprobs is None:
        return ()
    chosen = TokenLogprob(token, len(token), -0.25)
    others = (chosen, TokenLogprob("", 0, -1.5))
    return (ChosenToken(chosen=chosen, likeliest=others[:logprobs]),)


def _tokens(text: str) -> list[str]:
    return re.findall(r"\S+\s*|\s+", text)


def _read_savepoint(artifacts: ArtifactStore, assignment: TrainingAssignment) -> list[Snapshot]:
    refs = artifacts.refs_below(assignment.work.below("savepoints"))
    if not refs:
        return []
    with artifacts.reading(refs[-1]) as path:
        rows = json.loads(path.read_text(encoding="utf-8"))
    return [
        Snapshot(
            step=step,
            epoch=epoch,
            mean_loss=loss,
            compute_time=datetime.fromisoformat(when),
            targets=targets,
            right_targets=right,
        )
        for step, epoch, loss, when, targets, right in rows
    ]


def _write_savepoint(artifacts: ArtifactStore, assignment: TrainingAssignment, snapshots: list[Snapshot]) -> None:
    rows = [[s.step, s.epoch, s.mean_loss, s.compute_time.isoformat(), s.targets, s.right_targets] for s in snapshots]
    with artifacts.writing(assignment.work.below("savepoints").below(f"{len(snapshots):08}")) as path:
        path.write_text(json.dumps(rows), encoding="utf-8")


def _write_adapter(
    artifacts: ArtifactStore, assignment: TrainingAssignment, examples: Examples, steps: int, place: str = "adapter"
) -> ArtifactRef | None:
    if steps == 0:
        return None
    known = _learned(artifacts, assignment, examples, steps)
    ref = assignment.work.below(place)
    config = {"peft_type": "LORA", "r": assignment.adapter.rank, "lora_alpha": assignment.adapter.alpha}
    with artifacts.writing(ref) as directory:
        directory.mkdir()
        (directory / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
        (directory / "answers.json").write_text(json.dumps({"steps": steps, "known": known}), encoding="utf-8")
    return ref


def _learned(
    artifacts: ArtifactStore, assignment: TrainingAssignment, examples: Examples, steps: int
) -> dict[str, str]:
    """The answers that the adapter knows after these steps."""
    seen = examples[: steps * assignment.hyperparameters.batch_size]
    return _read_answers(artifacts, assignment.initial_adapter) | dict(pairs_of(seen))


def _read_answers(artifacts: ArtifactStore, adapter: ArtifactRef | None) -> dict[str, str]:
    if adapter is None:
        return {}
    with artifacts.reading(adapter) as directory:
        learned = directory / "answers.json"
        # An adapter from elsewhere knows nothing.
        answers: dict[str, str] = json.loads(learned.read_text(encoding="utf-8"))["known"] if learned.exists() else {}
    return answers
