"""The generator: a process that holds base models and answers requests over them, adapters side by side.

Run by `execution/local.py` as `python -m tuningfork.execution.generator_process FD`.
"""

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from tuningfork.domain.base_model import BaseModel
from tuningfork.domain.errors import InternalError, InvalidArgument, NotFound, TuningforkError
from tuningfork.domain.generation import JsonAnswer, Prompt
from tuningfork.domain.preview import DatasetPreview
from tuningfork.execution import worker
from tuningfork.execution.base import AdapterRoom, GenerationAssignment
from tuningfork.execution.environment import ADAPTERS_VARIABLE, BYTES_VARIABLE
from tuningfork.execution.form_trial import try_out
from tuningfork.execution.messages import (
    Abandon,
    Count,
    Counted,
    Ended,
    Generate,
    Generated,
    GeneratorCommand,
    GeneratorReport,
    Keep,
    Moved,
    Preview,
    Previewed,
    Refused,
    Reports,
    Warm,
)
from tuningfork.execution.preparing import Prepared, Preparing
from tuningfork.execution.previewing import preview
from tuningfork.inference.adapter_pool import AdapterPool, PoolRoom
from tuningfork.inference.engine import EngineOutput, InferenceEngine, TokenRequest
from tuningfork.modeling.available_memory import available_memory
from tuningfork.modeling.loading import LoadedBase, load_base
from tuningfork.modeling.lora import BASE_ALONE

logger = logging.getLogger(__name__)

_SHARE_OF_MEMORY = 8
_USUAL_BYTES = 2**30
"""For adapters, where the system does not tell how much memory there is."""

_QUICK_CHARACTERS = 20_000
"""Prompts of so many are cut into tokens at once, in some ten milliseconds; longer ones beside the engine."""


@dataclass(slots=True)
class _Station:
    """One resident base and all that serves requests over it."""

    base: LoadedBase
    engine: InferenceEngine
    adapters: AdapterPool


@dataclass(slots=True)
class _Request:
    """A request in flight: where it runs, which adapter it pins, and which candidates are still open."""

    station: _Station
    adapter: Path | None
    open_candidates: set[int]


@dataclass(frozen=True, slots=True)
class _Pending:
    """A request that is being prepared, and how it goes on with what comes of that."""

    station: _Station
    go_on: Callable[[Any], Iterator[GeneratorReport]]


