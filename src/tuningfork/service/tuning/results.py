"""What a job's validation set has shown, the checkpoints that the job has left, and which of them its model uses."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from tuningfork.domain.checkpoint import Checkpoint
from tuningfork.domain.errors import FieldViolation, InvalidArgument, Reason
from tuningfork.domain.evaluation import Evaluation
from tuningfork.domain.permission import Action, Principal
from tuningfork.domain.references import TunedRef
from tuningfork.domain.refusals import ModelNotUsable, Purpose
from tuningfork.domain.tuned_model import ModelState, TunedModelId
from tuningfork.service.paging import Page, place_of, size_of, token_of
from tuningfork.service.tuning import conclusion
from tuningfork.service.tuning.tuned import Tuned, load
from tuningfork.store import checkpoints, evaluations, tuned_models
from tuningfork.store.database import Database, Transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluated:
    """A page of the evaluations of a model's job, in the order of their steps.

    `best` is the best evaluation of all, not only of the page; None: there are none yet. `why_early` says where and why
    the job has stopped before its last step; "": it has not.
    """

    tuned: Tuned
    page: Page[Evaluation]
    best: Evaluation | None
    why_early: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptCheckpoints:
    """The checkpoints of a model's job, in the order of their numbers, each with the evaluation of its step, if any."""

    tuned: Tuned
    items: tuple[tuple[Checkpoint, Evaluation | None], ...]


class Results:
    """The use cases of evaluations and checkpoints."""

    def __init__(self, database: Database, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._clock = clock

    def evaluations(
        self, principal: Principal, model_id: TunedModelId, *, page_size: int | None = None, page_token: str = ""
    ) -> Evaluated:
        """A page of the evaluations so far.

        Raises:
            NotFound: there is no such model.
            PermissionDenied: the caller may not read it.
            InvalidArgument: the size or the token is wrong.

        """
        size, constant = size_of(page_size), f"evaluations of {model_id}"
        after = int(place_of(page_token, constant, [int])[0]) if page_token else -1
        with self._database.read() as connection:
            tuned = load(connection, principal, model_id, Action.GET)
            found = evaluations.evaluations_of(connection, tuned.job.id, after_step=after, most=size + 1)
            best = evaluations.best_evaluation(connection, tuned.job.id)
            why = conclusion.why_early(connection, tuned.job) if tuned.job.stopped_early else ""
        shown = found[:size]
        token = token_of([shown[-1].step], constant) if len(found) > len(shown) else ""
        return Evaluated(tuned=tuned, page=Page(shown, token), best=best, why_early=why)

    def checkpoints(self, principal: Principal, model_id: TunedModelId) -> KeptCheckpoints:
        """The checkpoints so far.

        Raises:
            NotFound: there is no such model.
            PermissionDenied: the caller may not read it.

        """
        with self._database.read() as connection:
            return _kept(connection, load(connection, principal, model_id, Action.GET))

    def use(self, principal: Principal, model_id: TunedModelId, number: int) -> KeptCheckpoints:
        """Make a checkpoint the model's default: the next request to the model is answered with its weights.

        Raises:
            NotFound: there is no such model.
            PermissionDenied: the caller may not write it.
            FailedPrecondition: the model is not ACTIVE.
            InvalidArgument: it has no such checkpoint.

        """
        with self._database.write() as connection:
            tuned_models.hold(connection, model_id)
            tuned = load(connection, principal, model_id, Action.UPDATE)
            if tuned.model.state is not ModelState.ACTIVE:
                raise ModelNotUsable(TunedRef(model_id), tuned.model.state, Purpose.CHOOSE_CHECKPOINT)
            kept = _kept(connection, tuned)
            numbers = [checkpoint.number for checkpoint, _ in kept.items]
            if number not in numbers:
                raise _no_such(number, numbers)
            model = replace(tuned.model, default_checkpoint=number, update_time=self._clock())
            checkpoints.set_default(connection, model_id, number)
            tuned_models.update(connection, model, ())
        return replace(kept, tuned=replace(tuned, model=model))


def _no_such(number: int, numbers: Sequence[int]) -> InvalidArgument:
    allowed = f"one of {', '.join(map(str, numbers))}" if len(numbers) > 1 else str(*numbers)
    described = f"checkpoint must be the number of a checkpoint of the model, {allowed}; {number} was given"
    violation = FieldViolation(field="checkpoint", description=described, reason=Reason.OUT_OF_RANGE)
    return InvalidArgument(violations=(violation,))


def _kept(connection: Transaction, tuned: Tuned) -> KeptCheckpoints:
    kept = checkpoints.checkpoints_of(connection, tuned.job.id)
    by_step = evaluations.evaluations_at(connection, tuned.job.id, [each.step for each in kept])
    return KeptCheckpoints(tuned=tuned, items=tuple((each, by_step.get(each.step)) for each in kept))
