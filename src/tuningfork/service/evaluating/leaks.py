"""Finds examples of evaluation runs that a model was trained on: its score on them says little.

Compared is what the model reads before an answer, whatever the answer. A tuned model that went on from another one was
trained on the other one's examples too.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from tuningfork.domain.conversation import Conversation, Example, Preference
from tuningfork.domain.dataset_lines import example_in
from tuningfork.domain.errors import NotFound, PermissionDenied
from tuningfork.domain.evaluation_run import EvaluatedModel, EvaluationRow, LeakCheck
from tuningfork.domain.permission import Action, Principal
from tuningfork.domain.tuned_model import TunedModelId
from tuningfork.service.tuning.tuned import load
from tuningfork.store.artifacts import Artifacts
from tuningfork.store.database import Database

MOST_COMPARED = 200_000
"""How many training examples of a model are compared, which takes a few seconds."""
_MOST_SOURCES = 10


class LeakSearch:
    """Compares training data with the examples of a run. Thread-safe."""

    def __init__(self, database: Database, artifacts: Artifacts, *, most_compared: int = MOST_COMPARED) -> None:
        self._database = database
        self._artifacts = artifacts
        self._most = most_compared

    @staticmethod
    def is_due(model: EvaluatedModel) -> bool:
        """Whether a model has not been looked at yet."""
        return model.leak_check is LeakCheck.WAITING

    def search(
        self, principal: Principal, models: Sequence[EvaluatedModel], rows: Sequence[EvaluationRow]
    ) -> tuple[tuple[EvaluatedModel, ...], Mapping[int, frozenset[int]]]:
        """The models with what was found, and the indexes of models that know an example, by its number.

        Only whoever may change a model is told: others could find out in this way what is in its data.
        """
        asked: dict[str, list[int]] = {}
        for row in rows:
            asked.setdefault(_question(row.prompt), []).append(row.number)
        found: list[EvaluatedModel] = []
        leaked: dict[int, frozenset[int]] = {}
        known: dict[TunedModelId, tuple[LeakCheck, set[str]]] = {}
        for index, model in enumerate(models):
            tuned = model.tuned_model
            if tuned is None or not self.is_due(model):
                found.append(model)
                continue
            if tuned not in known:
                known[tuned] = self._of_model(principal, tuned, asked)
            check, questions = known[tuned]
            numbers = [number for question in questions for number in asked[question]]
            for number in numbers:
                leaked[number] = leaked.get(number, frozenset()) | {index}
            found.append(replace(model, leak_check=check, leaked=len(numbers)))
        return tuple(found), leaked

    def _of_model(
        self, principal: Principal, model_id: TunedModelId, asked: Mapping[str, object]
    ) -> tuple[LeakCheck, set[str]]:
        """How far a model was looked at, and which of these questions it was trained on."""
        questions: set[str] = set()
        left, source, is_whole = self._most, model_id, True
        for number in range(_MOST_SOURCES):
            try:
                with self._database.read() as connection:
                    tuned = load(connection, principal, source, Action.UPDATE)
            except (NotFound, PermissionDenied) as error:
                refused = LeakCheck.NOT_HERE if isinstance(error, NotFound) else LeakCheck.NOT_ALLOWED
                return (LeakCheck.PARTIAL if number else refused), questions
            ref = self._artifacts.dataset(tuned.job.id)
            if not tuned.job.imported and self._artifacts.store.has(ref):
                compared = 0
                for question in itertools.islice(_questions_in(self._artifacts.store.path(ref)), left):
                    compared += 1
                    if question in asked:
                        questions.add(question)
                left -= compared
                is_whole = is_whole and left > 0
            else:
                is_whole = False
                if not number and tuned.model.source is None:
                    return LeakCheck.NOT_HERE, questions
            if tuned.model.source is None:
                return (LeakCheck.DONE if is_whole else LeakCheck.PARTIAL), questions
            source = tuned.model.source
        return LeakCheck.PARTIAL, questions


def _questions_in(path: Path) -> Iterator[str]:
    with path.open("rb") as lines:
        for line in lines:
            yield from _questions(example_in(line))


def _questions(example: Example) -> Iterator[str]:
    if isinstance(example, Preference):
        yield _question(example.prompt)
        return
    for index, turn in enumerate(example.turns):
        if turn.is_learned:
            before = example.turns[:index]
            yield _question(Conversation(turns=before, system_instruction=example.system_instruction))


def _question(prompt: Conversation) -> str:
    return "\x1f".join([prompt.system_instruction or "", *(turn.text for turn in prompt.turns)])
