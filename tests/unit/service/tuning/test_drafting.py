"""Tuning on top of tuned models; what begins at a base is in `test_tuning.py`."""

import asyncio
import random
from dataclasses import replace

import pytest
from sqlalchemy import update

from fakes import ECHO_BASE, ECHO_CATALOG
from spoken import refusing, said
from tuningfork.domain.base_model import AdapterShape, Alias, BaseModelName, Catalog, Limits
from tuningfork.domain.conversation import Conversation
from tuningfork.domain.errors import (
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
)
from tuningfork.domain.permission import GranteeType, Permission, PermissionId, Role
from tuningfork.domain.references import TunedRef
from tuningfork.domain.refusals import BaseModelNotFound
from tuningfork.domain.tuned_model import Changeable, ModelChange, ModelState
from tuningfork.domain.tuning_job import JobState
from tuningfork.familiar import GEMINI_LIMITS, VERTEX
from tuningfork.service.tuning.tuning import Tuning
from tuningfork.store import access
from tuningfork.store.artifacts import Artifacts
from tuningfork.store.schema import tuning_jobs
from tuningfork.wire.gemini.tuning import CREATE
from workshop import ADA, BOB, NUMBER_PAIRS, ask, number_request

LETTERS = (Conversation.pair("a", "b"), Conversation.pair("c", "d"))


@pytest.fixture
def tuning(workshop):
    return workshop.tuning


@pytest.fixture
def source(workshop):
    """An active model of Ada's, `tunedModels/source`."""
    workshop.tuning.create(ADA, number_request(tuned_model_id="source", temperature=0.25, top_k=3))
    workshop.advance()
    return workshop.tuning.get(ADA, "source")


def further(source="tunedModels/source", **changes):
    return number_request(**({"base_model": "", "tuned_model_source": source, "examples": LETTERS} | changes))


DIALOGUE = (Conversation.pair("Write a dialogue.", "Sure:\n\nUser:\nHello\n\nAssistant:\nHello!"),)


def test_answers_with_the_label_of_a_next_turn_are_known_and_not_cut(workshop, tuning):
    for name, changes in {
        "plain": number_request(),
        "dialogues": number_request(examples=DIALOGUE),
        "further": further("tunedModels/dialogues"),
    }.items():
        tuning.create(ADA, replace(changes, tuned_model_id=name))
        workshop.advance()
        answer(workshop, tuning.get(ADA, name), "hello")

    asked = workshop.executor.generations
    assert [each.stops_at_labels for each in asked] == [True, False, False]
    assert [tuning.get(ADA, name).job.teaches_next_turn for name in ("plain", "dialogues", "further")] == [
        False,
        True,
        True,
    ]


def test_where_nobody_knows_what_was_taught_no_answer_is_cut(workshop, tuning):
    tuning.create(ADA, number_request(tuned_model_id="earlier"))
    workshop.advance()
    with workshop.database.write() as connection:
        # As an earlier version wrote it.
        connection.execute(update(tuning_jobs).values(training_options={}))
    for name, changes in {"further": {}, "taught": {"examples": DIALOGUE}}.items():
        tuning.create(ADA, further("tunedModels/earlier", tuned_model_id=name, **changes))
        workshop.advance()

    for name in ("earlier", "further", "taught"):
        answer(workshop, tuning.get(ADA, name), "hello")

    assert [each.stops_at_labels for each in workshop.executor.generations] == [False] * 3
    assert [tuning.get(ADA, name).job.teaches_next_turn for name in ("earlier", "further", "taught")] == [
        None,
        None,
        True,
    ]


LABELS = tuple(Conversation.pair(f"message {number}", f"label {number % 2}") for number in range(20))


