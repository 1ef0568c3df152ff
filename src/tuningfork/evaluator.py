"""The loop that carries evaluation runs out: it asks the models, a few examples at a time, and records their answers.

It lives on the server's event loop, beside the requests, and asks as its run's owner would. So the generator's fair
shares among owners hold, the owner's quotas count, and a model that the owner may not ask any more is not asked.
"""

import asyncio
import itertools
import logging
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from tuningfork.domain.answer_scores import Measure, scores_of
from tuningfork.domain.errors import (
    Code,
    InvalidArgument,
    QuotaExceeded,
    ResourceExhausted,
    TuningforkError,
    Unavailable,
)
from tuningfork.domain.evaluation_run import (
    MAX_ANSWER_CHARACTERS,
    AnswerSettings,
    EvaluationRow,
    EvaluationRun,
    ModelAnswer,
)
from tuningfork.domain.generation import FinishReason, GenerationRequest, RequestedSampling
from tuningfork.domain.permission import Email, Principal
from tuningfork.domain.server_paths import without_directories
from tuningfork.service.answering.generation import Generation
from tuningfork.service.evaluating.running import ClaimedRun, EvaluationRunning
from tuningfork.service.quotas import Cost, Quotas

logger = logging.getLogger(__name__)
Told = TypeVar("Told")

