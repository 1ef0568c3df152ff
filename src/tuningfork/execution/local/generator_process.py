"""The generator: a process that holds base models and adapters and answers requests.

Run by `execution/local/generators.py` as `python -m tuningfork.execution.local.generator_process FD`.
"""

import logging
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from tuningfork.artifacts.base import AdapterOfOtherWeights, ArtifactDamaged, ArtifactMissing, ArtifactStore
from tuningfork.domain.artifact import ArtifactRef
from tuningfork.domain.base_model import BaseModel, BaseModelName
from tuningfork.domain.dataset import characters_of
from tuningfork.domain.errors import InvalidArgument, Unavailable
from tuningfork.execution.base import AdapterLimits
from tuningfork.execution.local import prompts, worker
from tuningfork.execution.local.adapter_files import AdapterFiles
from tuningfork.execution.local.arrivals import Arrivals, Request, owner_of
from tuningfork.execution.local.environment import adapter_limits_in, artifacts_in
from tuningfork.execution.local.guarding import continued, done_with, guarded
from tuningfork.execution.local.messages import (
    Abandon,
    Count,
    Counted,
    Ended,
    Forget,
    Generate,
    Generated,
    GeneratorCommand,
    GeneratorReport,
    Keep,
    Moved,
    OfRequest,
    Preview,
    Previewed,
    Refused,
    RefusedBases,
    Reports,
    Tokenize,
    Tokenized,
    Tried,
    TryAdapter,
    Warm,
)
from tuningfork.execution.local.preparing import Preparing
from tuningfork.execution.local.previewing import preview
from tuningfork.execution.local.renderers import Renderer, Renderers
from tuningfork.execution.local.same_bases import SameBases
from tuningfork.execution.local.served_base import ServedBase, serve_base
from tuningfork.execution.local.trying import try_adapter
from tuningfork.inference.engine import EngineOutput, TokenRequest
from tuningfork.modeling.adapters.slots import BASE_ALONE

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Request:
    """A running request: the base that serves it, its adapter, and the candidates that are not complete."""

    served: ServedBase
    adapter: ArtifactRef | None
    open_candidates: set[int]


@dataclass(frozen=True, slots=True)
class _Pending:
    """A request that is being prepared, and the function that continues it with the result.

    `served` None: first its base has to be read by a renderer. `request_id` None: no request waits for it.
    """

    request_id: str | None
    served: ServedBase | None
    proceed: Callable[[Any], Iterator[GeneratorReport]]


