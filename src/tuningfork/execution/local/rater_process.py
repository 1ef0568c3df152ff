"""The rater: a process that holds a rating model and rates waiting texts in batches, in which owners take turns.

Run by `execution/local/raters.py` as `python -m tuningfork.execution.local.rater_process FD`. It is a process of its
own, so that rating and generation run in parallel, and a crash of the rating model does not end answers.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from tuningfork.classification.base import PassageRater, load_rater
from tuningfork.domain.errors import InternalError, TuningforkError
from tuningfork.domain.exhaustion import is_out_of_memory, reason_of
from tuningfork.domain.owner_queue import OwnerQueue
from tuningfork.domain.rater import RatingModel
from tuningfork.execution.local import worker
from tuningfork.execution.local.messages import Abandon, Rate, Rated, RaterCommand, RaterReport, Refused

logger = logging.getLogger(__name__)

MOST_TOGETHER = 32
"""The most requests that are rated in one batch."""

MOST_CHARACTERS = 20_000
"""To a batch with so many characters no further request is added, so that the next batch does not wait for long."""


@dataclass(slots=True)
class Rater:
    """All requests of this process. Methods yield the reports to send to the server."""

    _waiting: OwnerQueue[Rate] = field(default_factory=OwnerQueue)
    _by_id: dict[str, Rate] = field(default_factory=dict)
    _loaded: dict[RatingModel, PassageRater] = field(default_factory=dict)

    @property
    def idle(self) -> bool:
        """Whether no request waits."""
        return not self._waiting

    def obey(self, command: RaterCommand) -> Iterator[RaterReport]:
        """Queue a request, or drop it."""
        match command:
            case Rate():
                self._waiting.append(command.assignment.owner, command)
                self._by_id[command.request_id] = command
            case Abandon(request_id):
                if (request := self._by_id.pop(request_id, None)) is not None:
                    self._waiting.remove(request.assignment.owner, request)
        yield from ()

    def advance(self) -> Iterator[RaterReport]:
        """Rate the request whose turn it is, together with the next ones for the same model."""
        if self._waiting:
            together = self._next_batch()
            for each in together:
                del self._by_id[each.request_id]
            yield from self._rate(together[0].assignment.model, together)

    def _next_batch(self) -> list[Rate]:
        batch: list[Rate] = [self._waiting.take()]
        others: list[Rate] = []
        model = batch[0].assignment.model
        loaded = self._loaded.get(model)
        most = MOST_TOGETHER if loaded is None else min(MOST_TOGETHER, loaded.most_together)
        while self._waiting and len(batch) < most and sum(map(_characters, batch)) < MOST_CHARACTERS:
            request = self._waiting.take()
            (batch if request.assignment.model == model else others).append(request)
        for request in reversed(others):
            self._waiting.put_first(request.assignment.owner, request)
        return batch

    def _rate(self, model: RatingModel, together: Sequence[Rate]) -> Iterator[RaterReport]:
        passages = [passage for each in together for passage in each.assignment.passages]
        try:
            assessments = iter(self._rater_for(model).rate(passages))
        except Exception as error:  # noqa: BLE001 - reported to the requests that wait
            if len(together) > 1:
                # Rate each request alone, so that only the one at fault fails.
                for each in together:
                    yield from self._rate(model, [each])
                return
            yield Refused.of(together[0].request_id, _as_tuningfork_error(error))
            return
        for each in together:
            count = len(each.assignment.passages)
            yield Rated(each.request_id, tuple(next(assessments) for _ in range(count)))

    def _rater_for(self, model: RatingModel) -> PassageRater:
        if model not in self._loaded:
            # Only one model is loaded at a time, since a model may fill the memory.
            self._loaded.clear()
            self._loaded[model] = load_rater(model, device=worker.best_device())
        return self._loaded[model]


def _characters(request: Rate) -> int:
    return sum(len(passage.text) for passage in request.assignment.passages)


def _as_tuningfork_error(error: Exception) -> TuningforkError:
    if isinstance(error, TuningforkError):
        return error
    told = None if is_out_of_memory(error) else error
    logger.error("rating failed: %s", reason_of(error), exc_info=told, extra={"action": "rating_failed"})
    return InternalError(f"the rater failed: {reason_of(error)}")


if __name__ == "__main__":
    worker.step_back(worker.RATER_NICENESS)
    worker.run(Rater())