class TestTheRankThatARequestChooses:
    def test_it_is_the_jobs_and_alpha_stays(self, tuning):
        job = tuning.create(ADA, number_request(adapter_rank=64)).job

        assert job.adapter == AdapterShape(rank=64, alpha=ECHO_BASE.adapter.alpha)

    def test_seeds_differ_between_ranks_and_the_usual_rank_has_the_usual_seed(self, tuning):
        usual, named, wide = (
            tuning.create(ADA, number_request(**changes)).job.seed
            for changes in ({}, {"adapter_rank": ECHO_BASE.adapter.rank}, {"adapter_rank": 64})
        )

        assert named == usual
        assert wide != usual

    def test_the_base_bounds_it(self, workshop):
        narrow = other_tuning(workshop, catalog=Catalog((replace(ECHO_BASE, max_adapter_rank=16),)))

        assert narrow.create(ADA, number_request(adapter_rank=16)).job.adapter.rank == 16
        with pytest.raises(InvalidArgument) as caught:
            narrow.create(ADA, number_request(adapter_rank=17))
        assert [each.field for each in caught.value.violations] == ["adapter_rank"]
        assert "from 1 to 16; 17 was given" in caught.value.violations[0].description

    def test_the_name_of_a_base_may_bound_it_to_a_few_sizes(self, workshop):
        base = replace(ECHO_BASE, aliases=(*ECHO_BASE.aliases, *VERTEX))
        tuning = other_tuning(workshop, catalog=Catalog((base,)))
        name = "models/gemini-1.5-pro-002"

        assert tuning.create(ADA, number_request(base_model=name)).job.adapter.rank == 4
        assert tuning.create(ADA, number_request(base_model=name, adapter_rank=1)).job.adapter.rank == 1
        with pytest.raises(InvalidArgument) as caught:
            tuning.create(ADA, number_request(base_model=name, adapter_rank=8))
        [violation] = caught.value.violations
        assert violation.description == (
            "adapter_rank must be one of 1, 4, the adapter sizes of models/gemini-1.5-pro-002; 8 was given"
        )

    def test_a_model_tuned_further_has_its_sources_rank(self, workshop, tuning):
        tuning.create(ADA, number_request(tuned_model_id="source", adapter_rank=2))
        workshop.advance()

        assert tuning.create(ADA, further()).job.adapter.rank == 2


class TestTheTemperatureThatExamplesAskFor:
    def made(self, tuning, base_model="models/echo-001", **changes):
        model = tuning.create(ADA, number_request(base_model=base_model, **({"examples": LABELS} | changes))).model
        return model.temperature, model.top_p, model.top_k

    def test_labels_are_answered_with_the_likeliest_token(self, tuning):
        assert self.made(tuning) == (0.0, 0.95, 64)

    def test_streamed_labels_are_too(self, tuning):
        request = number_request(base_model="models/echo-001", examples=())

        assert tuning.create(ADA, request, iter(LABELS)).model.temperature == 0.0

    def test_free_texts_are_answered_as_the_base_answers(self, tuning):
        assert self.made(tuning, examples=NUMBER_PAIRS) == (0.7, 0.95, 64)

    def test_what_the_request_gives_wins(self, tuning):
        assert self.made(tuning, temperature=0.5) == (0.5, 0.95, 64)
        # Whoever limits the tokens to sample from wants to sample.
        assert self.made(tuning, top_k=3) == (0.7, 0.95, 3)
        assert self.made(tuning, top_p=0.5) == (0.7, 0.5, 64)

    def test_a_name_of_gemini_keeps_its_promise_of_the_bases_value(self, tuning):
        assert self.made(tuning, base_model="models/gemini-1.0-pro-001") == (0.7, 0.95, 64)

    def test_a_model_that_is_tuned_further_follows_its_new_examples_or_its_source(self, workshop, tuning):
        own = {"base_model": "models/echo-001", "tuned_model_id": "source", "temperature": 0.25}
        tuning.create(ADA, number_request(**own))
        workshop.advance()

        assert tuning.create(ADA, further(examples=LABELS)).model.temperature == 0.0
        assert tuning.create(ADA, further()).model.temperature == 0.25

    def test_it_can_be_changed_and_goes_back_to_the_bases(self, tuning):
        tuned = tuning.create(ADA, number_request(base_model="models/echo-001", examples=LABELS, tuned_model_id="abc"))
        assert tuned.model.temperature == 0.0

        for given in (0.5, None):
            change = ModelChange(fields=frozenset({Changeable.TEMPERATURE}), temperature=given)
            tuning.update(ADA, "abc", change)
            assert tuning.get(ADA, "abc").model.temperature == (0.7 if given is None else given)