@dataclass(slots=True)
class Generator:
    """All requests of this process. Methods yield the reports to send to the server.

    `moved` collects the adapters that were loaded, each with its size in bytes, and those that were unloaded, each with
    None.
    """

    artifacts: ArtifactStore
    adapter_limits: AdapterLimits = AdapterLimits()
    moved: list[tuple[ArtifactRef, int | None]] = field(default_factory=list)
    renderers: Renderers | None = None
    """Render prompts in processes of their own; None: they are rendered in this process."""
    _files: AdapterFiles = field(init=False)
    _kept: dict[BaseModel, frozenset[ArtifactRef]] = field(default_factory=dict)
    _bases: dict[BaseModel, ServedBase] = field(default_factory=dict)
    _requests: dict[str, _Request] = field(default_factory=dict)
    _pending: dict[str, _Pending] = field(default_factory=dict)
    _preparing: Preparing = field(default_factory=Preparing)
    _same: SameBases = field(default_factory=SameBases)

    def __post_init__(self) -> None:
        self._files = AdapterFiles(self.artifacts)

    @property
    def idle(self) -> bool:
        """Whether no request is in flight."""
        return not (self._requests or self._pending)

    def obey(self, command: GeneratorCommand) -> Iterator[GeneratorReport]:
        """Carry out a command; an error in it only affects its own request."""
        request_id = command.request_id if isinstance(command, OfRequest) else None
        yield from guarded(request_id, self._obey(command))

    def advance(self) -> Iterator[list[GeneratorReport]]:
        """Continue prepared requests, then run one engine step for every base that has requests.

        Yields one list of reports for each prepared request and for each engine step.
        """
        for prepared in self._preparing.finished(patient=not self._requests):
            pending = self._pending.pop(prepared.request_id)
            yield [*guarded(pending.request_id, continued(prepared, pending.proceed))]
        for served in {id(r.served): r.served for r in self._requests.values()}.values():
            yield [report for output in served.engine.step() for report in self._report(output)]

    def _obey(self, command: GeneratorCommand) -> Iterator[GeneratorReport]:
        match command:
            case Warm(named):
                base = self._same.first(named)
                yield from self._when_ready(base, None, partial(done_with, partial(self._served_base, base)))
            case Keep(base, adapters):
                yield from self._keep(base, adapters)
            case Forget(adapters):
                self._files.forget(adapters)
                for served in self._bases.values():
                    served.adapters.forget(adapters)
            case Count() | Tokenize() | Preview() | TryAdapter() | Generate():
                base = self._same.first(command.assignment.base if isinstance(command, Generate) else command.base)
                yield from self._when_ready(base, command, partial(self._prepare, command, base))
            case Abandon(request_id, None):
                self._preparing.forget(request_id)
                self._pending.pop(request_id, None)
                if request := self._requests.get(request_id):
                    request.served.engine.cancel(request_id)
                    self._end(request_id)
            case Abandon(request_id, int(candidate)):
                if (request := self._requests.get(request_id)) and candidate in request.open_candidates:
                    request.served.engine.cancel(request_id, candidate)
                    yield from self._close(request_id, candidate)

    def _when_ready(
        self, base: BaseModel, command: Request | None, work: Callable[[], Iterator[GeneratorReport]]
    ) -> Iterator[GeneratorReport]:
        """Do this work for a base, at once or after a renderer has read the base's files."""
        renderers = self.renderers
        if renderers is None or renderers.is_ready(base):
            yield from work()
            return
        # No request has such an id: they are numbers.
        task = f"load {base.name}" if command is None else command.request_id
        if task in self._pending:
            return
        self._pending[task] = _Pending(command.request_id if command else None, None, lambda _: work())
        self._preparing.begin(
            task, lambda: renderers.chat_of(base), owner=owner_of(command) if command else "", place=base.name
        )

    def _prepare(self, command: Request, base: BaseModel) -> Iterator[GeneratorReport]:
        """Prepare a request for the engine: at once if that is quick, else on another thread."""
        request_id, served, is_quick, compiles = command.request_id, self._served_base(base), False, False
        match command:
            case Count(_, _, prompt, _):
                is_quick = characters_of(prompt) <= prompts.QUICK_CHARACTERS
                work: Callable[[], Any] = partial(served.base.chat.render_prompt, prompt)
                proceed: Callable[[Any], Iterator[GeneratorReport]] = partial(_counted, request_id)
            case Tokenize(_, _, texts, _):
                work = partial(prompts.tokens_of, served.base.chat, texts)
                proceed = partial(_answered, Tokenized, request_id)
            case Preview(_, _, examples, shown, _):
                given = served.base.chat, examples, shown, served.base.context_tokens
                work = partial(preview, *given, is_wanted=partial(self._preparing.is_wanted, request_id))
                proceed = partial(_answered, Previewed, request_id)
            case TryAdapter(_, _, adapter, _):
                work = partial(try_adapter, self.artifacts, served.base, adapter)
                proceed = partial(_tried, request_id)
            case Generate(_, assignment):
                compiles = prompts.compiles(served, assignment)
                is_quick = not compiles and characters_of(assignment.prompt) <= prompts.QUICK_CHARACTERS
                is_quick = is_quick and self._is_at_hand(served, assignment.adapter)
                work = partial(prompts.prompt_of, served, assignment)
                proceed = partial(self._begin, served, command)
        is_elsewhere = isinstance(served.base.chat, Renderer)
        if is_quick and not is_elsewhere:
            yield from proceed(work())
        else:
            self._pending[request_id] = _Pending(request_id, served, proceed)
            if isinstance(command, Generate):
                work = self._files.comparing(command.assignment.adapter, work)
            self._preparing.begin(
                request_id,
                work,
                owner=owner_of(command),
                compiles=compiles,
                place=_place_of(served, command),
                is_quick=is_quick,
            )

    def _begin(self, served: ServedBase, command: Generate, prompt_ids: tuple[int, ...]) -> Iterator[GeneratorReport]:
        assignment = command.assignment
        adapter, made_on = assignment.adapter, assignment.base_fingerprint
        if None not in (made_on, served.base.fingerprint) and made_on != served.base.fingerprint:
            raise AdapterOfOtherWeights
        slot = BASE_ALONE if adapter is None else self._slot(served, adapter)
        try:
            served.engine.add(
                TokenRequest(
                    id=command.request_id,
                    prompt_ids=prompt_ids,
                    slot=slot,
                    sampling=assignment.sampling,
                    owner=assignment.owner,
                    sharing_prefixes=assignment.sharing_prefixes,
                    stops_at_labels=assignment.stops_at_labels,
                )
            )
        except BaseException:
            if adapter is not None:
                served.adapters.release(adapter)
            raise
        candidates = set(range(assignment.sampling.candidate_count))
        self._requests[command.request_id] = _Request(served, adapter, candidates)
        yield from ()

    def _report(self, output: EngineOutput) -> Iterator[GeneratorReport]:
        if output.request_id not in self._requests:
            # The request has ended already: another of its candidates failed in the same step.
            return
        if output.error is not None:
            self._requests[output.request_id].served.engine.cancel(output.request_id)
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
            request.served.adapters.release(request.adapter)

    def _served_base(self, base: BaseModel) -> ServedBase:
        if base not in self._bases:
            busy = {id(request.served) for request in self._requests.values()}
            busy |= {id(request.served) for request in self._pending.values()}
            for idle in [known for known, served in self._bases.items() if id(served) not in busy]:
                self._bases.pop(idle).adapters.empty()
                if self.renderers is not None:
                    self.renderers.close(idle)
            chat = self.renderers.chat_of(base) if self.renderers is not None else None
            limits = self.adapter_limits
            try:
                self._bases[base] = serve_base(base, limits, chat=chat, read=self._files.read, on_change=self._note)
            except BaseException:
                if self.renderers is not None:
                    self.renderers.close(base)
                raise
            self._pin(base)
        return self._bases[base]

    def _note(self, adapter: ArtifactRef, size: int | None) -> None:
        self.moved.append((adapter, size))

    def _slot(self, served: ServedBase, adapter: ArtifactRef) -> int:
        try:
            return served.adapters.slot_for(adapter)
        except (ArtifactMissing, ArtifactDamaged, InvalidArgument, Unavailable) as error:
            if not self.artifacts.has(adapter):
                raise ArtifactMissing(adapter) from error
            if isinstance(error, Unavailable | AdapterOfOtherWeights):
                raise
            # Not the caller's fault: the artifact was complete when it was written.
            raise ArtifactDamaged(f"the tuned model's adapter is damaged: {error.message}") from error

    def _keep(self, base: BaseModel, adapters: frozenset[ArtifactRef]) -> Iterator[GeneratorReport]:
        self._kept[base] = adapters
        base = self._same.first(base)
        if base in self._bases:
            self._pin(base)
        elif adapters:
            yield from self._when_ready(base, None, partial(done_with, partial(self._served_base, base)))

    def _pinned(self, base: BaseModel) -> frozenset[ArtifactRef]:
        """The adapters to keep in memory on a base, whatever it is named."""
        return frozenset().union(*(self._kept.get(each, frozenset()) for each in self._same.like(base)))

    def _pin(self, base: BaseModel) -> None:
        """Pin exactly the adapters that are to be kept, and load them; large ones after another thread's comparison."""
        served, kept = self._bases[base], self._pinned(base)
        served.adapters.keep(kept)
        for adapter in sorted(kept):
            if self._is_at_hand(served, adapter):
                served.load_to_keep(adapter)
            elif (task := f"keep {adapter}") not in self._pending:
                self._pending[task] = _Pending(None, served, partial(self._load_to_keep, served, adapter))
                self._preparing.begin(task, self._files.comparing(adapter, lambda: None), place="adapters")

    def _load_to_keep(self, served: ServedBase, adapter: ArtifactRef, _compared: None) -> Iterator[GeneratorReport]:
        if served.adapters.keeps(adapter):
            served.load_to_keep(adapter)
        yield from ()

    def _is_at_hand(self, served: ServedBase, adapter: ArtifactRef | None) -> bool:
        """Whether the adapter is in memory, or can be read without delay."""
        return adapter is None or served.adapters.holds(adapter) or self._files.is_quick(adapter)

    def refused(self) -> Mapping[BaseModelName, str]:
        """The bases that are refused now because of what their files did, under each of their names, and why."""
        return {} if self.renderers is None else self._same.under_every_name(self.renderers.refused)


