"""The rater: a process that holds a model which rates texts for harm, and rates those that wait together.

Run by `execution/local.py` as `python -m tuningfork.execution.rater_process FD`. It is a process of its own, so that
rating goes on beside generating, and a rating model that dies takes no answer with it.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from tuningfork.classification.base import PassageRater, load_rater
from tuningfork.domain.errors import InternalError, TuningforkError
from tuningfork.domain.rater import RatingModel
from tuningfork.execution import worker
from tuningfork.execution.messages import Abandon, Rate, Rated, RaterCommand, RaterReport, Refused

logger = logging.getLogger(__name__)

MOST_TOGETHER = 32
"""Requests rated in one go; those who come later wait for it."""


@dataclass(slots=True)
class Rater:
    """All requests of this process. Methods yield the reports that they caused."""

    _waiting: dict[str, Rate] = field(default_factory=dict)
    _loaded: dict[RatingModel, PassageRater] = field(default_factory=dict)

    @property
    def idle(self) -> bool:
        """Whether nobody waits."""
        return not self._waiting

    def obey(self, command: RaterCommand) -> Iterator[RaterReport]:
        """Let a request wait for its turn, or forget it."""
        match command:
            case Rate():
                self._waiting[command.request_id] = command
            case Abandon(request_id):
                self._waiting.pop(request_id, None)
        yield from ()

    def advance(self) -> Iterator[RaterReport]:
        """Rate what waits for the same model as the one who has waited longest."""
        first = next(iter(self._waiting.values()), None)
        if first is None:
            return
        model = first.assignment.model
        together = [each for each in self._waiting.values() if each.assignment.model == model][:MOST_TOGETHER]
        for each in together:
            del self._waiting[each.request_id]
        yield from self._rate(model, together)

    def _rate(self, model: RatingModel, together: Sequence[Rate]) -> Iterator[RaterReport]:
        passages = [passage for each in together for passage in each.assignment.passages]
        try:
            assessments = iter(self._rater_for(model).rate(passages))
        except Exception as error:  # noqa: BLE001 - told to whoever waits
            if len(together) > 1:
                # Whoever is at fault should answer for it alone.
                for each in together:
                    yield from self._rate(model, [each])
                return
            yield Refused.of(together[0].request_id, _told(error))
            return
        for each in together:
            count = len(each.assignment.passages)
            yield Rated(each.request_id, tuple(next(assessments) for _ in range(count)))

    def _rater_for(self, model: RatingModel) -> PassageRater:
        if model not in self._loaded:
            # One at a time: a server has one rater, and its model may fill the memory.
            self._loaded.clear()
            self._loaded[model] = load_rater(model, device=worker.best_device())
        return self._loaded[model]


def _told(error: Exception) -> TuningforkError:
    if isinstance(error, TuningforkError):
        return error
    logger.error("rating failed", exc_info=error, extra={"action": "rating_failed"})
    return InternalError(f"the rater failed: {type(error).__name__}: {error}")


if __name__ == "__main__":
    worker.run(Rater())