@dataclass(slots=True)
class Generator:
    """All requests of this process. Methods yield the reports that they caused.

    `moved` collects the adapters that came into memory, with their sizes, and those that left it, with None.
    """

    room: AdapterRoom = AdapterRoom()
    moved: list[tuple[Path, int | None]] = field(default_factory=list)
    _kept: dict[BaseModel, frozenset[Path]] = field(default_factory=dict)
    _stations: dict[BaseModel, _Station] = field(default_factory=dict)
    _requests: dict[str, _Request] = field(default_factory=dict)
    _pending: dict[str, _Pending] = field(default_factory=dict)
    _preparing: Preparing = field(default_factory=Preparing)

    @property
    def idle(self) -> bool:
        """Whether no request is in flight."""
        return not (self._requests or self._pending)

    def obey(self, command: GeneratorCommand) -> Iterator[GeneratorReport]:
        """Do what the command says; whatever is wrong with it concerns its own request only."""
        yield from _guarded(getattr(command, "request_id", None), self._obey(command))

    def advance(self) -> Iterator[list[GeneratorReport]]:
        """Go on with what has been prepared, and one engine step over every base that has requests.

        What comes of each at one time is in one list.
        """
        for prepared in self._preparing.finished(patient=not self._requests):
            go_on = self._pending.pop(prepared.request_id).go_on
            yield [*_guarded(prepared.request_id, _gone_on(prepared, go_on))]
        for station in {id(r.station): r.station for r in self._requests.values()}.values():
            yield [report for output in station.engine.step() for report in self._report(output)]

    def _obey(self, command: GeneratorCommand) -> Iterator[GeneratorReport]:
        match command:
            case Warm(base):
                self._station_of(base)
            case Keep(base, adapters):
                self._keep(base, adapters)
            case Count() | Preview() | Generate():
                yield from self._prepare(command)
            case Abandon(request_id, None):
                self._preparing.forget(request_id)
                self._pending.pop(request_id, None)
                if request := self._requests.get(request_id):
                    request.station.engine.cancel(request_id)
                    self._end(request_id)
            case Abandon(request_id, int(candidate)):
                if (request := self._requests.get(request_id)) and candidate in request.open_candidates:
                    request.station.engine.cancel(request_id, candidate)
                    yield from self._close(request_id, candidate)

    def _prepare(self, command: Count | Preview | Generate) -> Iterator[GeneratorReport]:
        """Do what comes before the engine: here if it is quick, else beside it."""
        request_id = command.request_id
        match command:
            case Count(_, base, prompt):
                station = self._station_of(base)
                is_quick = _characters(prompt) <= _QUICK_CHARACTERS
                work: Callable[[], Any] = partial(station.base.chat.render_prompt, prompt)
                go_on: Callable[[Any], Iterator[GeneratorReport]] = partial(_counted, request_id)
            case Preview(_, base, examples, shown):
                station = self._station_of(base)
                is_quick = False
                work = partial(preview, station.base.chat, examples, shown, station.base.context_tokens)
                go_on = partial(_previewed, request_id)
            case Generate(_, assignment):
                station = self._station_of(assignment.base)
                is_quick = _is_quick(station, assignment)
                work = partial(_prompt_of, station, assignment)
                go_on = partial(self._begin, station, command)
        if is_quick:
            yield from go_on(work())
        else:
            self._pending[request_id] = _Pending(station, go_on)
            self._preparing.begin(request_id, work)

    def _begin(self, station: _Station, command: Generate, prompt_ids: tuple[int, ...]) -> Iterator[GeneratorReport]:
        assignment = command.assignment
        adapter = assignment.adapter_directory
        slot = BASE_ALONE if adapter is None else _slot(station, adapter)
        try:
            station.engine.add(
                TokenRequest(id=command.request_id, prompt_ids=prompt_ids, slot=slot, sampling=assignment.sampling)
            )
        except BaseException:
            if adapter is not None:
                station.adapters.release(adapter)
            raise
        candidates = set(range(assignment.sampling.candidate_count))
        self._requests[command.request_id] = _Request(station, adapter, candidates)
        yield from ()

    def _report(self, output: EngineOutput) -> Iterator[GeneratorReport]:
        if output.request_id not in self._requests:
            # Another candidate of the request failed in the same step.
            return
        if output.error is not None:
            self._requests[output.request_id].station.engine.cancel(output.request_id)
            self._end(output.request_id)
            yield Refused.of(output.request_id, output.error)
            return
        yield Generated(output.request_id, output.chunk)
        if output.chunk.finish_reason is not None:
            yield from self._close(output.request_id, output.chunk.candidate)

    def _close(self, request_id: str, candidate: int) -> Iterator[GeneratorReport]:
        request = self._requests[request_id]
        request.open_candidates.discard(candidate)
        if not request.open_candidates:
            self._end(request_id)
            yield Ended(request_id)

    def _end(self, request_id: str) -> None:
        request = self._requests.pop(request_id)
        if request.adapter is not None:
            request.station.adapters.release(request.adapter)

    def _station_of(self, base: BaseModel) -> _Station:
        if base not in self._stations:
            busy = {id(request.station) for request in self._requests.values()}
            busy |= {id(request.station) for request in self._pending.values()}
            for idle in [known for known, station in self._stations.items() if id(station) not in busy]:
                self._stations.pop(idle).adapters.empty()
            loaded = load_base(base, device=worker.best_device())
            pool = AdapterPool(loaded.slots, _pool_room(self.room, loaded), tell=self._note)
            self._stations[base] = station = _Station(loaded, InferenceEngine(loaded), pool)
            _load_kept(station, self._kept.get(base, frozenset()))
        return self._stations[base]

    def _note(self, adapter: Path, size: int | None) -> None:
        self.moved.append((adapter, size))

    def _keep(self, base: BaseModel, adapters: frozenset[Path]) -> None:
        self._kept[base] = adapters
        if base in self._stations:
            _load_kept(self._stations[base], adapters)
        elif adapters:
            self._station_of(base)


