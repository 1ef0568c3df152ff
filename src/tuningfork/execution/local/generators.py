"""Generation in a child process of this machine."""

from collections.abc import AsyncGenerator, Callable, Collection, Mapping, Sequence

from tuningfork.domain.artifact import ArtifactRef
from tuningfork.domain.base_model import BaseModel, BaseModelName
from tuningfork.domain.conversation import Conversation
from tuningfork.domain.dataset import Examples
from tuningfork.domain.generation import Chunk, TokenizedText
from tuningfork.domain.preview import DatasetPreview
from tuningfork.execution.base import GenerationAssignment, WorkerDied
from tuningfork.execution.local.child import SILENCE_SECONDS, Child
from tuningfork.execution.local.endings import Ending
from tuningfork.execution.local.messages import (
    Count,
    Counted,
    Ended,
    Forget,
    Generate,
    Generated,
    Keep,
    Moved,
    Preview,
    Previewed,
    RefusedBases,
    Tokenize,
    Tokenized,
    Tried,
    TryAdapter,
    Warm,
)
from tuningfork.execution.local.requests import RequestChild, expect

MODULE = "tuningfork.execution.local.generator_process"


class LocalGenerators(RequestChild):
    """Implements `execution.base.Generators` with one generator process.

    Remembers which adapters are pinned, to pin them again in a new generator after one has died, and which are in
    memory. A generator that dies ends its requests with `WorkerDied`; the next call starts a new one.
    """

    def __init__(
        self, environment: dict[str, str], module: str = MODULE, *, silence_seconds: float = SILENCE_SECONDS
    ) -> None:
        super().__init__(module, environment, silence_seconds=silence_seconds)
        self._kept: dict[BaseModel, frozenset[ArtifactRef]] = {}
        self._resident: dict[ArtifactRef, int] = {}
        self._refused: dict[BaseModelName, str] = {}

    def warm(self, base: BaseModel) -> None:
        """See `Generators.warm`."""
        self._order(Warm(base))

    def keep(self, base: BaseModel, adapters: Collection[ArtifactRef]) -> None:
        """See `Generators.keep`."""
        wanted = frozenset(adapters)
        with self._lock:
            before = self._kept.get(base, frozenset())
            self._kept[base] = wanted
            # Do not start a generator just to pin nothing.
            if wanted != before and (wanted or self._child is not None):
                self._running().send(Keep(base, wanted), always=True)

    def forget(self, adapters: Collection[ArtifactRef]) -> None:
        """See `Generators.forget`."""
        with self._lock:
            self._mention(Forget(frozenset(adapters)))

    def resident_adapters(self) -> Mapping[ArtifactRef, int]:
        """See `Generators.resident_adapters`."""
        with self._lock:
            return dict(self._resident)

    def refused_bases(self) -> Mapping[BaseModelName, str]:
        """See `Generators.refused_bases`."""
        with self._lock:
            return dict(self._refused)

    async def generate(self, assignment: GenerationAssignment) -> AsyncGenerator[Chunk, int | None]:
        """See `Generators.generate`."""
        request_id, reports = self._open()
        try:
            self._order(Generate(request_id, assignment))
            while not isinstance(report := await reports.get(), Ended):
                unwanted = yield expect(report, Generated).chunk
                if unwanted is not None:
                    self._drop(request_id, unwanted)
        finally:
            self._forget(request_id)

    async def count_tokens(self, base: BaseModel, prompt: Conversation, *, owner: str = "") -> int:
        """See `Generators.count_tokens`."""
        request_id, reports = self._open()
        try:
            self._order(Count(request_id, base, prompt, owner))
            return expect(await reports.get(), Counted).tokens
        finally:
            self._forget(request_id)

    async def tokenize(self, base: BaseModel, texts: Sequence[str], *, owner: str = "") -> tuple[TokenizedText, ...]:
        """See `Generators.tokenize`."""
        request_id, reports = self._open()
        try:
            self._order(Tokenize(request_id, base, tuple(texts), owner))
            return expect(await reports.get(), Tokenized).texts
        finally:
            self._forget(request_id)

    async def preview(self, base: BaseModel, examples: Examples, shown: int, *, owner: str = "") -> DatasetPreview:
        """See `Generators.preview`."""
        request_id, reports = self._open()
        try:
            self._order(Preview(request_id, base, examples, shown, owner))
            return expect(await reports.get(), Previewed).preview
        finally:
            self._forget(request_id)

    async def try_adapter(self, base: BaseModel, adapter: ArtifactRef, *, owner: str = "") -> None:
        """See `Generators.try_adapter`."""
        request_id, reports = self._open()
        try:
            self._order(TryAdapter(request_id, base, adapter, owner))
            expect(await reports.get(), Tried)
        finally:
            self._forget(request_id)

    def _running(self) -> Child:
        is_new = self._child is None
        child = super()._running()
        if is_new:
            for base, adapters in self._kept.items():
                child.send(Keep(base, adapters), always=True)
        return child

    def _take(self, message: object) -> None:
        match message:
            case Moved(adapters):
                with self._lock:
                    for adapter, size in adapters:
                        if size is None:
                            self._resident.pop(adapter, None)
                        else:
                            self._resident[adapter] = size
            case RefusedBases(reasons):
                with self._lock:
                    self._refused = dict(reasons)
            case _:
                super()._take(message)

    def _drop_all(self, ending: Ending) -> list[Callable[[WorkerDied], None]]:
        self._resident.clear()
        # The next generator tries again.
        self._refused.clear()
        return super()._drop_all(ending)
