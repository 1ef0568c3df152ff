"""Asking models, base and tuned, for text."""

import asyncio
import itertools
import secrets
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuningfork.domain.base_model import Catalog, Limits, PublicModel
from tuningfork.domain.errors import BaseModelNotFound, FailedPrecondition, FieldViolation, InvalidArgument
from tuningfork.domain.generation import Chunk, GenerationRequest, Prompt, RequestedSampling, Sampling, Speaker
from tuningfork.domain.permission import Action, Principal
from tuningfork.domain.tuned_model import ModelState, TunedModel, TunedModelId
from tuningfork.execution.base import Executor, GenerationAssignment, WorkerDied
from tuningfork.service import violations
from tuningfork.service.access import model_for
from tuningfork.service.base_models import find_base
from tuningfork.service.metrics import Metrics
from tuningfork.service.quotas import Quotas
from tuningfork.service.remembered import Remembered
from tuningfork.service.safety import Ratings, Safety, Screening
from tuningfork.store import tuning_jobs
from tuningfork.store.artifacts import Artifacts
from tuningfork.store.database import Database

BASE_PREFIX = "models/"
TUNED_PREFIX = "tunedModels/"
GENERATE_CONTENT, GENERATE_TEXT = "generateContent", "generateText"


class ChunkStream(AsyncIterator[Chunk]):
    """The pieces of one answer, the first of which has come already.

    To be read to its end or closed, which tells the generator that nobody listens any more.
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
        """Let the generator go; harmless after the end."""
        self._first = None
        await self._rest.aclose()


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Text that has begun to come. `model_version` names the base, without `models/`; `id` is the answer's own.

    `blocked` are the ratings of a prompt that was withheld from the model; then there are no chunks, and
    `prompt_tokens` is the prompt's length if it is known.
    """

    id: str
    model_version: str
    chunks: ChunkStream
    blocked: Ratings = ()
    prompt_tokens: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Callee:
    """What answers: a base model behind one of its public names, and what a tuned model adds to it."""

    name: str
    base: PublicModel
    tuned: TunedModel | None = None
    adapter_directory: Path | None = None


