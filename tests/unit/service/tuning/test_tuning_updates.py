"""Changing tuned models, and their operations."""

import asyncio
import threading
from dataclasses import replace

import pytest

from fakes import ECHO_BASE
from patience import PATIENCE_SECONDS
from spoken import refusing, said
from tuningfork.domain.base_model import BaseModelName, Catalog
from tuningfork.domain.errors import FailedPrecondition, InvalidArgument, NotFound, PermissionDenied
from tuningfork.domain.permission import Email, GranteeType, Permission, PermissionId, Principal, Role
from tuningfork.domain.tuned_model import Changeable, ModelChange, ModelState
from tuningfork.domain.tuning_job import JobId, JobState
from tuningfork.service.tuning.tuning import Tuning
from tuningfork.store import access
from tuningfork.wire.gemini.names import model_ref
from workshop import ADA, BOB, ask, number_request

CLEARED = ModelChange(fields=frozenset(Changeable))
EVERYTHING = {
    "display_name": "counter",
    "description": "says the next number",
    "temperature": 0.25,
    "top_p": 0.5,
    "top_k": 7,
    "reader_project_numbers": (789, 2**62),
}


@pytest.fixture
def tuning(workshop):
    return workshop.tuning


@pytest.fixture
def tuned(tuning):
    return tuning.create(ADA, number_request(tuned_model_id="abc", description="counts", reader_project_numbers=(5,)))


def change(**values):
    return ModelChange(fields=frozenset(map(Changeable, values)), **values)


def grant(workshop, principal, role):
    with workshop.database.write() as connection:
        access.grant(
            connection,
            Permission(
                id=PermissionId(role.value.lower()),
                model_id="abc",
                grantee_type=GranteeType.USER,
                email=principal.email,
                role=role,
            ),
        )


def without_time(model):
    return replace(model, update_time=model.create_time)