POLL_SECONDS = 1.0
"""How often the loop looks for runs that other servers have begun, or given back."""
PLACES = 4
"""How many runs are carried out at a time, each of another owner."""
ANSWERS_AT_A_TIME = 8
"""How many answers of one run are generated at a time."""
RECORD_SECONDS = 0.5
"""How often answers are written, and it is seen whether the run was stopped."""
SUM_UP_SECONDS = 3.0
"""How often scores are computed while a run goes on, if answers came."""
RETRY_SECONDS = (1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
"""The pauses before an answer is asked for again that could not be generated for no fault of the request."""
_WORTH_A_RETRY = (Code.UNAVAILABLE, Code.RESOURCE_EXHAUSTED, Code.INTERNAL)
PAUSE_SECONDS = 5.0
"""How long a run waits whose answers could not be written, since the database is busy or the disk full."""
_THREADS = 2
"""Threads for the database and for training data, apart from those that requests need."""
SERVER_FAULT = "The server met a fault of its own, which its log describes. Ask its operator to look there."


class _RunFailed(Exception):
    """The run cannot go on; the message is for its owner."""


@dataclass(slots=True)
class _Progress:
    """What was answered and not written yet, and whether new scores are due."""

    answers: list[ModelAnswer] = field(default_factory=list)
    summed_up: float = 0.0
    is_new: bool = False


class Evaluator:
    """Carries runs out until it is cancelled. `wake` may be called from any thread.

    `message_of` words an error for callers of the API.
    """

    def __init__(
        self,
        running: EvaluationRunning,
        generation: Generation,
        quotas: Quotas,
        message_of: Callable[[TuningforkError], str],
        *,
        poll_seconds: float = POLL_SECONDS,
        retry_seconds: tuple[float, ...] = RETRY_SECONDS,
        pause_seconds: float = PAUSE_SECONDS,
    ) -> None:
        self._running = running
        self._generation = generation
        self._quotas = quotas
        self._message_of = message_of
        self._poll_seconds = poll_seconds
        self._retry_seconds = retry_seconds
        self._pause_seconds = pause_seconds
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="evaluation")
        self._loop: asyncio.AbstractEventLoop | None = None
        self._woken = asyncio.Event()
        self._tasks: dict[Email, asyncio.Task[None]] = {}

    def wake(self) -> None:
        """Look for runs now, since one was begun or stopped. Does nothing before the start and after the end."""
        if self._loop is not None:
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._woken.set)

    async def run(self) -> None:
        """Carry runs out until this is cancelled. Then those that go on wait again, with what was answered."""
        self._loop = asyncio.get_running_loop()
        await self._guarded(self._running.take_back)
        try:
            while True:
                self._woken.clear()
                await self._guarded(self._running.keep_leases)
                await self._take_up()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._woken.wait(), self._poll_seconds)
        finally:
            self._loop = None
            for task in self._tasks.values():
                task.cancel()
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)
            self._threads.shutdown()

    async def _in_thread(self, work: Callable[..., Told], *arguments: object) -> Told:
        return await asyncio.get_running_loop().run_in_executor(self._threads, partial(work, *arguments))

    async def _guarded(self, work: Callable[[], Told]) -> Told | None:
        """What work in a thread returns. None: it went wrong, which is logged, and can be tried again."""
        try:
            return await self._in_thread(work)
        except (Unavailable, ResourceExhausted) as error:
            logger.warning("evaluations wait: %s", error.message, extra={"action": "database_busy"})
        except Exception:
            logger.exception("the evaluator stumbled and will try again", extra={"action": "evaluate_failed"})
        return None

    async def _take_up(self) -> None:
        while len(self._tasks) < PLACES:
            claimed = await self._guarded(partial(self._running.claim, set(self._tasks)))
            if claimed is None:
                return
            owner = claimed.run.owner
            self._tasks[owner] = task = asyncio.create_task(self._carry_out(claimed))
            task.add_done_callback(partial(self._ended, owner))

    def _ended(self, owner: Email, _task: asyncio.Task[None]) -> None:
        del self._tasks[owner]
        self._woken.set()

    async def _carry_out(self, claimed: ClaimedRun) -> None:
        """Ask and record until the run ends. An error ends this run only."""
        run, error = claimed.run, ""
        labels = {"action": "evaluation", "evaluation": run.id}
        logger.info("evaluation %s is taken up, %d answers are left", run.id, len(claimed.left), extra=labels)
        try:
            await self._in_thread(self._running.look_for_leaks, claimed)
            await self._ask_all(claimed)
        except asyncio.CancelledError:
            await self._guarded(partial(self._running.give_back, claimed.claim))
            raise
        except (Unavailable, ResourceExhausted) as refused:
            # The database, or the disk: those of models are _RunFailed.
            logger.warning("evaluation %s waits: %s", run.id, refused.message, extra=labels)
            await self._until_done(partial(self._running.give_back, claimed.claim))
            return
        except _RunFailed as failed:
            error = str(failed)
        except Exception:
            logger.exception("evaluation %s met a fault", run.id, extra={**labels, "action": "evaluation_fault"})
            error = SERVER_FAULT
        await self._until_done(partial(self._running.end, claimed.claim, error))
        logger.info("evaluation %s has ended", run.id, extra=labels)

    async def _until_done(self, work: Callable[[], bool]) -> None:
        """Work in a thread, again and again until it went well."""
        for pause_seconds in itertools.repeat(self._pause_seconds):
            if await self._guarded(work) is not None:
                return
            await asyncio.sleep(pause_seconds)

    async def _ask_all(self, claimed: ClaimedRun) -> None:
        progress, left = _Progress(), iter(claimed.left)
        askers = [
            asyncio.create_task(self._ask_some(claimed, left, progress))
            for _ in range(min(ANSWERS_AT_A_TIME, len(claimed.left)))
        ]
        try:
            waiting = set(askers)
            while waiting:
                done, waiting = await asyncio.wait(waiting, timeout=RECORD_SECONDS)
                for each in done:
                    each.result()
                if not await self._record(claimed, progress):
                    return
        finally:
            for each in askers:
                each.cancel()
            await asyncio.gather(*askers, return_exceptions=True)
            await self._record(claimed, progress)

    async def _record(self, claimed: ClaimedRun, progress: _Progress) -> bool:
        """Write what was answered, and now and then the scores; returns whether the run goes on."""
        answers, progress.answers = progress.answers, []
        progress.is_new = progress.is_new or bool(answers)
        goes_on = await self._in_thread(self._running.record, claimed.claim, answers)
        if progress.is_new and time.monotonic() - progress.summed_up >= SUM_UP_SECONDS:
            await self._in_thread(self._running.sum_up, claimed.claim)
            progress.summed_up, progress.is_new = time.monotonic(), False
        return goes_on

    async def _ask_some(
        self, claimed: ClaimedRun, left: Iterator[tuple[EvaluationRow, int]], progress: _Progress
    ) -> None:
        for row, model in left:
            answer = await self._ask_patiently(claimed.principal, claimed.run, row, model)
            # Which list answers wait in changes while one is generated.
            progress.answers.append(answer)

    async def _ask_patiently(
        self, principal: Principal, run: EvaluationRun, row: EvaluationRow, model: int
    ) -> ModelAnswer:
        """One answer. Quotas are waited for, and a generator that is away is asked again."""
        pauses = iter(self._retry_seconds)
        while True:
            try:
                self._quotas.admit(principal, Cost.TOKENS)
                return await self._ask(principal, run, row, model)
            except QuotaExceeded as error:
                await asyncio.sleep(error.retry_seconds)
            except InvalidArgument as error:
                # This example is none for this model, such as one that is too long for it.
                said = "; ".join(each.description for each in error.violations)
                return _unanswered(row, model, said or self._message_of(error))
            except TuningforkError as error:
                pause = next(pauses, None) if error.code in _WORTH_A_RETRY else None
                if pause is None:
                    raise _RunFailed(without_directories(self._message_of(error))) from error
                await asyncio.sleep(pause)

    async def _ask(self, principal: Principal, run: EvaluationRun, row: EvaluationRow, model: int) -> ModelAnswer:
        request = GenerationRequest(prompt=row.prompt, sampling=_sampling(run.settings))
        answer = await self._generation.generate(principal, run.models[model].ref, request)
        pieces: list[str] = []
        reason, tokens = None, 0
        try:
            async for chunk in answer.chunks:
                pieces.append(chunk.text)
                reason, tokens = chunk.finish_reason or reason, chunk.output_tokens
        finally:
            await answer.chunks.aclose()
        if answer.blocked:
            return _unanswered(row, model, "The server's safety rater withheld the question from the model.")
        text, stopped = "".join(pieces), reason is FinishReason.STOP
        return ModelAnswer(
            number=row.number,
            model=model,
            text=text[:MAX_ANSWER_CHARACTERS],
            scores=scores_of(row.expected, text, stopped=stopped),
            stopped=stopped,
            output_tokens=tokens,
            cut=len(text) > MAX_ANSWER_CHARACTERS,
        )


def _sampling(settings: AnswerSettings) -> RequestedSampling:
    return RequestedSampling(temperature=settings.temperature, max_output_tokens=settings.max_output_tokens)


def _unanswered(row: EvaluationRow, model: int, problem: str) -> ModelAnswer:
    scores = dict.fromkeys(Measure, 0.0)
    return ModelAnswer(number=row.number, model=model, text="", scores=scores, stopped=False, problem=problem)
