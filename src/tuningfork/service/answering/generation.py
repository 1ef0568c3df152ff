"""The use cases of generating text, with base models and tuned models."""

import asyncio
import itertools
import secrets
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from tuningfork.artifacts.base import ArtifactDamaged, ArtifactMissing
from tuningfork.domain.artifact import ArtifactRef
from tuningfork.domain.base_model import Catalog, Limits, PublicModel
from tuningfork.domain.conversation import Conversation, Speaker
from tuningfork.domain.errors import FieldViolation, InvalidArgument
from tuningfork.domain.generation import Chunk, GenerationRequest, RequestedSampling, Sampling, TokenizedText
from tuningfork.domain.permission import Action, Principal
from tuningfork.domain.references import BaseRef, CheckpointRef, ModelRef, TunedRef
from tuningfork.domain.refusals import (
    BaseModelNotFound,
    Feature,
    FeatureNotServed,
    LastTurnNotUsers,
    ModelNotUsable,
    Purpose,
    ResourceNotFound,
)
from tuningfork.domain.tuned_model import ModelState, TunedModel
from tuningfork.execution.base import GenerationAssignment, Generators, WorkerDied
from tuningfork.service.answering.safety import Ratings, Safety, Screening
from tuningfork.service.answering.shown_formats import shown_to
from tuningfork.service.base_models import base_of, check_described, find_base, with_faults
from tuningfork.service.identity.keys import model_for
from tuningfork.service.metrics import Metrics
from tuningfork.service.quotas import Quotas
from tuningfork.service.remembered import Remembered
from tuningfork.service.tuning import violations
from tuningfork.service.tuning.base_weights import recorded_base
from tuningfork.service.tuning.checkpointing import adapter_of
from tuningfork.service.tuning.weights import lost, note_damage
from tuningfork.store import checkpoints, tuning_jobs
from tuningfork.store.artifacts import Artifacts
from tuningfork.store.database import Database

Told = TypeVar("Told")


class ChunkStream(AsyncIterator[Chunk]):
    """The chunks of one answer; the first chunk has been received already.

    The caller must read it to its end, or close it so that the generator stops.
    """

    def __init__(self, first: Chunk | None, rest: AsyncGenerator[Chunk, None]) -> None:
        self._first = first
        self._rest = rest

    async def __anext__(self) -> Chunk:
        if self._first is not None:
            chunk, self._first = self._first, None
            return chunk
        return await anext(self._rest)

    async def aclose(self) -> None:
        """Stop the generation; does nothing after the end."""
        self._first = None
        await self._rest.aclose()


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer whose text is being generated, by this base model or by a model that was tuned from it.

    `id` identifies the answer. `blocked` are the ratings of a prompt that was withheld from the model: then there are
    no chunks, and `prompt_tokens` is the prompt's length in tokens, or 0 if it is not known.
    """

    id: str
    base: BaseRef
    chunks: ChunkStream
    blocked: Ratings = ()
    prompt_tokens: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Callee:
    """The model that a request asks: a base model under a public name, and the tuned model's adapter if it is tuned."""

    ref: ModelRef
    base: PublicModel
    tuned: TunedModel | None = None
    adapter: ArtifactRef | None = None
    teaches_next_turn: bool | None = False
    """See `TuningJob`. A base model was taught nothing here."""
    base_fingerprint: str | None = None
    """See `TuningJob`."""