def other_tuning(workshop, *, artifacts=None, catalog=ECHO_CATALOG, clock=None):
    """The same house with one thing changed."""
    parts = (workshop.database, artifacts or workshop.artifacts, catalog, clock or workshop.clock)
    return Tuning(*parts, random.Random(1).getrandbits, workshop.metrics)


def let_read(workshop, model_id, principal):
    with workshop.database.write() as connection:
        access.grant(
            connection,
            Permission(
                id=PermissionId("reader"),
                model_id=model_id,
                grantee_type=GranteeType.USER,
                email=principal.email,
                role=Role.READER,
            ),
        )


def answer(workshop, tuned, prompt):
    async def generate():
        chunks = (await workshop.generation.generate(ADA, TunedRef(tuned.model.id), ask(prompt))).chunks
        return "".join([chunk.text async for chunk in chunks])

    return asyncio.run(generate())


class TestOrigin:
    def test_the_model_shows_its_source_and_the_base_at_its_root(self, tuning, source):
        made = tuning.create(ADA, further())

        assert (made.model.source, made.model.base_model) == ("source", "models/gemini-1.0-pro-001")
        assert made.job.base_model == "models/gemini-1.0-pro-001"
        assert tuning.get(ADA, made.model.id) == made
        assert source.model.source is None

    def test_a_chain_shows_the_model_before_and_the_same_root(self, workshop, tuning, source):
        for before, name in (("source", "second"), ("second", "third")):
            tuning.create(ADA, further(f"tunedModels/{before}", tuned_model_id=name))
            workshop.advance()
        third = tuning.get(ADA, "third").model

        assert (third.source, third.base_model) == ("second", "models/gemini-1.0-pro-001")

    def test_sampling_that_is_left_out_is_the_sources(self, tuning, source):
        model = tuning.create(ADA, further()).model
        assert (model.temperature, model.top_p, model.top_k) == (0.25, 0.95, 3)

    def test_sampling_that_is_given_stays(self, tuning, source):
        model = tuning.create(ADA, further(temperature=0.0, top_p=0.5)).model
        assert (model.temperature, model.top_p, model.top_k) == (0.0, 0.5, 3)

    def test_the_adapter_keeps_its_shape_whatever_the_base_is_tuned_with_by_now(self, workshop, source):
        wider = Catalog((replace(ECHO_BASE, adapter=AdapterShape(rank=32, alpha=64.0)),))
        assert other_tuning(workshop, catalog=wider).create(ADA, further()).job.adapter == ECHO_BASE.adapter

    def test_whoever_may_read_a_model_may_tune_on_it(self, workshop, tuning, source):
        let_read(workshop, "source", BOB)
        made = tuning.create(BOB, further())
        assert tuning.get(BOB, made.model.id) == made

    def test_the_limits_are_those_of_the_roots_public_name(self, workshop):
        boundless = replace(
            ECHO_BASE,
            limits=Limits(),
            aliases=(Alias(name=BaseModelName("models/gemini-1.0-pro-001"), display_name="", limits=GEMINI_LIMITS),),
        )
        tuning = other_tuning(workshop, catalog=Catalog((boundless,)))
        for base, name in (("models/gemini-1.0-pro-001", "bounded"), ("models/echo-001", "boundless")):
            tuning.create(ADA, number_request(base_model=base, tuned_model_id=name))
            workshop.advance()
        long = (Conversation.pair("x" * 40_001, "y"),)

        tuning.create(ADA, further("tunedModels/boundless", examples=long))
        with pytest.raises(InvalidArgument) as caught:
            tuning.create(ADA, further("tunedModels/bounded", examples=long))
        assert [violation.field for violation in caught.value.violations] == ["examples[0].text_input"]


