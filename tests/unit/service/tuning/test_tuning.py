"""What callers do with tuned models: create, look, cancel, delete. Lists have a file of their own."""

import math
import random
import re
from contextlib import contextmanager
from dataclasses import replace

import pytest

from fakes import ECHO_BASE, ECHO_CATALOG
from spoken import refusing, said
from tuningfork.domain.base_model import Catalog
from tuningfork.domain.conversation import Conversation
from tuningfork.domain.errors import (
    AlreadyExists,
    Busy,
    Code,
    FailedPrecondition,
    InternalError,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
)
from tuningfork.domain.hyperparameters import Hyperparameters, RequestedHyperparameters
from tuningfork.domain.permission import Email
from tuningfork.domain.tuned_model import ModelState, TunedModelId
from tuningfork.domain.tuning_job import JobId, JobState
from tuningfork.execution.dataset_file import DatasetFile
from tuningfork.service.tuning.tuning import Tuning
from tuningfork.wire.gemini.names import tuned_name
from tuningfork.wire.gemini.operations import render_operation
from tuningfork.wire.gemini.tuning import CREATE
from workshop import ADA, BOB, NUMBER_PAIRS, number_request

MISSING = TunedModelId("abc")


def error_of(tuned):
    """The message of the error that the operation ends with."""
    return render_operation(tuned.model, tuned.job).fields["error"]["message"]


@pytest.fixture
def tuning(workshop):
    return workshop.tuning


def other_tuning(workshop, *, entropy=random.getrandbits, catalog=ECHO_CATALOG, **options):
    """The same house with another source of chance, other models or another bound."""
    parts = (workshop.database, workshop.artifacts, catalog, workshop.clock, entropy, workshop.metrics)
    return Tuning(*parts, **options)


class FailingWrites:
    """The workshop, with a database whose writes fail: at their begin, or at their commit."""

    def __init__(self, workshop, error, where):
        self._workshop, self._error, self._where = workshop, error, where

    def __getattr__(self, name):
        return self if name == "database" else getattr(self._workshop, name)

    def read(self):
        return self._workshop.database.read()

    @contextmanager
    def write(self, **options):
        with self._workshop.database.write(**options) as connection:
            if self._where == "begin":
                raise self._error
            yield connection
            raise self._error


def violated(tuning, **changes):
    with pytest.raises(InvalidArgument) as caught:
        tuning.create(ADA, number_request(**changes))
    return [violation.field for violation in caught.value.violations]


