"""Evaluation runs in the database: who holds them, what is asked next, and what was answered."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from fakes import ECHO_BASE
from tuningfork.domain.answer_scores import Measure, scores_of
from tuningfork.domain.conversation import Conversation, Speaker, Turn
from tuningfork.domain.evaluation_run import (
    AnswerSettings,
    DataSource,
    EvaluatedModel,
    EvaluationRow,
    EvaluationRun,
    EvaluationRunId,
    LeakCheck,
    ModelAnswer,
    RunState,
)
from tuningfork.domain.permission import Email
from tuningfork.domain.references import BaseRef, CheckpointRef, TunedRef
from tuningfork.domain.score_intervals import summary_of
from tuningfork.domain.tuned_model import TunedModelId
from tuningfork.service.evaluating.leaks import LeakSearch
from tuningfork.service.evaluating.running import EvaluationRunning
from tuningfork.service.identity.keys import Access
from tuningfork.store import evaluation_rows, evaluation_runs
from tuningfork.store.leases import ServerId

NOW = datetime(2026, 12, 1, tzinfo=UTC)
ADA, BOB = Email("ada@example.com"), Email("bob@example.com")
HERE, THERE = ServerId("here"), ServerId("there")


def run_of(name, owner=ADA, **changes):
    return EvaluationRun(
        **{
            "id": EvaluationRunId(name),
            "owner": owner,
            "project": "p",
            "credential": "k",
            "display_name": f"run {name}\0",
            "state": RunState.QUEUED,
            "source": DataSource(kept_back_by=TunedModelId("m"), display_name="m", row_count=9),
            "models": (
                EvaluatedModel(ref=BaseRef(ECHO_BASE.name), display_name="Echo", leak_check=LeakCheck.NOT_TUNED),
                EvaluatedModel(ref=TunedRef(TunedModelId("m")), display_name="m", leaked=2),
                EvaluatedModel(ref=CheckpointRef(TunedModelId("m"), 3), display_name="m"),
            ),
            "measures": (Measure.EXACT_MATCH, Measure.ROUGE_L),
            "settings": AnswerSettings(temperature=None, max_output_tokens=7),
            "example_count": 2,
            "create_time": NOW,
            "update_time": NOW,
            "answered": (0, 0, 0),
            **changes,
        }
    )


def row_of(number):
    prompt = Conversation(turns=(Turn.said(Speaker.USER, f"q{number}\0"),), system_instruction="s")
    return EvaluationRow(number=number, prompt=prompt, expected=f"a{number}")


def answer_of(number, model, text="a1"):
    return ModelAnswer(
        number=number, model=model, text=text, scores=scores_of("a1", text, stopped=True), output_tokens=2
    )


@pytest.fixture
def inserted(database):
    run = run_of("r1")
    with database.write() as connection:
        evaluation_runs.insert(connection, run, "click")
        evaluation_rows.insert_rows(connection, run.id, [row_of(5), row_of(1)])
    return run


def running(database, artifacts, clock, server, **options):
    return EvaluationRunning(
        database, server, Access(database, clock), LeakSearch(database, artifacts), clock, **options
    )


def test_a_run_is_read_as_it_was_written(database, inserted):
    scores = [[scores_of("a", text, stopped=True)] for text in ("a", "b", "a")]
    summed = replace(
        inserted, summary=summary_of(scores, inserted.measures), error="e", complete_time=NOW, state=RunState.FAILED
    )
    with database.write() as connection:
        assert evaluation_runs.find(connection, inserted.id) == inserted
        assert evaluation_runs.find_requested(connection, ADA, "click") == inserted
        assert evaluation_runs.find_requested(connection, BOB, "click") is None
        evaluation_runs.update(connection, summed)
        assert evaluation_runs.find(connection, inserted.id) == summed


def test_an_id_of_a_request_makes_one_run_of_a_person(database, inserted):
    with database.write() as connection:
        evaluation_runs.insert(connection, run_of("r2", BOB), "click")
        evaluation_runs.insert(connection, run_of("r3"), "")
        evaluation_runs.insert(connection, run_of("r4"), "")
    with pytest.raises(evaluation_runs.RunRequested), database.write() as connection:
        evaluation_runs.insert(connection, run_of("r5"), "click")


def test_rows_are_asked_in_the_order_in_which_they_were_written(database, inserted):
    with database.read() as connection:
        assert list(evaluation_rows.rows_of(connection, inserted.id)) == [row_of(5), row_of(1)]


def test_answers_are_counted_by_model_and_deleted_with_their_run(database, inserted):
    answers = [answer_of(5, 0), answer_of(5, 2, "\0"), answer_of(1, 0)]
    with database.write() as connection:
        evaluation_rows.insert_answers(connection, inserted.id, answers)
        evaluation_rows.mark_leaked(connection, inserted.id, {5: frozenset({1, 2})})
        assert evaluation_runs.find(connection, inserted.id).answered == (2, 0, 1)
        [row] = evaluation_rows.answered_rows(connection, inserted.id, [5, 9])
        evaluation_runs.delete(connection, inserted.id)
        left = evaluation_rows.answered(connection, inserted.id)
    assert row.row == replace(row_of(5), leaked=frozenset({1, 2}))
    assert row.answers == {0: answers[0], 2: answers[1]}
    assert left == set()


def test_of_two_servers_one_takes_a_run(database, artifacts, clock, inserted):
    here, there = (running(database, artifacts, clock, server) for server in (HERE, THERE))
    claimed = here.claim(())
    assert there.claim(()) is None
    assert [(row.number, model) for row, model in claimed.left] == [(5, 0), (5, 1), (5, 2), (1, 0), (1, 1), (1, 2)]
    assert (claimed.principal.email, claimed.principal.project) == (ADA, "p")


def test_an_owner_with_a_running_run_waits_and_others_do_not(database, artifacts, clock, inserted):
    with database.write() as connection:
        evaluation_runs.insert(connection, run_of("r2", create_time=NOW + timedelta(seconds=1)), "")
        evaluation_runs.insert(connection, run_of("r3", BOB, create_time=NOW + timedelta(seconds=2)), "")
        for name in ("r2", "r3"):
            evaluation_rows.insert_rows(connection, EvaluationRunId(name), [row_of(1)])
    here = running(database, artifacts, clock, HERE)
    assert [here.claim(()).run.id, here.claim(()).run.id] == ["r1", "r3"]
    assert here.claim(()) is None


def test_a_run_of_a_server_that_renews_no_lease_waits_again_and_its_late_answers_are_dropped(
    database, artifacts, clock, inserted
):
    seconds = [0.0]
    timing = {"lease_seconds": 30.0, "monotonic": lambda: seconds[0]}
    dead, alive = (running(database, artifacts, clock, server, **timing) for server in (THERE, HERE))
    lost = dead.claim(())
    for seconds[0] in (5.0, 15.0, 25.0, 35.0, 45.0):
        alive.keep_leases()
    taken = alive.claim(())
    assert taken.run.id == lost.run.id
    assert taken.claim != lost.claim
    assert not dead.record(lost.claim, [answer_of(5, 0)])
    assert not dead.end(lost.claim)
    assert alive.record(taken.claim, [answer_of(5, 0)])


def test_a_run_whose_lease_is_renewed_stays_with_its_server(database, artifacts, clock, inserted):
    seconds = [0.0]
    timing = {"lease_seconds": 30.0, "monotonic": lambda: seconds[0]}
    holder, other = (running(database, artifacts, clock, server, **timing) for server in (THERE, HERE))
    claimed = holder.claim(())
    for seconds[0] in range(5, 100, 5):
        holder.keep_leases()
        other.keep_leases()
    assert other.claim(()) is None
    assert holder.record(claimed.claim, [])


def test_what_was_answered_is_not_asked_again_after_a_restart(database, artifacts, clock, inserted):
    before = running(database, artifacts, clock, HERE)
    claimed = before.claim(())
    before.record(claimed.claim, [answer_of(5, 0), answer_of(5, 1)])
    after = running(database, artifacts, clock, HERE)
    after.take_back()
    again = after.claim(())
    assert [(row.number, model) for row, model in again.left] == [(5, 2), (1, 0), (1, 1), (1, 2)]