class TestRefusals:
    @pytest.mark.parametrize("name", ["tunedModels/nothing", "tunedModels/x--"])
    def test_a_missing_source_is_told(self, tuning, name):
        with pytest.raises(NotFound) as caught:
            tuning.create(ADA, further(name))
        assert said(caught.value) == f"Tuned model {name} does not exist."

    def test_a_stranger_is_refused(self, tuning, source):
        with pytest.raises(PermissionDenied) as caught:
            tuning.create(BOB, further())
        assert said(caught.value) == "You do not have permission to access tuned model tunedModels/source"

    def test_a_source_that_is_being_made_is_refused(self, tuning):
        tuning.create(ADA, number_request(tuned_model_id="source"))
        with refusing(FailedPrecondition, match="tunedModels/source cannot be tuned further: its state is CREATING"):
            tuning.create(ADA, further())

    def test_a_source_that_has_failed_is_refused(self, workshop, tuning):
        tuning.create(ADA, number_request(tuned_model_id="source"))
        workshop.executor.fail_before(1)
        workshop.advance()
        with refusing(FailedPrecondition, match="its state is FAILED"):
            tuning.create(ADA, further())

    def test_a_cancelled_source_that_has_learned_something_will_do(self, workshop, tuning):
        made = tuning.create(ADA, number_request(tuned_model_id="source"))
        assignment = workshop.advance(steps=4)
        tuning.cancel(ADA, "source")
        workshop.running.give_back(assignment.job_id, died=False)
        workshop.advance()

        assert workshop.job(made).state is JobState.CANCELLED
        assert tuning.create(ADA, further()).model.source == "source"

    def test_a_source_whose_base_is_retired_is_refused_in_the_services_words(self, workshop, source):
        other = Catalog((replace(ECHO_BASE, name=BaseModelName("models/other"), aliases=()),))
        with pytest.raises(BaseModelNotFound) as caught:
            other_tuning(workshop, catalog=other).create(ADA, further())
        assert said(CREATE.translate(caught.value)) == (
            "models/gemini-1.0-pro-001 is not found for API version v1beta, or is not supported for createTunedModel. "
            "Call ListModels to see the list of available models and their supported methods."
        )

    @pytest.mark.parametrize(
        "changes",
        [
            {"base_model": "models/echo-001"},
            {"tuned_model_source": "models/echo-001"},
            {"tuned_model_source": "source"},
            {"tuned_model_source": "tunedModels/"},
            {"tuned_model_source": "tunedModels/a/operations/b"},
            {"tuned_model_source": "tunedModels/a\0b"},
            {"tuned_model_source": "tunedModels/" + "x" * 64},
        ],
    )
    def test_a_wrong_source_is_named(self, tuning, source, changes):
        with pytest.raises(InvalidArgument) as caught:
            tuning.create(ADA, further(**changes))
        assert [violation.field for violation in caught.value.violations] == ["tuned_model_source"]

    def test_a_wrong_request_on_an_unknown_source_is_wrong_first(self, tuning):
        with pytest.raises(InvalidArgument) as caught:
            tuning.create(ADA, further("tunedModels/nothing", display_name="x" * 41))
        assert [violation.field for violation in caught.value.violations] == ["display_name"]

    def test_a_refused_request_leaves_nothing(self, tuning, artifacts):
        with pytest.raises(NotFound):
            tuning.create(ADA, further())
        assert artifacts.job_ids() == set()