class TestCreate:
    def test_answers_with_a_waiting_job_and_a_model_that_is_being_made(self, tuning):
        tuned = tuning.create(ADA, number_request())

        assert re.fullmatch(r"tunedModels/number-generator-[a-z0-9]{11,12}", tuned_name(tuned.model.id))
        assert re.fullmatch(r"[a-z0-9]{12}", tuned.job.id)
        assert (tuned.model.state, tuned.job.state) == (ModelState.CREATING, JobState.QUEUED)
        assert (tuned.job.total_steps, tuned.job.completed_steps) == (19, 0)
        assert tuned.model.create_time == tuned.model.update_time == tuned.job.create_time
        assert (tuned.job.start_time, tuned.job.complete_time) == (None, None)

    def test_what_it_answers_is_what_is_kept(self, tuning):
        tuned = tuning.create(ADA, number_request(description="counts", reader_project_numbers=(2**62, 7)))
        assert tuning.get(ADA, tuned.model.id) == tuned

    def test_the_examples_are_on_the_disk_before_it_answers(self, tuning, artifacts):
        tuned = tuning.create(ADA, number_request())
        assert tuple(DatasetFile(artifacts.dataset_path(tuned.job.id))) == NUMBER_PAIRS

    def test_the_dispatcher_is_woken_when_the_job_can_be_found(self, workshop):
        seen = []
        waking = other_tuning(workshop, wake=lambda: seen.append(workshop.running.claim()))
        tuned = waking.create(ADA, number_request())
        assert [assignment.job_id for assignment in seen] == [tuned.job.id]

    @pytest.mark.parametrize("name", ["models/gemini-1.0-pro-001", "gemini-1.0-pro-001"])
    def test_an_alias_of_the_base_stays_an_alias_with_its_prefix(self, tuning, name):
        tuned = tuning.create(ADA, number_request(base_model=name))
        assert tuned.model.base_model == tuned.job.base_model == "models/gemini-1.0-pro-001"

    def test_sampling_that_is_left_out_is_the_bases_at_this_time(self, tuning):
        model = tuning.create(ADA, number_request()).model
        assert (model.temperature, model.top_p, model.top_k) == (0.7, 0.95, 64)

    def test_sampling_that_is_given_stays(self, tuning):
        model = tuning.create(ADA, number_request(temperature=0.0, top_p=1.0, top_k=1)).model
        assert (model.temperature, model.top_p, model.top_k) == (0.0, 1.0, 1)

    def test_hyperparameters_that_are_left_out_are_filled_in(self, tuning):
        job = tuning.create(ADA, number_request(hyperparameters=RequestedHyperparameters())).job
        assert job.hyperparameters == Hyperparameters(epoch_count=5, batch_size=4, learning_rate=0.001)
        assert job.adapter == ECHO_BASE.adapter

    def test_a_chosen_id_is_used_as_it_is(self, tuning):
        assert (
            tuned_name(tuning.create(ADA, number_request(tuned_model_id="my-model-2")).model.id)
            == "tunedModels/my-model-2"
        )

    def test_a_chosen_id_that_is_taken_is_refused_even_to_its_owner(self, tuning, artifacts):
        first = tuning.create(ADA, number_request(tuned_model_id="abc"))
        with pytest.raises(AlreadyExists) as caught:
            tuning.create(BOB, number_request(tuned_model_id="abc"))

        assert said(caught.value) == "Tuned model tunedModels/abc already exists."
        assert artifacts.job_ids() == {first.job.id}

    def test_a_generated_id_that_is_taken_is_drawn_again(self, workshop, artifacts):
        # Of a model, a job and a permission at each try. The second model's is taken, then its job's.
        draws = iter([1, 2, 3, 1, 4, 5, 6, 2, 7, 8, 9, 10])
        tuning = other_tuning(workshop, entropy=lambda _bits: next(draws))
        first = tuning.create(ADA, number_request())
        second = tuning.create(ADA, number_request())

        assert [*draws] == []
        assert first.model.id != second.model.id
        assert artifacts.job_ids() == {first.job.id, second.job.id}

    def test_a_chosen_id_is_not_called_taken_because_the_jobs_id_was(self, workshop, artifacts):
        # Of a job and a permission at each try. The second job's is taken.
        draws = iter([1, 2, 1, 3, 4, 5])
        tuning = other_tuning(workshop, entropy=lambda _bits: next(draws))
        first = tuning.create(ADA, number_request(tuned_model_id="abc"))
        second = tuning.create(ADA, number_request(tuned_model_id="def"))

        assert [*draws] == []
        assert second.model.id == "def"
        assert artifacts.job_ids() == {first.job.id, second.job.id}

    def test_a_source_of_chance_that_repeats_itself_is_given_up(self, workshop, artifacts):
        tuning = other_tuning(workshop, entropy=lambda _bits: 7)
        first = tuning.create(ADA, number_request())
        with pytest.raises(InternalError, match="nothing was created"):
            tuning.create(ADA, number_request())

        assert artifacts.job_ids() == {first.job.id}
        assert tuple(DatasetFile(artifacts.dataset_path(first.job.id))) == NUMBER_PAIRS

    @pytest.mark.parametrize("name", ["models/abc", "abc"])
    def test_an_unknown_base_is_named_in_the_services_words(self, tuning, name):
        with pytest.raises(NotFound) as caught:
            tuning.create(ADA, number_request(base_model=name))
        assert said(CREATE.translate(caught.value)) == (
            "models/abc is not found for API version v1beta, or is not supported for createTunedModel. "
            "Call ListModels to see the list of available models and their supported methods."
        )

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("tuned_model_id", "My Model"),
            ("tuned_model_id", ""),
            ("display_name", "x" * 41),
            ("display_name", "a\0b"),
            ("display_name", "a\udc00b"),
            ("description", "x" * 10_001),
            ("temperature", 1.01),
            ("temperature", -0.1),
            ("temperature", math.nan),
            ("top_p", 0.0),
            ("top_p", 1.1),
            ("top_k", -1),
            ("base_model", ""),
            ("examples", ()),
        ],
    )
    def test_a_wrong_field_is_named(self, tuning, field, value):
        assert violated(tuning, **{field: value}) == [field]

    @pytest.mark.parametrize(
        ("field", "value"), [("display_name", "七" * 40), ("description", "x" * 10_000), ("temperature", 1.0)]
    )
    def test_a_field_at_its_bound_is_accepted(self, tuning, field, value):
        assert getattr(tuning.create(ADA, number_request(**{field: value})).model, field) == value

    def test_everything_that_is_wrong_is_reported_at_once(self, tuning):
        fields = violated(
            tuning,
            display_name="x" * 41,
            temperature=2.0,
            examples=(
                Conversation.pair("1", "2"),
                Conversation.pair("x" * 40_001, ""),
                Conversation.pair("3", "y" * 5_001),
            ),
            hyperparameters=RequestedHyperparameters(epoch_count=0, learning_rate=-1.0),
        )
        assert fields == [
            "display_name",
            "temperature",
            "examples[1].output",
            "examples[1].text_input",
            "examples[2].output",
            "hyperparameters.epoch_count",
            "hyperparameters.learning_rate",
        ]

    def test_a_wrong_request_for_an_unknown_base_is_wrong_first(self, tuning):
        assert violated(tuning, base_model="models/abc", display_name="x" * 41) == ["display_name"]

    def test_more_steps_than_any_job_may_take_are_refused_with_the_ways_out(self, tuning):
        many = tuple(Conversation.pair("1", "2") for _ in range(1_001))
        with pytest.raises(InvalidArgument, match="make 1001000 steps; at most 1000000") as caught:
            tuning.create(
                ADA,
                number_request(
                    examples=many, hyperparameters=RequestedHyperparameters(epoch_count=1_000, batch_size=1)
                ),
            )
        assert [violation.field for violation in caught.value.violations] == ["hyperparameters"]

    def test_a_multiplier_that_leads_to_an_absurd_rate_is_refused(self, workshop):
        fast = Catalog((replace(ECHO_BASE, default_learning_rate=0.5),))
        tuning = other_tuning(workshop, catalog=fast)
        request = RequestedHyperparameters(learning_rate_multiplier=4.0)
        assert violated(tuning, hyperparameters=request) == ["hyperparameters.learning_rate_multiplier"]

    def test_a_refused_request_leaves_nothing(self, tuning, artifacts):
        violated(tuning, display_name="x" * 41)
        assert artifacts.job_ids() == set()
        assert tuning.list(ADA).items == ()

    @pytest.mark.parametrize("where", ["begin", "commit"])
    @pytest.mark.parametrize("error", [Busy("Held.", retry_seconds=5), ResourceExhausted("Full.")])
    def test_an_error_with_which_nothing_was_written_leaves_no_files(self, workshop, artifacts, error, where):
        tuning = other_tuning(FailingWrites(workshop, error, where))
        with pytest.raises(type(error)):
            tuning.create(ADA, number_request(validation=NUMBER_PAIRS))

        assert artifacts.job_ids() == set()
        assert tuning.list(ADA).items == ()

    def test_an_error_of_any_kind_before_the_commit_leaves_no_files(self, workshop, artifacts):
        tuning = other_tuning(FailingWrites(workshop, OSError("The database went away."), "begin"))
        with pytest.raises(OSError, match="went away"):
            tuning.create(ADA, number_request())

        assert artifacts.job_ids() == set()

    def test_files_stay_after_a_commit_whose_outcome_nobody_knows(self, workshop, artifacts):
        tuning = other_tuning(FailingWrites(workshop, OSError("The database went away."), "commit"))
        with pytest.raises(OSError, match="went away"):
            tuning.create(ADA, number_request())

        assert len(artifacts.job_ids()) == 1

    def test_a_full_queue_refuses_until_a_job_has_left_it(self, workshop, artifacts):
        tuning = other_tuning(workshop, max_queued_jobs=2)
        kept = {tuning.create(ADA, number_request()).job.id for _ in range(2)}
        with pytest.raises(ResourceExhausted, match="2 jobs are waiting, and 2 is the most"):
            tuning.create(ADA, number_request())
        left = artifacts.job_ids()
        workshop.advance()
        tuning.create(ADA, number_request())

        assert left == kept

    def test_whoever_has_filled_the_queue_keeps_no_other_owner_out(self, workshop):
        tuning = other_tuning(workshop, max_queued_jobs=2)
        for _ in range(2):
            tuning.create(ADA, number_request())
        tuning.create(BOB, number_request())
        with pytest.raises(ResourceExhausted, match="3 jobs are waiting, and 2 is the most; 1 of them are yours"):
            tuning.create(BOB, number_request())

    def test_a_queue_never_holds_more_than_twice_its_places(self, workshop):
        tuning = other_tuning(workshop, max_queued_jobs=2)
        for name in ("one", "two"):
            tuning.create(replace(BOB, email=Email(f"{name}@example.com")), number_request())
        tuning.create(ADA, number_request())
        tuning.create(BOB, number_request())
        with pytest.raises(ResourceExhausted, match="4 jobs are waiting"):
            tuning.create(replace(BOB, email=Email("late@example.com")), number_request())