class Generation:
    """The use cases of asking for text. Belongs to one event loop, as the generators' async methods do."""

    def __init__(
        self,
        database: Database,
        artifacts: Artifacts,
        catalog: Catalog,
        generators: Generators,
        metrics: Metrics,
        quotas: Quotas | None = None,
        new_id: Callable[[], str] = lambda: secrets.token_urlsafe(16),
        safety: Safety | None = None,
        *,
        share_prefixes: bool = False,
    ) -> None:
        self._database = database
        self._artifacts = artifacts
        self._catalog = catalog
        self._generators = generators
        self._metrics = metrics
        self._quotas = quotas or Quotas()
        self._new_id = new_id
        self._safety = safety or Safety()
        self._share_prefixes = share_prefixes
        self._callees: Remembered[tuple[Principal, TunedRef | CheckpointRef], _Callee] = Remembered(database)

    def models(self) -> Sequence[PublicModel]:
        """Every public name of every base model, in catalog order."""
        return with_faults(tuple(self._catalog.public_models(unlisted=False)), self._generators)

    def model(self, asked: BaseRef) -> PublicModel:
        """The base model of this public name.

        Raises:
            NotFound: no base model has this name.

        """
        [model] = with_faults([find_base(self._catalog, asked.name)], self._generators)
        return model

    async def generate(
        self, principal: Principal, asked: ModelRef, request: GenerationRequest, *, completion: bool = False
    ) -> Answer:
        """Start the generation, and return at its first chunk. All errors about the request are raised here.

        Args:
            principal: the caller.
            asked: the model.
            request: the prompt, and how to sample the answer.
            completion: whether the prompt is a bare text instead of a conversation. Not every model takes bare texts.

        Raises:
            NotFound: there is no such model, it takes no bare text, or its base is no longer served.
            PermissionDenied: the caller may not use it.
            FailedPrecondition: it is still being tuned, its tuning has failed, or its weights are missing or damaged;
                or the files of its base cannot be read.
            InvalidArgument: everything that is wrong with the request.
            Unavailable: the generator died twice, or a text could not be rated; the same request may succeed later.

        """
        began = time.monotonic()
        callee = await self._find(principal, asked)
        check_described(callee.base)
        if completion and not callee.base.limits.completion:
            raise BaseModelNotFound(callee.ref)
        _check_ready(callee)
        _check(callee, request)
        screening = self._safety.screening(request, principal.email)
        if screening and (ratings := await screening.blocked_prompt(request.prompt)):
            return await self._withhold(principal, callee, request.prompt, ratings)
        assignment = GenerationAssignment(
            base=callee.base.base,
            adapter=callee.adapter,
            prompt=shown_to(request.prompt, request.sampling.answer_format, is_tuned=callee.tuned is not None),
            sampling=_sampling(callee, request.sampling),
            owner=principal.email,
            sharing_prefixes=self._share_prefixes,
            # Where it is not known, an answer that goes on too long is better than one that is cut.
            stops_at_labels=callee.teaches_next_turn is False,
            base_fingerprint=callee.base_fingerprint,
        )
        try:
            chunks = await self._begin_twice(principal, assignment, began, screening)
        except (ArtifactMissing, ArtifactDamaged) as error:
            if not isinstance(asked, BaseRef):
                # A model that was deleted in this moment is not found.
                await asyncio.to_thread(self._find_tuned, principal, asked)
            if isinstance(error, ArtifactDamaged) and callee.adapter is not None:
                await asyncio.to_thread(note_damage, self._artifacts, callee.adapter, error)
            raise lost(callee.ref, error) from error
        return Answer(id=self._new_id(), base=BaseRef(callee.base.name), chunks=chunks)

    async def _withhold(self, principal: Principal, callee: _Callee, prompt: Conversation, ratings: Ratings) -> Answer:
        """The answer to a prompt that the safety rater has blocked: no text, the ratings and the prompt's tokens."""
        try:
            tokens = await self._generators.count_tokens(callee.base.base, prompt, owner=principal.email)
        except WorkerDied:
            # The token count is only informative: without it the answer has 0.
            tokens = 0
        self._quotas.spend(principal, tokens)
        return Answer(
            id=self._new_id(),
            base=BaseRef(callee.base.name),
            chunks=ChunkStream(None, _nothing()),
            blocked=ratings,
            prompt_tokens=tokens,
        )

    async def count_tokens(self, principal: Principal, asked: ModelRef, prompt: Conversation) -> int:
        """How many tokens the prompt has for this model. A tuned model may be in any state, since its base counts.

        Raises:
            NotFound: there is no such model, or its base is no longer served.
            PermissionDenied: the caller may not use it.
            InvalidArgument: there is no prompt.
            Unavailable: the generator died twice; the same request may succeed later.

        """
        callee = await self._find(principal, asked)
        check_described(callee.base)
        # A prompt of any length may be counted, so that callers can find out whether it is too long.
        _refuse(violations.of_prompt(prompt, Limits()))
        base, owner = callee.base.base, principal.email
        return await self._twice(lambda: self._generators.count_tokens(base, prompt, owner=owner))

    async def compute_tokens(
        self, principal: Principal, asked: ModelRef, texts: Sequence[str]
    ) -> tuple[TokenizedText, ...]:
        """The tokens of each text, as this model cuts it, without a chat template. A tuned model may be in any state.

        Raises:
            NotFound: there is no such model, or its base is no longer served.
            PermissionDenied: the caller may not use it.
            InvalidArgument: the texts are too long together, or one is not valid Unicode.
            Unavailable: the generator died twice; the same request may succeed later.

        """
        callee = await self._find(principal, asked)
        check_described(callee.base)
        _refuse(violations.of_tokenized(texts))
        base, owner = callee.base.base, principal.email
        return await self._twice(lambda: self._generators.tokenize(base, texts, owner=owner))

    async def _twice(self, ask: Callable[[], Awaitable[Told]]) -> Told:
        """What a generator tells, or if it died meanwhile the next one."""
        try:
            return await ask()
        except WorkerDied:
            self._metrics.worker_deaths.labels("generator").inc()
            return await ask()

    async def _find(self, principal: Principal, asked: ModelRef) -> _Callee:
        match asked:
            case BaseRef(name):
                base = find_base(self._catalog, name)
                return _Callee(ref=BaseRef(base.name), base=base)
            case TunedRef() | CheckpointRef():
                key = (principal, asked)
                if (known := self._callees.find(key)) is not None:
                    return known
                return await asyncio.to_thread(self._callees.of, key, lambda: self._find_tuned(principal, asked))

    def _find_tuned(self, principal: Principal, asked: TunedRef | CheckpointRef) -> _Callee:
        """The tuned model with its default weights, or with those of the checkpoint that was asked for."""
        model_id = asked.id if isinstance(asked, TunedRef) else asked.model
        with self._database.read() as connection:
            tuned = model_for(connection, principal, model_id, Action.GENERATE)
            if isinstance(asked, TunedRef):
                adapter = adapter_of(connection, self._artifacts, model_id)
            elif checkpoint := checkpoints.find_checkpoint(connection, model_id, asked.number):
                adapter = ArtifactRef(checkpoint.artifact)
            else:
                raise ResourceNotFound(asked)
            teaches_next_turn = tuning_jobs.teaches_next_turn(connection, model_id)
        base = base_of(self._catalog, tuned)
        return _Callee(
            ref=asked,
            base=base,
            tuned=tuned,
            adapter=adapter,
            teaches_next_turn=teaches_next_turn,
            base_fingerprint=recorded_base(self._database, self._artifacts, base, model_id, adapter),
        )

    async def _begin_twice(
        self, principal: Principal, assignment: GenerationAssignment, began: float, screening: Screening | None
    ) -> ChunkStream:
        try:
            return await self._begin(principal, assignment, began, screening)
        except WorkerDied:
            # No text has been sent yet, so a new generator can answer instead without the caller noticing.
            return await self._begin(principal, assignment, began, screening)

    async def _begin(
        self, principal: Principal, assignment: GenerationAssignment, began: float, screening: Screening | None
    ) -> ChunkStream:
        """Start the generation and wait for the first chunk, since the engine reports errors only then."""
        generated = self._generators.generate(assignment)
        chunks = self._measure(principal, screening.watch(generated) if screening else generated, began)
        return ChunkStream(await anext(chunks, None), chunks)

    async def _measure(
        self, principal: Principal, chunks: AsyncGenerator[Chunk, Any], began: float
    ) -> AsyncGenerator[Chunk, None]:
        last: Chunk | None = None
        try:
            async for chunk in chunks:
                if last is None:
                    self._metrics.first_chunk_seconds.observe(time.monotonic() - began)
                last = chunk
                yield chunk
        except WorkerDied:
            self._metrics.worker_deaths.labels("generator").inc()
            raise
        finally:
            await chunks.aclose()
            if last is not None:
                self._quotas.spend(principal, last.prompt_tokens + last.output_tokens)
                self._metrics.prompt_tokens.inc(last.prompt_tokens)
                self._metrics.cached_prompt_tokens.inc(last.cached_prompt_tokens)
                self._metrics.output_tokens.inc(last.output_tokens)
                self._metrics.answer_seconds.observe(time.monotonic() - began)