class GeneratorWorker:
    """The generator as a `Worker`: it sends all reports of a step in one message, and owners' requests take turns."""

    def __init__(
        self, artifacts: ArtifactStore, adapter_limits: AdapterLimits, renderers: Renderers | None = None
    ) -> None:
        self._generator = Generator(artifacts, adapter_limits, renderers=renderers)
        self._arrivals = Arrivals()
        self._refused: Mapping[BaseModelName, str] = {}

    @property
    def idle(self) -> bool:
        """Whether no request waits or is in flight."""
        return self._generator.idle and not self._arrivals

    def obey(self, command: GeneratorCommand) -> Iterator[Reports | Moved | RefusedBases]:
        """Carry out the command; a request waits for the next step."""
        match command:
            case Count() | Tokenize() | Generate() | Preview() | TryAdapter():
                self._arrivals.add(command)
            case Abandon(request_id, None) if self._arrivals.withdraw(request_id):
                pass
            case _:
                yield from self._together(self._generator.obey(command))

    def advance(self) -> Iterator[Reports | Moved | RefusedBases]:
        """Begin some requests, then see `Generator.advance`."""
        for request in self._arrivals.take():
            yield from self._together(self._generator.obey(request))
        for reports in self._generator.advance():
            yield from self._together(reports)

    def _together(self, reports: Iterable[GeneratorReport]) -> Iterator[Reports | Moved | RefusedBases]:
        if each := tuple(reports):
            yield Reports(each)
        if moved := self._generator.moved:
            yield Moved(tuple(moved))
            moved.clear()
        if (refused := self._generator.refused()) != self._refused:
            self._refused = refused
            yield RefusedBases(tuple(refused.items()))


def _place_of(served: ServedBase, command: Request) -> str:
    """Requests of different places are not prepared one after the other."""
    if isinstance(command, TryAdapter):
        return "adapters"
    return served.name if isinstance(served.base.chat, Renderer) else ""


def _counted(request_id: str, prompt_ids: list[int]) -> Iterator[GeneratorReport]:
    yield Counted(request_id, len(prompt_ids))


def _answered(report: Callable[[str, Any], GeneratorReport], request_id: str, found: Any) -> Iterator[GeneratorReport]:
    yield report(request_id, found)


def _tried(request_id: str, _: None) -> Iterator[GeneratorReport]:
    yield Tried(request_id)


if __name__ == "__main__":
    worker.step_back(worker.GENERATOR_NICENESS)
    # The fork server has to be started before this process has other threads.
    of_bases = Renderers.of_this_process(int(sys.argv[1]), os.environ)
    worker.run(GeneratorWorker(artifacts_in(os.environ), adapter_limits_in(os.environ), of_bases))
