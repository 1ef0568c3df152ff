"""Held-out examples, the best checkpoint, early stopping, and the choice of a default checkpoint."""

import dataclasses
import json

import pytest

from tuningfork.domain.conversation import Conversation
from tuningfork.domain.early_stopping import EarlyStopping
from tuningfork.domain.errors import FailedPrecondition, InvalidArgument, PermissionDenied
from tuningfork.domain.hyperparameters import RequestedHyperparameters
from tuningfork.domain.tuned_model import ModelState
from tuningfork.domain.tuning_job import JobState
from tuningfork.execution.dataset_file import DatasetFile
from tuningfork.service.tuning.results import Results
from workshop import ADA, BOB, NUMBER_PAIRS, number_request

# The trainer in memory learns the examples by heart, four a step, so with these the validation loss falls until step 2.
KNOWN_SOON = NUMBER_PAIRS[:8]


@pytest.fixture
def results(workshop):
    return Results(workshop.database, workshop.clock)


def validated(**changes):
    return number_request(**{"base_model": "models/echo-001", "validation": KNOWN_SOON, "evaluate_every": 1, **changes})


def stopping(patience=3, **changes):
    return validated(early_stopping=EarlyStopping(patience=patience), **changes)


def made(workshop, request):
    tuned = workshop.tuning.create(ADA, request)
    workshop.advance()
    return workshop.tuning.get(ADA, tuned.model.id)


def kept(results, tuned):
    found = results.checkpoints(ADA, tuned.model.id)
    return {checkpoint.number: checkpoint.step for checkpoint, _ in found.items}, found.tuned.model.default_checkpoint


def files(workshop):
    return sorted(path.name for path in (workshop.artifacts.store.root / "checkpoints").glob("*/*"))


def event_reason(workshop, tuned):
    with workshop.database.read() as connection:
        query = "SELECT reason FROM job_events WHERE job_id = %r ORDER BY id DESC LIMIT 1" % tuned.job.id  # noqa: UP031
        return connection.exec_driver_sql(query).scalar()


class TestHeldOut:
    def test_a_share_of_the_examples_is_written_aside_and_not_learned_from(self, workshop):
        tuned = workshop.tuning.create(ADA, number_request(held_out_percent=20.0, evaluate_every=None))

        parts = []
        for ref in (workshop.artifacts.dataset(tuned.job.id), workshop.artifacts.validation(tuned.job.id)):
            with workshop.artifacts.store.reading(ref) as path:
                parts.append(tuple(DatasetFile(path)))
        assert (tuned.job.example_count, tuned.job.validation_count) == (12, 3) == tuple(map(len, parts))
        assert {*parts[0]} | {*parts[1]} == {*NUMBER_PAIRS}
        assert tuned.job.total_steps == 15
        assert workshop.job(tuned) == tuned.job

    def test_the_split_does_not_depend_on_hyperparameters_and_the_seed_is_that_of_the_examples_learned_from(
        self, workshop
    ):
        first, second = (
            workshop.tuning.create(
                ADA,
                number_request(
                    held_out_percent=20.0,
                    hyperparameters=RequestedHyperparameters(learning_rate=rate),
                    adapter_rank=rank,
                ),
            )
            for rate, rank in ((0.001, 4), (0.01, 8))
        )
        for ref in (workshop.artifacts.dataset, workshop.artifacts.validation):
            written = {workshop.artifacts.store.path(ref(each.job.id)).read_bytes() for each in (first, second)}
            assert len(written) == 1
        assert first.job.seed != second.job.seed

    @pytest.mark.parametrize(
        ("changes", "field"),
        [
            ({"held_out_percent": 0.0}, "held_out_percent"),
            ({"held_out_percent": 51.0}, "held_out_percent"),
            ({"held_out_percent": float("nan")}, "held_out_percent"),
            ({"held_out_percent": 10.0, "validation": KNOWN_SOON}, "held_out_percent"),
            ({"held_out_percent": 10.0, "examples": NUMBER_PAIRS[:1] * 3}, "examples"),
            ({"keep_best": True}, "keep_best"),
            ({"early_stopping": EarlyStopping()}, "early_stopping"),
            ({"early_stopping": EarlyStopping(patience=0), "held_out_percent": 10.0}, "early_stopping.patience"),
            (
                {"early_stopping": EarlyStopping(least_improvement=float("nan")), "held_out_percent": 10.0},
                "early_stopping.least_improvement",
            ),
            (
                {
                    "hyperparameters": RequestedHyperparameters(epoch_count=1_000, batch_size=1),
                    "held_out_percent": 10.0,
                    "evaluate_every": 1,
                },
                "evaluate_every",
            ),
        ],
    )
    def test_what_cannot_be_is_refused_by_its_field(self, workshop, changes, field):
        with pytest.raises(InvalidArgument) as caught:
            workshop.tuning.create(ADA, number_request(**changes))
        assert [each.field for each in caught.value.violations] == [field]
        assert workshop.artifacts.job_ids() == set()

    def test_no_share_is_held_out_of_streamed_examples(self, workshop):
        with pytest.raises(InvalidArgument, match="streamed"):
            workshop.tuning.create(ADA, number_request(examples=(), held_out_percent=10.0), iter(NUMBER_PAIRS))

    def test_faults_name_the_examples_as_they_were_given(self, workshop):
        faulty = (*NUMBER_PAIRS, Conversation.pair("x", ""))
        with pytest.raises(InvalidArgument) as caught:
            workshop.tuning.create(ADA, number_request(examples=faulty, held_out_percent=50.0))
        assert [each.field for each in caught.value.violations] == ["examples[15].output"]

    def test_without_steps_between_evaluations_the_service_chooses_them(self, workshop):
        chosen = workshop.tuning.create(ADA, number_request(held_out_percent=20.0, evaluate_every=None)).job
        none = workshop.tuning.create(ADA, number_request(evaluate_every=None)).job
        assert (chosen.evaluate_every, none.evaluate_every) == (1, 0)


