"""Begins evaluation runs: checks models and data, and writes the run with its examples."""

import random
from collections.abc import Callable
from datetime import datetime

from tuningfork.domain.answer_scores import is_json
from tuningfork.domain.base_model import Catalog
from tuningfork.domain.errors import InvalidArgument, ResourceExhausted
from tuningfork.domain.evaluation_run import (
    MAX_RUNS,
    MAX_UNFINISHED,
    USUAL_EXAMPLES,
    EvaluatedModel,
    EvaluationRequest,
    EvaluationRun,
    EvaluationRunId,
    LeakCheck,
    RunState,
    fitting_measures,
    violations_of,
)
from tuningfork.domain.ids import ID_BITS, random_id
from tuningfork.domain.permission import Action, Principal
from tuningfork.domain.references import BaseRef, CheckpointRef, ModelRef, TunedRef
from tuningfork.domain.refusals import ModelNotUsable, Purpose, ResourceNotFound
from tuningfork.domain.tuned_model import ModelState, TunedModelId
from tuningfork.service.base_models import base_of, check_described, find_base
from tuningfork.service.evaluating.held_out_data import HeldOut, HeldOutData
from tuningfork.service.identity.keys import model_for
from tuningfork.store import checkpoints, evaluation_rows, evaluation_runs
from tuningfork.store.database import Database, Transaction


class Beginning:
    """The use case of beginning a run. Thread-safe.

    `begun` is called after a run was written, from the same thread.
    """

    def __init__(
        self,
        database: Database,
        catalog: Catalog,
        held_out: HeldOut,
        clock: Callable[[], datetime],
        entropy: Callable[[int], int],
        begun: Callable[[], None],
    ) -> None:
        self._database = database
        self._catalog = catalog
        self._held_out = held_out
        self._clock = clock
        self._entropy = entropy
        self._begun = begun

    def begin(self, principal: Principal, request: EvaluationRequest) -> EvaluationRun:
        """Begin a run, or return the one that an earlier request of the caller with the same id has begun.

        Raises:
            InvalidArgument: everything that is wrong with the request, or with the data.
            NotFound: there is no such model, or no such dataset of the caller.
            PermissionDenied: the caller may not ask one of the models, or may not see what was kept back.
            FailedPrecondition: a model cannot be asked now, or the data are not on this server.
            ResourceExhausted: the caller has too many runs.

        """
        if (made := self._made(principal, request.request_id)) is not None:
            return made
        if found := tuple(violations_of(request)):
            raise InvalidArgument(violations=found)
        with self._database.read() as connection:
            _check_room(*evaluation_runs.count(connection, principal.email))
            models = tuple(self._model(connection, principal, ref) for ref in request.models)
        data = self._data(principal, request)
        run = self._run(principal, request, models, data)
        # In an order of chance, which the id determines, so that a run that is stopped has asked a fair sample.
        asked = random.Random(run.id).sample(data.rows, len(data.rows))
        try:
            with self._database.write() as connection:
                evaluation_runs.insert(connection, run, request.request_id)
                evaluation_rows.insert_rows(connection, run.id, asked)
        except evaluation_runs.RunRequested:
            if (made := self._made(principal, request.request_id)) is not None:
                return made
            raise
        self._begun()
        return run

    def _made(self, principal: Principal, request_id: str) -> EvaluationRun | None:
        if not request_id:
            return None
        with self._database.read() as connection:
            return evaluation_runs.find_requested(connection, principal.email, request_id)

    def _model(self, connection: Transaction, principal: Principal, ref: ModelRef) -> EvaluatedModel:
        match ref:
            case BaseRef(name):
                base = find_base(self._catalog, name)
                check_described(base)
                title = base.display_name or base.name
                return EvaluatedModel(ref=BaseRef(base.name), display_name=title, leak_check=LeakCheck.NOT_TUNED)
            case TunedRef(model_id):
                return self._tuned(connection, principal, ref, model_id)
            case CheckpointRef(model_id, number):
                found = self._tuned(connection, principal, ref, model_id)
                if checkpoints.find_checkpoint(connection, model_id, number) is None:
                    raise ResourceNotFound(ref)
                return found

    def _tuned(
        self, connection: Transaction, principal: Principal, ref: TunedRef | CheckpointRef, model_id: TunedModelId
    ) -> EvaluatedModel:
        tuned = model_for(connection, principal, model_id, Action.GENERATE)
        if isinstance(ref, TunedRef) and tuned.state is not ModelState.ACTIVE:
            raise ModelNotUsable(ref, tuned.state, Purpose.GENERATE)
        check_described(base_of(self._catalog, tuned))
        return EvaluatedModel(ref=ref, display_name=tuned.display_name or model_id)

    def _data(self, principal: Principal, request: EvaluationRequest) -> HeldOutData:
        most = request.max_examples or USUAL_EXAMPLES
        if request.dataset is not None:
            return self._held_out.of_dataset(principal, request.dataset, most)
        if request.kept_back_by is not None:
            return self._held_out.of_model(principal, request.kept_back_by, most)
        raise AssertionError("violations_of has refused a request without data")

    def _run(
        self, principal: Principal, request: EvaluationRequest, models: tuple[EvaluatedModel, ...], data: HeldOutData
    ) -> EvaluationRun:
        now = self._clock()
        expected = [row.expected for row in data.rows]
        return EvaluationRun(
            id=EvaluationRunId(random_id(self._entropy(ID_BITS))),
            owner=principal.email,
            project=principal.project,
            credential=principal.credential,
            display_name=request.display_name.strip() or data.source.display_name,
            state=RunState.QUEUED,
            source=data.source,
            models=models,
            measures=request.measures or fitting_measures(expected, list(map(is_json, expected))),
            settings=request.settings,
            example_count=len(data.rows),
            create_time=now,
            update_time=now,
            answered=(0,) * len(models),
        )


def _check_room(runs: int, unfinished: int) -> None:
    if unfinished >= MAX_UNFINISHED:
        raise ResourceExhausted(
            f"{unfinished} of your evaluations wait or run, and {MAX_UNFINISHED} is the most: wait until one has "
            "ended, or stop one."
        )
    if runs >= MAX_RUNS:
        raise ResourceExhausted(
            f"You have {runs} evaluations, and {MAX_RUNS} is the most: delete those that you do not need."
        )
