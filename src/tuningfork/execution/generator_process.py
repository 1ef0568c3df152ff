"""The generator: a process that holds base models and answers requests over them, adapters side by side.

Run by `execution/local.py` as `python -m tuningfork.execution.generator_process FD`.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tuningfork.domain.base_model import BaseModel
from tuningfork.domain.errors import InternalError, InvalidArgument, TuningforkError
from tuningfork.execution import worker
from tuningfork.execution.messages import (
    Abandon,
    Count,
    Counted,
    Ended,
    Generate,
    Generated,
    GeneratorCommand,
    GeneratorReport,
    Preview,
    Previewed,
    Refused,
    Warm,
)
from tuningfork.execution.previewing import preview
from tuningfork.inference.adapter_pool import AdapterPool
from tuningfork.inference.engine import EngineOutput, InferenceEngine, TokenRequest
from tuningfork.modeling.loading import LoadedBase, load_base
from tuningfork.modeling.lora import BASE_ALONE

logger = logging.getLogger(__name__)

RESIDENT_ADAPTERS = 64
"""Adapters kept in memory for each base; the least recently used leaves first."""


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


@dataclass(slots=True)
class Generator:
    """All requests of this process. Methods yield the reports that they caused."""

    _stations: dict[BaseModel, _Station] = field(default_factory=dict)
    _requests: dict[str, _Request] = field(default_factory=dict)

    @property
    def idle(self) -> bool:
        """Whether no request is in flight."""
        return not self._requests

    def obey(self, command: GeneratorCommand) -> Iterator[GeneratorReport]:
        """Do what the command says; whatever is wrong with it concerns its own request only."""
        request_id = getattr(command, "request_id", None)
        try:
            yield from self._obey(command)
        except TuningforkError as error:
            if request_id:
                yield Refused.of(request_id, error)
            else:
                logger.error("base model could not be loaded: %s", error, extra={"action": "load_failed"})  # noqa: TRY400
        except Exception as error:
            logger.exception("command failed", extra={"action": "command_failed"})
            if request_id:
                yield Refused(request_id, InternalError(f"the generator failed: {type(error).__name__}: {error}"))

    def advance(self) -> Iterator[GeneratorReport]:
        """One engine step over every base that has requests."""
        for station in {id(r.station): r.station for r in self._requests.values()}.values():
            for output in station.engine.step():
                yield from self._report(output)

    def _obey(self, command: GeneratorCommand) -> Iterator[GeneratorReport]:
        match command:
            case Warm(base):
                self._station_of(base)
            case Count(request_id, base, prompt):
                yield Counted(request_id, len(self._station_of(base).base.chat.render_prompt(prompt)))
            case Preview(request_id, base, examples, shown):
                loaded = self._station_of(base).base
                yield Previewed(request_id, preview(loaded.chat, examples, shown, loaded.context_tokens))
            case Generate():
                self._begin(command)
            case Abandon(request_id, None):
                if request := self._requests.get(request_id):
                    request.station.engine.cancel(request_id)
                    self._end(request_id)
            case Abandon(request_id, int(candidate)):
                if (request := self._requests.get(request_id)) and candidate in request.open_candidates:
                    request.station.engine.cancel(request_id, candidate)
                    yield from self._close(request_id, candidate)

    def _begin(self, command: Generate) -> None:
        assignment = command.assignment
        station = self._station_of(assignment.base)
        prompt_ids = tuple(station.base.chat.render_prompt(assignment.prompt))
        adapter = assignment.adapter_directory
        slot = BASE_ALONE if adapter is None else _slot(station, adapter)
        try:
            station.engine.add(
                TokenRequest(id=command.request_id, prompt_ids=prompt_ids, slot=slot, sampling=assignment.sampling)
            )
        except BaseException:
            if adapter is not None:
                station.adapters.unpin(adapter)
            raise
        candidates = set(range(assignment.sampling.candidate_count))
        self._requests[command.request_id] = _Request(station, adapter, candidates)

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
            request.station.adapters.unpin(request.adapter)

    def _station_of(self, base: BaseModel) -> _Station:
        if base not in self._stations:
            busy = {id(request.station) for request in self._requests.values()}
            self._stations = {known: station for known, station in self._stations.items() if id(station) in busy}
            loaded = load_base(base, device=worker.best_device())
            self._stations[base] = _Station(
                loaded, InferenceEngine(loaded), AdapterPool(loaded.slots, capacity=RESIDENT_ADAPTERS)
            )
        return self._stations[base]


def _slot(station: _Station, adapter: Path) -> int:
    try:
        return station.adapters.slot_for(adapter)
    except InvalidArgument as error:
        # Nothing that the caller could put right: the file was whole when it was put into place.
        raise InternalError(f"the tuned model's adapter is damaged: {error.message}") from error


if __name__ == "__main__":
    worker.run(Generator())