class TestGet:
    def test_shows_the_steps_while_the_model_is_being_made(self, workshop):
        tuned = workshop.tuning.create(ADA, number_request())
        workshop.advance(steps=3)

        seen = workshop.tuning.get(ADA, tuned.model.id)
        assert (seen.model.state, seen.job.state, seen.job.completed_steps) == (
            ModelState.CREATING,
            JobState.RUNNING,
            3,
        )
        assert [snapshot.mean_loss for snapshot in seen.job.snapshots] == [8.0, 4.0, 8.0 / 3]

    def test_a_missing_model_is_told_as_missing_to_everybody(self, tuning):
        with pytest.raises(NotFound) as caught:
            tuning.get(ADA, MISSING)
        assert said(caught.value) == "Tuned model tunedModels/abc does not exist."

    def test_a_stranger_is_refused(self, tuning):
        tuning.create(ADA, number_request(tuned_model_id="abc"))
        with pytest.raises(PermissionDenied) as caught:
            tuning.get(BOB, MISSING)
        assert said(caught.value) == "You do not have permission to access tuned model tunedModels/abc"

    def test_an_operation_is_the_model_with_its_job(self, tuning):
        tuned = tuning.create(ADA, number_request())
        assert tuning.get_operation(ADA, tuned.model.id, tuned.job.id) == tuned

    def test_an_operation_of_another_model_is_missing(self, tuning):
        one, other = (tuning.create(ADA, number_request(tuned_model_id=name)) for name in ("abc", "def"))
        with pytest.raises(NotFound) as caught:
            tuning.get_operation(ADA, one.model.id, other.job.id)
        assert said(caught.value) == f"Operation tunedModels/abc/operations/{other.job.id} does not exist."