class Generation:
    """The use cases of asking for text. Belongs to one event loop, as the executor's async methods do."""

    def __init__(
        self,
        database: Database,
        artifacts: Artifacts,
        catalog: Catalog,
        executor: Executor,
        metrics: Metrics,
        quotas: Quotas | None = None,
        new_id: Callable[[], str] = lambda: secrets.token_urlsafe(16),
        safety: Safety | None = None,
    ) -> None:
        self._database = database
        self._artifacts = artifacts
        self._catalog = catalog
        self._executor = executor
        self._metrics = metrics
        self._quotas = quotas or Quotas()
        self._new_id = new_id
        self._safety = safety or Safety()
        self._callees: Remembered[tuple[Principal, str, str], _Callee] = Remembered(database)

    def models(self) -> Sequence[PublicModel]:
        """Every public name of every base model, in catalog order."""
        return tuple(self._catalog.public_models())

    def model(self, name: str) -> PublicModel:
        """The base model of this public name.

        Raises:
            NotFound: there is none.

        """
        return find_base(self._catalog, name, "getModel")

    async def generate(
        self, principal: Principal, name: str, request: GenerationRequest, *, method: str = GENERATE_CONTENT
    ) -> Answer:
        """Begin to answer; whatever can be refused is refused here, before any text is handed on.

        Args:
            principal: who asks.
            name: `models/x` or `tunedModels/x`.
            request: what is asked, and how the answer is drawn.
            method: `generateContent` or `generateText`, in the dialect's words.

        Raises:
            NotFound: there is no such model, it does not have this method, or its base is no longer served.
            PermissionDenied: the caller may not use it.
            FailedPrecondition: it is still being made, or has failed.
            InvalidArgument: everything that is wrong with the request.
            Unavailable: the generator ended twice, or a text could not be rated; the same request may go through in a
                moment.

        """
        began = time.monotonic()
        callee = await self._find(principal, name, method)
        if method == GENERATE_TEXT and not callee.base.limits.generate_text:
            raise BaseModelNotFound(callee.name, method)
        _check_ready(callee)
        _check(callee, request)
        screening = self._safety.screening(request)
        if screening and (ratings := await screening.blocked_prompt(request.prompt)):
            return await self._withhold(principal, callee, request.prompt, ratings)
        assignment = GenerationAssignment(
            base=callee.base.base,
            adapter_directory=callee.adapter_directory,
            prompt=request.prompt,
            sampling=_sampling(callee, request.sampling),
        )
        try:
            chunks = await self._begin(principal, assignment, began, screening)
        except WorkerDied:
            # Nothing has been said yet, so nobody notices when a fresh generator says it instead.
            chunks = await self._begin(principal, assignment, began, screening)
        return Answer(id=self._new_id(), model_version=callee.base.name.removeprefix(BASE_PREFIX), chunks=chunks)

    async def _withhold(self, principal: Principal, callee: _Callee, prompt: Prompt, ratings: Ratings) -> Answer:
        """The answer to a prompt that the model never sees."""
        try:
            tokens = await self._executor.count_tokens(callee.base.base, prompt)
        except WorkerDied:
            # How long it was is not worth an error.
            tokens = 0
        self._quotas.spend(principal, tokens)
        return Answer(
            id=self._new_id(),
            model_version=callee.base.name.removeprefix(BASE_PREFIX),
            chunks=ChunkStream(None, _nothing()),
            blocked=ratings,
            prompt_tokens=tokens,
        )

    async def count_tokens(self, principal: Principal, name: str, prompt: Prompt) -> int:
        """How many tokens the prompt is for this model; for a tuned model in any state, since its base counts.

        Raises:
            NotFound: there is no such model, or its base is no longer served.
            PermissionDenied: the caller may not use it.
            InvalidArgument: there is no prompt.
            Unavailable: the generator ended twice; the same request may go through in a moment.

        """
        callee = await self._find(principal, name, "countTokens")
        # A prompt of any length may be counted; that is how one finds out whether it is too long.
        _refuse(violations.of_prompt(prompt, Limits()))
        try:
            return await self._executor.count_tokens(callee.base.base, prompt)
        except WorkerDied:
            self._metrics.worker_deaths.labels("generator").inc()
            return await self._executor.count_tokens(callee.base.base, prompt)

    async def _find(self, principal: Principal, name: str, method: str) -> _Callee:
        if name.startswith(BASE_PREFIX):
            base = find_base(self._catalog, name, method)
            return _Callee(name=base.name, base=base)
        if not name.startswith(TUNED_PREFIX):
            violation = FieldViolation(field="model", description="unexpected model name format")
            raise InvalidArgument.of("GenerationRequest", (violation,))
        asked = (principal, name, method)
        if (known := self._callees.find(asked)) is not None:
            return known
        return await asyncio.to_thread(self._callees.of, asked, lambda: self._find_tuned(*asked))

    def _find_tuned(self, principal: Principal, name: str, method: str) -> _Callee:
        model_id = TunedModelId(name.removeprefix(TUNED_PREFIX))
        with self._database.read() as connection:
            tuned = model_for(connection, principal, model_id, Action.GENERATE)
            job_id = tuning_jobs.id_of_model(connection, model_id)
        return _Callee(
            name=tuned.name,
            base=find_base(self._catalog, tuned.base_model, method),
            tuned=tuned,
            adapter_directory=self._artifacts.adapter_directory(job_id),
        )

    async def _begin(
        self, principal: Principal, assignment: GenerationAssignment, began: float, screening: Screening | None
    ) -> ChunkStream:
        """Wait for the first piece: an engine refuses what it cannot do only when it is asked for text."""
        generated = self._executor.generate(assignment)
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
    if callee.tuned is None or callee.tuned.state is ModelState.ACTIVE:
        return
    fault = "is not ready" if callee.tuned.state is ModelState.CREATING else "cannot be used"
    raise FailedPrecondition(
        f"Tuned model {callee.name} {fault} for inference: its state is {callee.tuned.state.value}."
    )


def _check(callee: _Callee, request: GenerationRequest) -> None:
    limits = callee.base.limits
    _refuse(
        violations.of_prompt(request.prompt, limits),
        violations.of_sampling(request.sampling, callee.base.base.sampling.max_temperature),
    )
    if request.sampling.answer_format is not None and not limits.json_mode:
        raise InvalidArgument(f"JSON mode is not enabled for {callee.name}")
    if request.prompt.system_instruction is not None and not limits.system_instruction:
        raise InvalidArgument(f"Developer instruction is not enabled for {callee.name}")
    if request.prompt.turns[-1].speaker is not Speaker.USER:
        raise InvalidArgument("Please ensure that multiturn requests ends with a user role or a function response")


def _refuse(*found: Iterable[FieldViolation]) -> None:
    violations_found = tuple(itertools.chain(*found))
    if violations_found:
        raise InvalidArgument.of("GenerationRequest", violations_found)


def _sampling(callee: _Callee, asked: RequestedSampling) -> Sampling:
    """What was asked for, and where nothing was, the tuned model's defaults or else the base's."""
    defaults = callee.tuned or callee.base.base.sampling
    most = callee.base.output_tokens
    return Sampling(
        temperature=defaults.temperature if asked.temperature is None else asked.temperature,
        top_p=defaults.top_p if asked.top_p is None else asked.top_p,
        top_k=defaults.top_k if asked.top_k is None else asked.top_k,
        # Clients ask for more than a model gives; they mean "as much as possible".
        max_output_tokens=most if asked.max_output_tokens is None else min(asked.max_output_tokens, most),
        candidate_count=1 if asked.candidate_count is None else asked.candidate_count,
        stop_sequences=asked.stop_sequences,
        seed=asked.seed,
        presence_penalty=asked.presence_penalty or 0.0,
        frequency_penalty=asked.frequency_penalty or 0.0,
        logprobs=(asked.logprobs or 0) if asked.response_logprobs else None,
        answer_format=asked.answer_format,
    )