class TestUpdate:
    @pytest.mark.parametrize("field", EVERYTHING)
    def test_one_field_changes_and_no_other(self, tuning, tuned, field):
        answered = tuning.update(ADA, "abc", change(**{field: EVERYTHING[field]}))

        assert without_time(answered.model) == replace(tuned.model, **{field: EVERYTHING[field]})
        assert answered == tuning.get(ADA, "abc")
        assert answered.model.update_time > tuned.model.update_time

    def test_all_fields_change_at_once(self, tuning, tuned):
        tuning.update(ADA, "abc", change(**EVERYTHING))
        assert without_time(tuning.get(ADA, "abc").model) == replace(tuned.model, **EVERYTHING)

    def test_what_is_cleared_is_empty_or_the_bases_own_again(self, tuning, tuned):
        tuning.update(ADA, "abc", change(**EVERYTHING))
        model = tuning.update(ADA, "abc", CLEARED).model

        assert (model.display_name, model.description, model.reader_project_numbers) == ("", "", ())
        assert (model.temperature, model.top_p, model.top_k) == (0.7, 0.95, 64)

    def test_what_is_cleared_is_the_bases_own_even_where_another_model_was_the_source(self, workshop, tuning):
        tuning.create(ADA, number_request(tuned_model_id="source", temperature=0.25))
        workshop.advance()
        tuning.create(
            ADA, number_request(base_model="", tuned_model_source="tunedModels/source", tuned_model_id="further")
        )
        inherited = tuning.get(ADA, "further").model.temperature
        cleared = tuning.update(ADA, "further", ModelChange(fields=frozenset({Changeable.TEMPERATURE})))

        assert (inherited, cleared.model.temperature) == (0.25, 0.7)

    def test_zero_is_a_temperature_and_not_a_gap(self, tuning, tuned):
        assert tuning.update(ADA, "abc", change(temperature=0.0)).model.temperature == 0.0

    def test_a_change_of_nothing_changes_nothing(self, tuning, tuned):
        assert tuning.update(ADA, "abc", ModelChange(fields=frozenset())) == tuned

    def test_a_model_changes_while_it_is_being_made_and_keeps_that(self, workshop, tuning, tuned):
        workshop.advance(steps=3)
        tuning.update(ADA, "abc", change(display_name="counter", temperature=0.25))
        workshop.running.requeue_interrupted()
        workshop.advance()

        done = tuning.get(ADA, "abc")
        assert (done.model.display_name, done.model.temperature) == ("counter", 0.25)
        assert (done.model.state, done.model.update_time) == (ModelState.ACTIVE, done.job.complete_time)

    def test_a_model_that_has_failed_changes_too(self, workshop, tuning, tuned):
        workshop.executor.fail_before(1)
        workshop.advance()
        changed = tuning.update(ADA, "abc", change(description="did not work")).model
        assert (changed.state, changed.description) == (ModelState.FAILED, "did not work")

    def test_the_next_request_is_answered_with_the_new_defaults(self, workshop, tuning, tuned):
        workshop.advance()
        tuning.update(ADA, "abc", change(temperature=0.125, top_p=0.25, top_k=3))

        async def generate():
            chunks = (await workshop.generation.generate(ADA, model_ref("tunedModels/abc"), ask("1"))).chunks
            return [chunk async for chunk in chunks]

        asyncio.run(generate())
        used = workshop.executor.generations[-1].sampling
        assert (used.temperature, used.top_p, used.top_k) == (0.125, 0.25, 3)

    def test_the_model_is_found_by_its_new_words_and_no_longer_by_the_old(self, tuning, tuned):
        tuning.update(ADA, "abc", change(display_name="Zähler"))
        found = {word: bool(tuning.list(ADA, filter=word).items) for word in ("zähler", "counts", "generator")}
        assert found == {"zähler": True, "counts": True, "generator": False}

    def test_projects_may_read_as_soon_as_they_are_named_and_no_longer(self, tuning, tuned):
        carol = Principal(email=Email("carol@example.com"), project="789")
        tuning.update(ADA, "abc", change(reader_project_numbers=(789,)))
        readable = tuning.get(carol, "abc").model.id
        listed = [each.model.id for each in tuning.list(carol, filter="readers:me").items]
        tuning.update(ADA, "abc", change(reader_project_numbers=()))

        assert (readable, listed) == ("abc", ["abc"])
        assert tuning.list(carol, filter="readers:me").items == ()
        with pytest.raises(PermissionDenied):
            tuning.get(carol, "abc")

    def test_a_project_that_is_named_twice_is_kept_as_it_was_said(self, tuning, tuned):
        assert tuning.update(ADA, "abc", change(reader_project_numbers=(7, 7))).model.reader_project_numbers == (7, 7)

    def test_changes_at_the_same_time_lose_nothing(self, tuning, tuned):
        barrier, faults = threading.Barrier(len(EVERYTHING)), []

        def write(field):
            barrier.wait()
            try:
                for _ in range(10):
                    tuning.update(ADA, "abc", change(**{field: EVERYTHING[field]}))
            except Exception as error:  # noqa: BLE001 - told below
                faults.append(error)

        threads = [threading.Thread(target=write, args=(field,)) for field in EVERYTHING]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert faults == []
        assert without_time(tuning.get(ADA, "abc").model) == replace(tuned.model, **EVERYTHING)
        assert [each.model.id for each in tuning.list(ADA, filter="counter next").items] == ["abc"]

    def test_changes_while_the_job_takes_steps_and_ends_lose_nothing(self, workshop, tuning, tuned):
        begun, ended, faults, last = threading.Event(), threading.Event(), [], []

        def write():
            number = 0
            try:
                while not ended.is_set():
                    number += 1
                    tuning.update(ADA, "abc", change(description=f"number {number}"))
                    begun.set()
            except Exception as error:  # noqa: BLE001 - told below
                faults.append(error)
            last.append(f"number {number}")

        thread = threading.Thread(target=write)
        thread.start()
        begun.wait(PATIENCE_SECONDS)
        workshop.advance()
        ended.set()
        thread.join()

        done = tuning.get(ADA, "abc")
        assert faults == []
        assert (done.model.state, done.job.completed_steps) == (ModelState.ACTIVE, 19)
        assert [done.model.description] == last

    def test_writers_may_change_a_model_and_readers_and_strangers_may_not(self, workshop, tuning, tuned):
        carol = Principal(email=Email("carol@example.com"))
        grant(workshop, BOB, Role.WRITER)
        grant(workshop, carol, Role.READER)
        tuning.update(BOB, "abc", change(display_name="Bob's"))
        for refused in (carol, Principal(email=Email("eve@example.com"))):
            with pytest.raises(PermissionDenied) as caught:
                tuning.update(refused, "abc", change(display_name="mine"))
            assert said(caught.value) == "You do not have permission to access tuned model tunedModels/abc"
        assert tuning.get(ADA, "abc").model.display_name == "Bob's"

    def test_a_missing_model_is_told(self, tuning):
        with pytest.raises(NotFound) as caught:
            tuning.update(ADA, "abc", change(display_name="x"))
        assert said(caught.value) == "Tuned model tunedModels/abc does not exist."

    def test_a_default_that_is_cleared_when_the_base_is_away_is_refused_and_others_are_not(self, workshop, tuned):
        other = Catalog((replace(ECHO_BASE, name=BaseModelName("models/other"), aliases=()),))
        tuning = Tuning(workshop.database, workshop.artifacts, other, workshop.clock, lambda _: 0, workshop.metrics)
        renamed = tuning.update(ADA, "abc", change(display_name="counter", temperature=0.25))
        with refusing(NotFound, match=r"models/gemini-1\.0-pro-001 is not found"):
            tuning.update(ADA, "abc", CLEARED)
        assert tuning.get(ADA, "abc") == renamed

    @pytest.mark.parametrize(
        ("wrong", "fields"),
        [
            ({"display_name": "x" * 41}, ["display_name"]),
            ({"display_name": "a\0b"}, ["display_name"]),
            ({"description": "x" * 10_001}, ["description"]),
            ({"description": "a\udc00b"}, ["description"]),
            ({"temperature": 1.01}, ["temperature"]),
            ({"top_p": 0.0}, ["top_p"]),
            ({"top_k": -1}, ["top_k"]),
            ({"reader_project_numbers": (5, 0, -1)}, ["reader_project_numbers[1]", "reader_project_numbers[2]"]),
            ({"reader_project_numbers": (2**63,)}, ["reader_project_numbers[0]"]),
            ({"reader_project_numbers": (1,) * 1_001}, ["reader_project_numbers"]),
            ({"display_name": "x" * 41, "top_k": -1}, ["display_name", "top_k"]),
        ],
    )
    def test_wrong_values_are_all_named_and_nothing_changes(self, tuning, tuned, wrong, fields):
        with pytest.raises(InvalidArgument) as caught:
            tuning.update(ADA, "abc", change(**({"temperature": 0.25} | wrong)))
        assert [violation.field for violation in caught.value.violations] == fields
        assert tuning.get(ADA, "abc") == tuned