class TestCancel:
    def test_a_waiting_job_ends_at_once(self, workshop):
        tuned = workshop.tuning.create(ADA, number_request())
        workshop.tuning.cancel(ADA, tuned.model.id, tuned.job.id)

        ended = workshop.tuning.get(ADA, tuned.model.id)
        assert (ended.model.state, ended.job.state) == (ModelState.FAILED, JobState.CANCELLED)
        assert ended.job.error.code is Code.CANCELLED
        assert "cancelled after 0 of 19 steps" in error_of(ended)
        assert ended.job.complete_time == ended.model.update_time
        assert workshop.running.claim() is None

    def test_a_running_job_stops_between_steps_and_its_model_keeps_what_it_learned(self, workshop):
        tuned = workshop.tuning.create(ADA, number_request())
        assignment = workshop.advance(steps=3)
        workshop.tuning.cancel(ADA, tuned.model.id)
        running = workshop.job(tuned)
        workshop.running.give_back(assignment.job_id, died=False)
        workshop.advance()

        ended = workshop.tuning.get(ADA, tuned.model.id)
        assert (running.state, running.cancel_requested) == (JobState.RUNNING, True)
        assert (ended.model.state, ended.job.state) == (ModelState.ACTIVE, JobState.CANCELLED)
        assert (ended.job.error.code, ended.job.completed_steps) == (Code.CANCELLED, 2)
        assert "cancelled after 2 of 19 steps" in error_of(ended)
        assert workshop.artifacts.adapter_directory(tuned.job.id).is_dir()

    def test_a_finished_job_stays_as_it_is(self, workshop):
        tuned = workshop.tuning.create(ADA, number_request())
        workshop.advance()
        before = workshop.tuning.get(ADA, tuned.model.id)
        for _ in range(2):
            workshop.tuning.cancel(ADA, tuned.model.id, tuned.job.id)
        assert workshop.tuning.get(ADA, tuned.model.id) == before

    def test_a_cancel_that_comes_too_late_does_not_change_the_end(self, workshop):
        tuned = workshop.tuning.create(ADA, number_request())
        assignment = workshop.running.claim()
        for event in workshop.executor.train(assignment):
            last = event
            if hasattr(event, "snapshot"):
                workshop.running.record(assignment.job_id, event.snapshot, event.tokens)
        workshop.tuning.cancel(ADA, tuned.model.id)
        workshop.running.finish(assignment.job_id, last.adapter)

        ended = workshop.tuning.get(ADA, tuned.model.id)
        assert (ended.model.state, ended.job.state, ended.job.error) == (ModelState.ACTIVE, JobState.SUCCEEDED, None)

    def test_a_job_that_waits_for_another_trainer_is_not_thrown_away(self, workshop):
        tuned = workshop.tuning.create(ADA, number_request())
        assignment = workshop.advance(steps=5)
        workshop.running.give_back(assignment.job_id, died=True)
        workshop.tuning.cancel(ADA, tuned.model.id)
        waiting = workshop.job(tuned)
        workshop.advance()

        assert (waiting.state, waiting.cancel_requested) == (JobState.QUEUED, True)
        assert workshop.tuning.get(ADA, tuned.model.id).model.state is ModelState.ACTIVE
        assert workshop.job(tuned).completed_steps == 4

    def test_the_dispatcher_is_woken(self, workshop):
        woken = []
        tuning = other_tuning(workshop, wake=lambda: woken.append("create" if not woken else "cancel"))
        tuning.cancel(ADA, tuning.create(ADA, number_request()).model.id)
        assert woken == ["create", "cancel"]

    def test_a_stranger_is_refused(self, tuning):
        tuned = tuning.create(ADA, number_request())
        with pytest.raises(PermissionDenied):
            tuning.cancel(BOB, tuned.model.id, tuned.job.id)
        assert tuning.get(ADA, tuned.model.id).job.state is JobState.QUEUED

    def test_a_missing_operation_is_told(self, tuning):
        tuned = tuning.create(ADA, number_request())
        with refusing(NotFound, match="operations/nothere does not exist"):
            tuning.cancel(ADA, tuned.model.id, JobId("nothere"))


