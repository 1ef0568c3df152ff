"""What validation sets have shown of runs, and the checkpoints of tuned models, as the server's own API tells it."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Self

from tuningfork.client import answer_fields as fields
from tuningfork.client.answer_fields import Json
from tuningfork.domain.evaluation import Evaluation

_MOST_ROWS = 24
"""A table of more evaluations leaves some out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResults:
    """The results of a run on its validation set so far.

    `validation_count` 0: it has no validation set. `best` is the best of all evaluations; None: there are none yet.
    `stopped_early` says where and why the run ended before its last step; "": it did not.
    """

    example_count: int = 0
    validation_count: int = 0
    evaluate_every: int = 0
    evaluations: tuple[Evaluation, ...] = ()
    best: Evaluation | None = None
    stopped_early: str = ""

    def may_be_newer(self, completed_steps: int, *, done: bool) -> bool:
        """Whether the server may have a further evaluation of a run that has taken so many steps."""
        last = self.evaluations[-1].step if self.evaluations else 0
        if not self.validation_count:
            return False
        return done or (self.evaluate_every > 0 and completed_steps - last >= self.evaluate_every)

    def and_then(self, page: Self) -> Self:
        """These results with those of the next page."""
        return replace(page, evaluations=(*self.evaluations, *page.evaluations))

    @property
    def in_words(self) -> str:
        """The last validation loss, for a progress bar; "": there is none yet."""
        return f"validation {self.evaluations[-1].mean_loss:.3f}" if self.evaluations else ""

    def answer(self) -> Json:
        """The results in JSON, with the names of the server's API."""
        return {
            "exampleCount": self.example_count,
            "validationExampleCount": self.validation_count,
            "evaluateEvery": self.evaluate_every,
            "evaluations": [_rendered(each) for each in self.evaluations],
            "best": None if self.best is None else _rendered(self.best),
            "stoppedEarly": self.stopped_early,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class RunCheckpoint:
    """A checkpoint of a tuned model. Losses that are not known are None."""

    number: int
    step: int
    epoch: int
    is_default: bool
    mean_loss: float | None
    evaluation: Evaluation | None


def parse_results(answer: Json) -> RunResults:
    """A page of tuningfork.v1.ListEvaluationsResponse."""
    return RunResults(
        example_count=fields.count(answer, "exampleCount"),
        validation_count=fields.count(answer, "validationExampleCount"),
        evaluate_every=fields.whole(answer, "evaluateEvery", 0),
        evaluations=tuple(map(_evaluation, fields.objects(answer, "evaluations"))),
        best=_evaluation(fields.inner(answer, "best")) if "best" in answer else None,
        stopped_early=fields.text(answer, "stoppedEarly", ""),
    )


def parse_checkpoints(answer: Json) -> tuple[RunCheckpoint, ...]:
    """A tuningfork.v1.ListCheckpointsResponse."""
    return tuple(
        RunCheckpoint(
            number=fields.whole(each, "number"),
            step=fields.whole(each, "step", 0),
            epoch=fields.whole(each, "epoch", 0),
            is_default=fields.flag(each, "default"),
            mean_loss=fields.number(each, "meanLoss") if "meanLoss" in each else None,
            evaluation=_evaluation(fields.inner(each, "evaluation")) if "evaluation" in each else None,
        )
        for each in fields.objects(answer, "checkpoints")
    )


def table(results: RunResults, losses: dict[int, float]) -> Iterator[str]:
    """The evaluations as lines of text, the best one marked; of many, some in between are left out.

    Args:
        results: those of the run; without evaluations there are no lines.
        losses: the mean training loss of each step; of a long run, of those that are known.

    """
    if not results.evaluations:
        return
    yield f"{'step':>9} {'epoch':>6} {'loss':>8} {'validation loss':>16} {'right tokens':>13}"
    last, every = len(results.evaluations) - 1, -(-len(results.evaluations) // _MOST_ROWS)
    for index, each in enumerate(results.evaluations):
        is_best = results.best is not None and each.step == results.best.step
        if is_best or index in (0, last) or index % every == 0:
            loss = f"{losses[each.step]:.3f}" if each.step in losses else ""
            row = f"{each.step:>9,} {each.epoch:>6,} {loss:>8} {each.mean_loss:>16.3f} {each.right_share:>12.1%}"
            yield f"{row}  best" if is_best else row


def _evaluation(answer: Json) -> Evaluation:
    return Evaluation(
        step=fields.whole(answer, "step", 0),
        epoch=fields.whole(answer, "epoch", 0),
        mean_loss=fields.number(answer, "meanLoss"),
        targets=max(1, fields.count(answer, "targetCount")),
        right_targets=fields.count(answer, "rightTargetCount"),
        compute_time=fields.time(answer, "computeTime"),
    )


def _rendered(evaluation: Evaluation) -> Json:
    return {
        "step": evaluation.step,
        "epoch": evaluation.epoch,
        "meanLoss": evaluation.mean_loss,
        "targetCount": evaluation.targets,
        "rightTargetCount": evaluation.right_targets,
        "computeTime": evaluation.compute_time.isoformat().replace("+00:00", "Z"),
    }