async def _nothing() -> AsyncGenerator[Chunk, None]:
    chunks: tuple[Chunk, ...] = ()
    for chunk in chunks:
        yield chunk


def _check_ready(callee: _Callee) -> None:
    # A checkpoint that is kept can be called, also while the job goes on.
    is_checkpoint = isinstance(callee.ref, CheckpointRef)
    if callee.tuned is None or is_checkpoint or callee.tuned.state is ModelState.ACTIVE:
        return
    raise ModelNotUsable(TunedRef(callee.tuned.id), callee.tuned.state, Purpose.GENERATE)


def _check(callee: _Callee, request: GenerationRequest) -> None:
    limits = callee.base.limits
    _refuse(
        violations.of_prompt(request.prompt, limits),
        violations.of_sampling(request.sampling, callee.base.base.sampling.max_temperature),
    )
    if request.sampling.answer_format is not None and not limits.json_mode:
        raise FeatureNotServed(Feature.JSON_MODE, callee.ref)
    if request.prompt.system_instruction is not None and not limits.system_instruction:
        raise FeatureNotServed(Feature.SYSTEM_INSTRUCTION, callee.ref)
    if request.prompt.turns[-1].speaker is not Speaker.USER:
        raise LastTurnNotUsers


def _refuse(*found: Iterable[FieldViolation]) -> None:
    violations_found = tuple(itertools.chain(*found))
    if violations_found:
        raise InvalidArgument(violations=violations_found)


def _sampling(callee: _Callee, asked: RequestedSampling) -> Sampling:
    """The requested sampling; where the request says nothing, the tuned model's defaults or else the base's."""
    defaults = callee.tuned or callee.base.base.sampling
    most = callee.base.output_tokens
    return Sampling(
        temperature=defaults.temperature if asked.temperature is None else asked.temperature,
        top_p=defaults.top_p if asked.top_p is None else asked.top_p,
        # 0 is how many programs ask for no limit, over a default that is one.
        top_k=(defaults.top_k if asked.top_k is None else asked.top_k) or None,
        # Clients that ask for more tokens than a model gives mean "as many as possible".
        max_output_tokens=most if asked.max_output_tokens is None else min(asked.max_output_tokens, most),
        candidate_count=1 if asked.candidate_count is None else asked.candidate_count,
        stop_sequences=asked.stop_sequences,
        seed=asked.seed,
        presence_penalty=asked.presence_penalty or 0.0,
        frequency_penalty=asked.frequency_penalty or 0.0,
        logprobs=(asked.logprobs or 0) if asked.response_logprobs else None,
        answer_format=asked.answer_format,
    )