class TestDelete:
    def test_removes_the_model_the_operation_and_every_file(self, workshop, artifacts):
        tuned = workshop.tuning.create(ADA, number_request())
        workshop.advance()
        workshop.tuning.delete(ADA, tuned.model.id)

        with pytest.raises(NotFound):
            workshop.tuning.get(ADA, tuned.model.id)
        with pytest.raises(NotFound):
            workshop.tuning.get_operation(ADA, tuned.model.id, tuned.job.id)
        with pytest.raises(NotFound):
            workshop.tuning.delete(ADA, tuned.model.id)
        assert artifacts.job_ids() == set()

    def test_a_waiting_job_is_never_taken_up(self, workshop, artifacts):
        tuned = workshop.tuning.create(ADA, number_request())
        workshop.tuning.delete(ADA, tuned.model.id)
        assert workshop.running.claim() is None
        assert artifacts.job_ids() == set()

    def test_a_running_job_is_told_to_stop_and_leaves_nothing(self, workshop, artifacts):
        tuned = workshop.tuning.create(ADA, number_request())
        workshop.clock.advance(seconds=1)
        assignment = workshop.running.claim()
        for event in workshop.executor.train(assignment):
            if hasattr(event, "snapshot"):
                workshop.tuning.delete(ADA, tuned.model.id)
                reply = workshop.running.record(assignment.job_id, event.snapshot, event.tokens)
                break
        adapter = assignment.work.below("adapter")
        with artifacts.store.writing(adapter) as directory:
            directory.mkdir()
        workshop.running.stopped(assignment.job_id, adapter)

        assert reply.value == "stop"
        assert artifacts.job_ids() == set()

    def test_an_id_is_free_again(self, workshop):
        for _ in range(2):
            tuned = workshop.tuning.create(ADA, number_request(tuned_model_id="abc"))
            workshop.advance()
            workshop.tuning.delete(ADA, tuned.model.id)

    def test_a_stranger_is_refused(self, tuning):
        tuned = tuning.create(ADA, number_request())
        with pytest.raises(PermissionDenied):
            tuning.delete(BOB, tuned.model.id)
        assert tuning.get(ADA, tuned.model.id) == tuned


class TestAdapterDirectory:
    def test_is_where_the_finished_adapter_is(self, workshop):
        tuned = workshop.tuning.create(ADA, number_request())
        workshop.advance()
        directory = workshop.tuning.adapter_directory(ADA, tuned.model.id)
        assert (directory / "adapter_config.json").is_file()

    def test_is_refused_while_there_is_none(self, tuning):
        tuned = tuning.create(ADA, number_request(tuned_model_id="abc"))
        with refusing(FailedPrecondition, match="tunedModels/abc has no adapter: its state is CREATING"):
            tuning.adapter_directory(ADA, tuned.model.id)

    def test_is_refused_to_strangers(self, workshop):
        tuned = workshop.tuning.create(ADA, number_request())
        workshop.advance()
        with pytest.raises(PermissionDenied):
            workshop.tuning.adapter_directory(BOB, tuned.model.id)