def test_a_model_is_created_by_the_same_rules_for_projects(tuning):
    with pytest.raises(InvalidArgument) as caught:
        tuning.create(ADA, number_request(reader_project_numbers=(0,)))
    assert [violation.field for violation in caught.value.violations] == ["reader_project_numbers[0]"]


class TestOperations:
    def test_a_model_has_one_operation_however_many_are_asked_for(self, tuning, tuned):
        for size in (None, 0, 1, 5_000):
            page = tuning.list_operations(ADA, "abc", page_size=size)
            assert (page.items, page.next_page_token) == ((tuned,), "")

    def test_a_filter_shows_what_has_ended_or_what_has_not(self, workshop, tuning, tuned):
        before = [bool(tuning.list_operations(ADA, "abc", done=done).items) for done in (None, True, False)]
        workshop.advance()
        after = [bool(tuning.list_operations(ADA, "abc", done=done).items) for done in (None, True, False)]

        assert (before, after) == ([True, False, True], [True, True, False])

    @pytest.mark.parametrize(
        ("wrong", "field"), [({"page_size": -1}, "page_size"), ({"page_token": "x"}, "page_token")]
    )
    def test_a_page_that_is_none_is_refused(self, tuning, tuned, wrong, field):
        with pytest.raises(InvalidArgument) as caught:
            tuning.list_operations(ADA, "abc", **wrong)
        assert [violation.field for violation in caught.value.violations] == [field]

    def test_a_stranger_sees_none_and_nobody_sees_those_of_a_missing_model(self, tuning, tuned):
        with pytest.raises(PermissionDenied):
            tuning.list_operations(BOB, "abc")
        with pytest.raises(NotFound):
            tuning.list_operations(ADA, "def")

    @pytest.mark.parametrize("end", [JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED])
    def test_an_ended_operation_stays_when_nobody_waits_for_it_any_more(self, workshop, tuning, tuned, end):
        if end is JobState.FAILED:
            workshop.executor.fail_before(3)
        if end is JobState.CANCELLED:
            tuning.cancel(ADA, "abc")
        else:
            workshop.advance()
        before = tuning.get(ADA, "abc")
        for _ in range(2):
            tuning.dismiss_operation(ADA, "abc", tuned.job.id)

        assert before.job.state is end
        assert tuning.get_operation(ADA, "abc", tuned.job.id) == before

    def test_one_that_goes_on_is_not_forgotten_but_told_how_to_stop(self, tuning, tuned):
        with pytest.raises(FailedPrecondition) as caught:
            tuning.dismiss_operation(ADA, "abc", tuned.job.id)
        assert said(caught.value) == (
            f"Operation tunedModels/abc/operations/{tuned.job.id} has not ended, and deleting it would not stop it. "
            "Cancel it, or delete tunedModels/abc."
        )

    def test_only_an_owner_may_and_only_what_is_there(self, workshop, tuning, tuned):
        workshop.advance()
        grant(workshop, BOB, Role.WRITER)
        with pytest.raises(PermissionDenied):
            tuning.dismiss_operation(BOB, "abc", tuned.job.id)
        with refusing(NotFound, match="operations/nothere does not exist"):
            tuning.dismiss_operation(ADA, "abc", JobId("nothere"))