class TestKeepBest:
    def test_the_best_checkpoint_is_the_default_and_beside_it_only_the_last_is_kept(self, workshop, results):
        tuned = made(workshop, validated(keep_best=True))
        assert kept(results, tuned) == ({2: 2, 3: 19}, 2)
        assert files(workshop) == ["00000002-1"]
        assert tuned.job.completed_steps == tuned.job.total_steps

    def test_where_the_last_weights_are_the_best_they_are_all_that_is_kept(self, workshop, results):
        tuned = made(workshop, validated(validation=NUMBER_PAIRS[-1:], keep_best=True, evaluate_every=15))
        assert kept(results, tuned) == ({1: 15, 2: 19}, 1)
        later = made(workshop, validated(validation=NUMBER_PAIRS, keep_best=True, evaluate_every=0))
        assert kept(results, later) == ({1: 19}, 1)

    def test_without_it_the_last_weights_are_the_default(self, workshop, results):
        assert kept(results, made(workshop, validated())) == ({1: 19}, 1)

    def test_a_cancelled_job_has_its_best_checkpoint_as_the_default(self, workshop, results):
        tuned = workshop.tuning.create(ADA, validated(keep_best=True))
        workshop.advance(steps=5)
        workshop.running.give_back(tuned.job.id, died=False)
        workshop.tuning.cancel(ADA, tuned.model.id)
        workshop.advance()
        done = workshop.tuning.get(ADA, tuned.model.id)
        assert (done.job.state, done.model.state) == (JobState.CANCELLED, ModelState.ACTIVE)
        steps, default = kept(results, done)
        assert steps[default] == 2
        assert len(steps) == 2

    def test_the_best_one_is_there_again_after_its_trainer_died_and_went_back(self, workshop, results):
        tuned = workshop.tuning.create(ADA, validated(keep_best=True))
        workshop.advance(steps=3)
        workshop.running.give_back(tuned.job.id, died=True)
        workshop.advance()
        steps, default = kept(results, tuned)
        assert (steps[default], sorted(steps.values())) == (2, [2, 19])