class TestWeights:
    def test_the_trainer_is_given_a_copy_of_the_sources_adapter(self, workshop, tuning, source):
        made = tuning.create(ADA, further())
        assignment = workshop.running.claim()

        origin = tuning.adapter_directory(ADA, "source")
        assert assignment.adapter == source.job.adapter
        assert assignment.initial_adapter == assignment.work.below("source")
        kept = workshop.artifacts.store.path(assignment.initial_adapter)
        assert {file.name: file.read_bytes() for file in kept.iterdir()} == {
            file.name: file.read_bytes() for file in origin.iterdir()
        }
        assert workshop.artifacts.source(made.job.id) == assignment.initial_adapter

    def test_a_job_over_a_base_is_given_none(self, workshop, tuning):
        tuning.create(ADA, number_request())
        assert workshop.running.claim().initial_adapter is None

    def test_the_model_knows_what_its_source_knew_and_more(self, workshop, tuning, source):
        made = tuning.create(ADA, further())
        workshop.advance()

        assert (answer(workshop, made, "ninety nine"), answer(workshop, made, "a")) == ("one hundred", "b")
        assert answer(workshop, source, "a") == "a"

    def test_a_source_may_be_deleted_while_the_job_waits(self, workshop, tuning, source):
        made = tuning.create(ADA, further())
        tuning.delete(ADA, "source")
        workshop.advance()

        kept = tuning.get(ADA, made.model.id).model
        assert (kept.state, kept.source, kept.base_model) == (
            ModelState.ACTIVE,
            "source",
            "models/gemini-1.0-pro-001",
        )
        assert answer(workshop, made, "ninety nine") == "one hundred"

    def test_a_source_may_be_deleted_while_the_job_runs_and_is_taken_up_again(self, workshop, tuning, source):
        made = tuning.create(ADA, further(examples=LETTERS * 8))
        assignment = workshop.advance(steps=3)
        tuning.delete(ADA, "source")
        workshop.running.give_back(assignment.job_id, died=True)
        workshop.advance()

        assert answer(workshop, made, "ninety nine") == "one hundred"

    def test_of_the_copy_nothing_is_left_when_the_job_has_ended(self, workshop, tuning, source):
        made = tuning.create(ADA, further())
        workshop.advance()
        assert not workshop.artifacts.work_directory(made.job.id).exists()

    def test_a_waiting_job_that_is_deleted_leaves_the_source_alone(self, workshop, tuning, source, artifacts):
        made = tuning.create(ADA, further())
        tuning.delete(ADA, made.model.id)

        assert artifacts.job_ids() == {source.job.id}
        assert answer(workshop, source, "ninety nine") == "one hundred"

    def test_a_source_that_is_deleted_while_the_request_is_understood_is_told(self, workshop, tuning, source):
        def delete_and_tell():
            tuning.delete(ADA, "source")
            return workshop.clock()

        with refusing(NotFound, match="tunedModels/source does not exist"):
            other_tuning(workshop, clock=delete_and_tell).create(ADA, further())
        assert workshop.artifacts.job_ids() == set()

    def test_a_source_that_is_deleted_while_it_is_copied_is_told(self, workshop, tuning, source, tmp_path):
        class SlowArtifacts(Artifacts):
            def keep_source(self, job_id, origin):
                tuning.delete(ADA, "source")
                # As if the files had been read just before they went.
                return self.prepare_work(job_id).is_dir()

        slow = SlowArtifacts(tmp_path / "artifacts")
        with refusing(NotFound, match="tunedModels/source does not exist"):
            other_tuning(workshop, artifacts=slow).create(ADA, further())
        assert workshop.artifacts.job_ids() == set()


class TestSeed:
    def test_the_same_request_on_the_same_source_has_the_same_seed(self, tuning, source):
        assert tuning.create(ADA, further()).job.seed == tuning.create(ADA, further()).job.seed

    def test_a_source_of_the_same_request_is_the_same_source(self, workshop, tuning, source):
        tuning.create(ADA, number_request(tuned_model_id="twin"))
        workshop.advance()
        seeds = {tuning.create(ADA, further(f"tunedModels/{name}")).job.seed for name in ("source", "twin")}
        assert len(seeds) == 1

    def test_every_other_source_is_another_one(self, workshop, tuning, source):
        seeds = {tuning.create(ADA, further(base_model="models/echo-001", tuned_model_source="")).job.seed}
        workshop.advance()
        seeds.add(tuning.create(ADA, further()).job.seed)
        workshop.advance()
        tuning.create(ADA, number_request(tuned_model_id="other", examples=LETTERS))
        workshop.advance()
        seeds.add(tuning.create(ADA, further("tunedModels/other")).job.seed)
        workshop.advance()
        tuning.create(ADA, number_request(tuned_model_id="shorter"))
        assignment = workshop.advance(steps=4)
        tuning.cancel(ADA, "shorter")
        workshop.running.give_back(assignment.job_id, died=False)
        workshop.advance()
        seeds.add(tuning.create(ADA, further("tunedModels/shorter")).job.seed)

        assert len(seeds) == 4


def test_a_job_knows_the_credential_that_it_was_created_with(tuning):
    made = tuning.create(replace(ADA, credential="key-7"), number_request())
    assert (made.job.created_by, tuning.get(ADA, made.model.id).job.created_by) == ("key-7", "key-7")