def room_in(environment: Mapping[str, str]) -> AdapterRoom:
    """The room that the server has written into this process's environment."""
    adapters, size = environment.get(ADAPTERS_VARIABLE), environment.get(BYTES_VARIABLE)
    usual = AdapterRoom()
    return AdapterRoom(adapters=int(adapters) if adapters else usual.adapters, bytes=int(size) if size else usual.bytes)


class GeneratorWorker:
    """The generator at the end of its pipe: what happens at one time is told in one message."""

    def __init__(self, room: AdapterRoom) -> None:
        self._generator = Generator(room=room)

    @property
    def idle(self) -> bool:
        """Whether no request is in flight."""
        return self._generator.idle

    def obey(self, command: GeneratorCommand) -> Iterator[Reports | Moved]:
        """See `Generator.obey`."""
        yield from self._together(self._generator.obey(command))

    def advance(self) -> Iterator[Reports | Moved]:
        """See `Generator.advance`."""
        for reports in self._generator.advance():
            yield from self._together(reports)

    def _together(self, reports: Iterable[GeneratorReport]) -> Iterator[Reports | Moved]:
        if each := tuple(reports):
            yield Reports(each)
        if moved := self._generator.moved:
            yield Moved(tuple(moved))
            moved.clear()


def _guarded(request_id: str | None, work: Iterator[GeneratorReport]) -> Iterator[GeneratorReport]:
    """The work's reports; an error in it refuses its request."""
    try:
        yield from work
    except TuningforkError as error:
        if request_id:
            yield Refused.of(request_id, error)
        else:
            logger.error("base model could not be loaded: %s", error, extra={"action": "load_failed"})  # noqa: TRY400
    except Exception as error:
        logger.exception("command failed", extra={"action": "command_failed"})
        if request_id:
            yield Refused(request_id, InternalError(f"the generator failed: {type(error).__name__}: {error}"))


def _gone_on(prepared: Prepared, go_on: Callable[[Any], Iterator[GeneratorReport]]) -> Iterator[GeneratorReport]:
    if prepared.error is not None:
        raise prepared.error
    yield from go_on(prepared.result)


def _counted(request_id: str, prompt_ids: list[int]) -> Iterator[GeneratorReport]:
    yield Counted(request_id, len(prompt_ids))


def _previewed(request_id: str, found: DatasetPreview) -> Iterator[GeneratorReport]:
    yield Previewed(request_id, found)


def _characters(prompt: Prompt) -> int:
    return len(prompt.system_instruction or "") + sum(len(turn.text) for turn in prompt.turns)


def _is_quick(station: _Station, assignment: GenerationAssignment) -> bool:
    form = assignment.sampling.answer_format
    known = form is None or station.engine.grammars.has(form)
    return known and _characters(assignment.prompt) <= _QUICK_CHARACTERS


def _prompt_of(station: _Station, assignment: GenerationAssignment) -> tuple[int, ...]:
    """The prompt as tokens; a grammar that the answer needs is compiled and kept in passing."""
    form, grammars = assignment.sampling.answer_format, station.engine.grammars
    if form is not None and not grammars.has(form):
        if form != JsonAnswer():
            try_out(form)
        grammars.begin(form)
    return tuple(station.base.chat.render_prompt(assignment.prompt))


def _pool_room(room: AdapterRoom, base: LoadedBase) -> PoolRoom:
    if room.bytes is not None:
        return PoolRoom(room.adapters, room.bytes)
    memory = available_memory(base.device)
    return PoolRoom(room.adapters, memory.total_bytes // _SHARE_OF_MEMORY if memory else _USUAL_BYTES)


def _load_kept(station: _Station, adapters: frozenset[Path]) -> None:
    station.adapters.keep(adapters)
    for adapter in sorted(adapters):
        try:
            station.adapters.load(adapter)
        except TuningforkError as error:
            # Whoever asks for it will be told too.
            logger.error("an adapter cannot be kept: %s", error, extra={"action": "keep_failed"})  # noqa: TRY400


def _slot(station: _Station, adapter: Path) -> int:
    try:
        return station.adapters.slot_for(adapter)
    except InvalidArgument as error:
        if not adapter.exists():
            raise NotFound("The tuned model does not exist any more.") from error
        # Nothing that the caller could put right: the file was whole when it was put into place.
        raise InternalError(f"the tuned model's adapter is damaged: {error.message}") from error


if __name__ == "__main__":
    worker.run(GeneratorWorker(room_in(os.environ)))