class TestEarlyStopping:
    def test_the_job_ends_well_with_the_best_checkpoint_as_the_default(self, workshop, results):
        tuned = made(workshop, stopping(patience=3))
        assert (tuned.job.state, tuned.model.state) == (JobState.SUCCEEDED, ModelState.ACTIVE)
        assert (tuned.job.completed_steps, tuned.job.total_steps, tuned.job.stopped_early) == (5, 19, True)
        assert [each.step for each in tuned.job.snapshots] == [1, 2, 3, 4, 5]
        assert kept(results, tuned) == ({2: 2, 3: 5}, 2)

    def test_where_and_why_is_told_in_its_event_in_the_log_and_to_who_asks(self, workshop, results, caplog):
        with caplog.at_level("INFO"):
            tuned = made(workshop, stopping(patience=3))
        why = (
            "It stopped early, after step 5 of 19: the validation loss after step 2, 0, has not been improved in 3 "
            "evaluations."
        )
        assert results.evaluations(ADA, tuned.model.id).why_early == why
        assert event_reason(workshop, tuned).startswith(why)
        assert why in caplog.text

    def test_a_job_whose_loss_goes_on_falling_is_not_stopped(self, workshop, results):
        tuned = made(workshop, stopping(patience=1, validation=NUMBER_PAIRS, evaluate_every=4))
        assert tuned.job.completed_steps == 8
        assert made(workshop, stopping(patience=5, evaluate_every=4)).job.stopped_early is False
        assert results.evaluations(ADA, tuned.model.id).best.step == 4

    @pytest.mark.parametrize("dies_before", [2, 3, 4, 5])
    def test_a_job_whose_trainer_dies_stops_at_the_same_step(self, workshop, results, dies_before):
        undisturbed = made(workshop, stopping(patience=3))
        tuned = workshop.tuning.create(ADA, stopping(patience=3))
        workshop.advance(steps=dies_before)
        workshop.running.give_back(tuned.job.id, died=True)
        workshop.advance()

        done = workshop.tuning.get(ADA, tuned.model.id)
        assert done.job.completed_steps == undisturbed.job.completed_steps
        assert [*kept(results, done)[0].values()] == [*kept(results, undisturbed)[0].values()]
        losses = [
            [(each.step, each.mean_loss) for each in results.evaluations(ADA, one.model.id).page.items]
            for one in (done, undisturbed)
        ]
        assert losses[0] == losses[1]

    def test_evaluations_that_the_database_has_lost_are_those_of_the_savepoint(self, workshop, results):
        tuned = workshop.tuning.create(ADA, stopping(patience=3))
        workshop.advance(steps=5)
        with workshop.database.write() as connection:
            connection.exec_driver_sql("DELETE FROM evaluations")
        workshop.running.give_back(tuned.job.id, died=True)
        workshop.advance()
        found = results.evaluations(ADA, tuned.model.id)
        assert [each.step for each in found.page.items] == [1, 2, 3, 4, 5]
        assert kept(results, tuned)[1] is not None


class TestChoice:
    def test_the_chosen_checkpoint_answers_is_exported_and_tuned_further(self, workshop, results):
        tuned = made(workshop, validated(keep_best=True))
        best = workshop.tuning.adapter_directory(ADA, tuned.model.id)
        assert json.loads((best / "answers.json").read_text())["steps"] == 2
        first = made(workshop, number_request(base_model="", tuned_model_source=f"tunedModels/{tuned.model.id}")).job

        chosen = results.use(ADA, tuned.model.id, 3)
        assert chosen.tuned.model.default_checkpoint == 3
        assert chosen.tuned.model.update_time > tuned.model.update_time
        last = workshop.tuning.adapter_directory(ADA, tuned.model.id)
        assert json.loads((last / "answers.json").read_text())["steps"] == 19
        second = workshop.tuning.create(
            ADA, number_request(base_model="", tuned_model_source=f"tunedModels/{tuned.model.id}")
        ).job
        source = workshop.artifacts.source_directory(second.id)
        assert json.loads((source / "answers.json").read_text())["steps"] == 19
        assert first.seed != second.seed

    def test_other_numbers_are_refused_and_nothing_changes(self, workshop, results):
        tuned = made(workshop, validated(keep_best=True))
        for number in (0, 1, 4):
            with pytest.raises(InvalidArgument) as caught:
                results.use(ADA, tuned.model.id, number)
            assert "one of 2, 3" in caught.value.violations[0].description
        assert kept(results, tuned)[1] == 2

    def test_a_model_that_is_being_made_has_none_to_choose(self, workshop, results):
        tuned = workshop.tuning.create(ADA, validated(keep_best=True))
        with pytest.raises(FailedPrecondition):
            results.use(ADA, tuned.model.id, 1)

    def test_a_stranger_reads_and_chooses_nothing(self, workshop, results):
        tuned = made(workshop, validated(keep_best=True))
        for call in (results.evaluations, results.checkpoints):
            with pytest.raises(PermissionDenied):
                call(BOB, tuned.model.id)
        with pytest.raises(PermissionDenied):
            results.use(BOB, tuned.model.id, 3)


def test_evaluations_come_in_pages(workshop, results):
    tuned = made(workshop, validated())
    steps, token = [], ""
    while True:
        found = results.evaluations(ADA, tuned.model.id, page_size=8, page_token=token)
        steps.append([each.step for each in found.page.items])
        assert found.best.step == 2
        if not (token := found.page.next_page_token):
            break
    assert steps == [[*range(1, 9)], [*range(9, 17)], [17, 18, 19]]
    with pytest.raises(InvalidArgument):
        results.evaluations(
            ADA, "another", page_token=dataclasses.replace(found.page, next_page_token="x").next_page_token
        )
