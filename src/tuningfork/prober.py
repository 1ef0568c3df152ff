"""The loop that asks probe prompts: one at a time, of base models and of checkpoints while their jobs go on.

It lives on the server's event loop, beside the requests, and asks as the owner of the job's model would. So the
generator's fair shares among owners hold. Training waits for nothing: what is asked are checkpoints.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import TypeVar

from tuningfork.domain.conversation import Conversation, Speaker, Turn
from tuningfork.domain.errors import InvalidArgument, QuotaExceeded, ResourceExhausted, TuningforkError, Unavailable
from tuningfork.domain.generation import FinishReason, GenerationRequest, RequestedSampling
from tuningfork.domain.probe_prompts import MOST_OUTPUT_TOKENS, ProbeAnswer
from tuningfork.domain.server_paths import without_directories
from tuningfork.domain.tuning_job import JobId
from tuningfork.service.answering.generation import Generation
from tuningfork.service.quotas import Cost, Quotas
from tuningfork.service.tuning.probing import Probing, Question

logger = logging.getLogger(__name__)
Told = TypeVar("Told")

POLL_SECONDS = 1.0
"""How often the loop looks for prompts to ask."""
ANSWER_SECONDS = 300.0
"""How long an answer may take."""
MOST_TRIES = 6
"""How often a prompt is asked that could not be answered; then that is recorded as its answer."""
PAUSE_SECONDS = 10.0
"""How long a job's prompts rest after one could not be answered."""


class Prober:
    """Asks until it is cancelled. `message_of` words an error for callers of the API."""

    def __init__(
        self,
        probing: Probing,
        generation: Generation,
        quotas: Quotas,
        message_of: Callable[[TuningforkError], str],
        *,
        poll_seconds: float = POLL_SECONDS,
        pause_seconds: float = PAUSE_SECONDS,
    ) -> None:
        self._probing = probing
        self._generation = generation
        self._quotas = quotas
        self._message_of = message_of
        self._poll_seconds = poll_seconds
        self._pause_seconds = pause_seconds
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="probes")
        self._tries: Counter[tuple[JobId, int, int]] = Counter()
        # When each job's prompts are asked again, by the clock of the event loop.
        self._resting: dict[JobId, float] = {}

    async def run(self) -> None:
        """Ask until this is cancelled; an answer that was not recorded by then is asked for after the next start."""
        try:
            while True:
                asked = False
                for question in await self._questions():
                    await self._answer(question)
                    asked = True
                if not asked:
                    await asyncio.sleep(self._poll_seconds)
        finally:
            self._thread.shutdown(wait=False)

    async def _questions(self) -> tuple[Question, ...]:
        now = asyncio.get_running_loop().time()
        self._resting = {job_id: until for job_id, until in self._resting.items() if until > now}
        return await self._guarded(partial(self._probing.questions, frozenset(self._resting))) or ()

    async def _guarded(self, work: Callable[[], Told]) -> Told | None:
        """What work in a thread returns. None: it went wrong, which is logged, and can be tried again."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except (Unavailable, ResourceExhausted) as error:
            logger.warning("probe prompts wait: %s", error.message, extra={"action": "database_busy"})
        except Exception:
            logger.exception("the prober stumbled and will try again", extra={"action": "probe_failed"})
        await asyncio.sleep(self._poll_seconds)
        return None

    async def _answer(self, question: Question) -> None:
        try:
            self._quotas.admit(question.principal, Cost.TOKENS)
            answer = await self._ask(question)
        except QuotaExceeded as error:
            self._rest(question, error.retry_seconds)
            return
        except InvalidArgument as error:
            # The prompt is none for this model, such as one that is too long for it.
            said = "; ".join(each.description for each in error.violations)
            answer = self._unanswered(question, said or self._message_of(error))
        except (TuningforkError, TimeoutError) as error:
            self._tries[question.key] += 1
            if self._tries[question.key] < MOST_TRIES:
                self._rest(question, self._pause_seconds)
                return
            said = self._message_of(error) if isinstance(error, TuningforkError) else "It took too long."
            answer = self._unanswered(question, without_directories(said))
        except Exception:
            labels = {"action": "probe_failed", "job": question.job_id}
            logger.exception("a probe prompt of job %s met a fault", question.job_id, extra=labels)
            answer = self._unanswered(question, "The server met a fault of its own, which its log describes.")
        if await self._guarded(partial(self._record, question, answer)):
            self._tries.pop(question.key, None)
        else:
            self._rest(question, self._pause_seconds)

    def _rest(self, question: Question, seconds: float) -> None:
        self._resting[question.job_id] = asyncio.get_running_loop().time() + seconds

    def _record(self, question: Question, answer: ProbeAnswer) -> bool:
        self._probing.record(question, answer)
        return True

    async def _ask(self, question: Question) -> ProbeAnswer:
        prompt = Conversation(turns=(Turn.said(Speaker.USER, question.prompt),))
        sampling = RequestedSampling(temperature=0.0, max_output_tokens=MOST_OUTPUT_TOKENS)
        request = GenerationRequest(prompt=prompt, sampling=sampling)
        pieces: list[str] = []
        reason, tokens = None, 0
        async with asyncio.timeout(ANSWER_SECONDS):
            answer = await self._generation.generate(question.principal, question.asked, request)
            try:
                async for chunk in answer.chunks:
                    pieces.append(chunk.text)
                    reason, tokens = chunk.finish_reason or reason, chunk.output_tokens
            finally:
                with suppress(TuningforkError):
                    await answer.chunks.aclose()
        if answer.blocked:
            return self._unanswered(question, "The server's safety rater withheld the prompt from the model.")
        return ProbeAnswer(
            number=question.number,
            step=question.step,
            epoch=question.epoch,
            text="".join(pieces),
            output_tokens=tokens,
            time=self._probing.clock(),
            cut=reason is FinishReason.MAX_TOKENS,
        )

    def _unanswered(self, question: Question, problem: str) -> ProbeAnswer:
        return ProbeAnswer(
            number=question.number,
            step=question.step,
            epoch=question.epoch,
            text="",
            output_tokens=0,
            time=self._probing.clock(),
            problem=problem,
        )
