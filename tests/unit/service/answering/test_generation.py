"""Asking models for text: who may, what is refused, and how an answer comes."""

import asyncio
import math
from dataclasses import replace

import pytest

from fakes import ECHO_BASE, ECHO_CATALOG
from spoken import GENERATE_TEXT, refusing, said
from tuningfork.domain.base_model import Catalog
from tuningfork.domain.conversation import Conversation, Speaker, Turn
from tuningfork.domain.errors import Code, FailedPrecondition, InvalidArgument, NotFound, PermissionDenied, Reason
from tuningfork.domain.generation import (
    ChoiceAnswer,
    FinishReason,
    GenerationRequest,
    JsonAnswer,
    RequestedSampling,
    Sampling,
)
from tuningfork.domain.permission import GranteeType, PermissionRequest, Role
from tuningfork.domain.tuned_model import Changeable, ModelChange
from tuningfork.domain.tuning_job import JobState
from tuningfork.execution.base import WorkerDied
from tuningfork.service.answering.generation import Generation
from tuningfork.wire.gemini.generation import model_version
from tuningfork.wire.gemini.names import model_ref, tuned_name
from tuningfork.wire.google.generation import COUNT, GENERATE
from workshop import ADA, BOB, ask, number_request

OWN = "models/echo-001"
GEMINI = "models/gemini-1.0-pro-001"


@pytest.fixture
def generation(workshop):
    return workshop.generation


@pytest.fixture
def active(workshop):
    """The name of a model that has learned the numbers."""
    tuned = workshop.tuning.create(ADA, number_request(temperature=0.2, top_p=0.5, top_k=7))
    workshop.advance()
    return tuned_name(tuned.model.id)


def answer(generation, name, request, principal=ADA):
    """The whole answer of one call, as a list of chunks."""

    async def call():
        answered = await generation.generate(principal, model_ref(name), request)
        return [chunk async for chunk in answered.chunks]

    return asyncio.run(call())


def text_of(chunks, candidate=0):
    return "".join(chunk.text for chunk in chunks if chunk.candidate == candidate)


def refused(generation, name, request, error=InvalidArgument, principal=ADA):
    with pytest.raises(error) as caught:
        answer(generation, name, request, principal)
    return caught.value


def conversation(*turns, system_instruction=None):
    speakers = [Speaker.USER, Speaker.MODEL] * len(turns)
    prompt = Conversation(
        turns=tuple(Turn.said(speaker, text) for speaker, text in zip(speakers, turns, strict=False)),
        system_instruction=system_instruction,
    )
    return GenerationRequest(prompt=prompt)


class TestAnswer:
    def test_a_base_model_answers(self, generation):
        chunks = answer(generation, OWN, ask("hello big world"))
        assert [chunk.text for chunk in chunks] == ["hello ", "big ", "world"]
        assert [chunk.finish_reason for chunk in chunks] == [None, None, FinishReason.STOP]

    def test_a_tuned_model_answers_from_its_adapter(self, generation, active, workshop):
        assert text_of(answer(generation, active, ask("twenty two"))) == "twenty three"
        assert text_of(answer(generation, GEMINI, ask("twenty two"))) == "twenty two"
        assigned = workshop.executor.generations[0]
        directory = workshop.tuning.adapter_directory(ADA, active.removeprefix("tunedModels/"))
        assert workshop.artifacts.store.path(assigned.adapter) == directory

    def test_a_cancelled_model_answers_from_what_it_learned(self, generation, workshop):
        tuned = workshop.tuning.create(ADA, number_request())
        gate = workshop.executor.hold_before(3)
        workshop.dispatcher.start()
        gate.wait_until_reached()
        workshop.tuning.cancel(ADA, tuned.model.id)
        gate.open()
        workshop.wait_until(JobState.CANCELLED, tuned)

        assert text_of(answer(generation, tuned_name(tuned.model.id), ask("8"))) == "9"
        assert text_of(answer(generation, tuned_name(tuned.model.id), ask("seven"))) == "seven"

    @pytest.mark.parametrize(("name", "version"), [(OWN, "echo-001"), (GEMINI, "gemini-1.0-pro-001")])
    def test_the_version_is_the_base_without_its_prefix(self, generation, name, version):
        answered = asyncio.run(generation.generate(ADA, model_ref(name), ask("hello")))
        assert model_version(answered.base) == version

    def test_the_version_of_a_tuned_model_is_its_bases(self, generation, active):
        answered = asyncio.run(generation.generate(ADA, model_ref(active), ask("1")))
        assert model_version(answered.base) == "gemini-1.0-pro-001"

    def test_several_candidates_come_each_with_an_end(self, generation):
        chunks = answer(generation, OWN, ask("a b", candidate_count=2))
        assert [text_of(chunks, candidate) for candidate in (0, 1)] == ["a b", "a b"]
        assert [chunk.candidate for chunk in chunks if chunk.finish_reason] == [0, 1]

    def test_a_base_model_is_named_with_its_prefix_only(self, generation):
        error = refused(generation, "echo-001", ask("hello"))
        assert error.violations[0].field == "model"
        assert "unexpected model name format" in error.message

    def test_an_answer_that_is_closed_frees_the_generator(self, generation, workshop):
        async def leave_after_one():
            answered = await generation.generate(ADA, model_ref(OWN), ask("a b c d"))
            await anext(answered.chunks)
            await answered.chunks.aclose()
            # At once, not when the garbage is collected.
            return workshop.executor.abandoned_generations

        assert asyncio.run(leave_after_one()) == 1

    def test_an_answer_that_is_closed_unread_frees_the_generator(self, generation, workshop):
        async def leave_at_once():
            await (await generation.generate(ADA, model_ref(OWN), ask("a b c d"))).chunks.aclose()
            return workshop.executor.abandoned_generations

        assert asyncio.run(leave_at_once()) == 1

    def test_a_client_that_leaves_before_the_first_word_frees_the_generator(self, generation, workshop):
        async def leave_while_waiting():
            gate = workshop.executor.hold_generation(0)
            call = asyncio.create_task(generation.generate(ADA, model_ref(OWN), ask("a b")))
            await asyncio.to_thread(gate.wait_until_reached)
            call.cancel()
            await asyncio.gather(call, return_exceptions=True)

        asyncio.run(leave_while_waiting())
        assert workshop.executor.abandoned_generations == 1


class TestDefaults:
    def sampling(self, workshop, name, **asked):
        answer(workshop.generation, name, ask("1", **asked))
        return workshop.executor.generations[-1].sampling

    def test_a_base_models_own(self, workshop):
        assert self.sampling(workshop, OWN) == Sampling(temperature=0.7, top_p=0.95, top_k=64, max_output_tokens=2_048)

    def test_an_alias_has_its_own_output_limit(self, workshop):
        assert self.sampling(workshop, GEMINI).max_output_tokens == 1_024

    def test_a_tuned_model_has_those_its_owner_gave_it(self, workshop, active):
        assert self.sampling(workshop, active) == Sampling(temperature=0.2, top_p=0.5, top_k=7, max_output_tokens=1_024)

    def test_a_request_wins_over_all_defaults(self, workshop, active):
        asked = {
            "temperature": 0.0,
            "top_p": 1.0,
            "top_k": 1,
            "max_output_tokens": 5,
            "candidate_count": 8,
            "stop_sequences": ("a", "b", "c", "d", "e"),
            "seed": 42,
        }
        assert self.sampling(workshop, active, **asked) == Sampling(**asked)

    def test_a_top_k_of_0_is_no_limit_whatever_the_default(self, workshop, active):
        assert self.sampling(workshop, OWN, top_k=0).top_k is None
        assert self.sampling(workshop, active, top_k=0).top_k is None

    def test_a_tuned_model_whose_top_k_is_0_has_no_limit(self, workshop):
        tuned = workshop.tuning.create(ADA, number_request(tuned_model_id="unlimited", top_k=0))
        workshop.advance()
        assert workshop.tuning.get(ADA, tuned.model.id).model.top_k == 0
        assert self.sampling(workshop, "tunedModels/unlimited").top_k is None

    def test_more_output_than_a_model_gives_is_as_much_as_it_gives(self, workshop):
        assert self.sampling(workshop, OWN, max_output_tokens=1_000_000).max_output_tokens == 2_048

    @pytest.mark.parametrize(
        ("asked", "wanted"),
        [
            ({}, None),
            ({"logprobs": 0}, None),
            ({"response_logprobs": True}, 0),
            ({"response_logprobs": True, "logprobs": 5}, 5),
        ],
    )
    def test_log_probabilities_come_where_they_are_wanted(self, generation, workshop, asked, wanted):
        answer(generation, OWN, replace(ask("1"), sampling=RequestedSampling(**asked)))
        assert workshop.executor.generations[0].sampling.logprobs == wanted

    def test_penalties_and_the_form_are_passed_on(self, generation, workshop):
        asked = RequestedSampling(presence_penalty=-2.0, frequency_penalty=2.0, answer_format=ChoiceAnswer(("a",)))
        answer(generation, OWN, replace(ask("1"), sampling=asked))
        sampling = workshop.executor.generations[0].sampling
        assert (sampling.presence_penalty, sampling.frequency_penalty) == (-2.0, 2.0)
        assert sampling.answer_format == ChoiceAnswer(("a",))


class TestGenerateText:
    def begin(self, generation, name):
        return asyncio.run(generation.generate(ADA, model_ref(name), ask("1"), completion=True))

    def test_a_model_under_its_own_name_has_it(self, generation):
        assert model_version(self.begin(generation, OWN).base) == "echo-001"

    def test_a_gemini_alias_and_what_was_tuned_from_it_have_not(self, generation, active):
        for name in (GEMINI, active):
            with pytest.raises(NotFound) as caught:
                self.begin(generation, name)
            assert said(GENERATE_TEXT.translate(caught.value)) == (
                f"{name} is not found for API version v1beta, or is not supported for generateText. "
                "Call ListModels to see the list of available models and their supported methods."
            )


class TestRefusal:
    @pytest.mark.parametrize(
        ("field", "asked"),
        [
            ("temperature", {"temperature": 2.1}),
            ("temperature", {"temperature": -0.1}),
            ("temperature", {"temperature": math.nan}),
            ("top_p", {"top_p": 0.0}),
            ("top_p", {"top_p": 1.5}),
            ("top_k", {"top_k": -1}),
            ("max_output_tokens", {"max_output_tokens": 0}),
            ("candidate_count", {"candidate_count": 0}),
            ("candidate_count", {"candidate_count": 9}),
            ("stop_sequences", {"stop_sequences": ("a", "b", "c", "d", "e", "f")}),
            ("stop_sequences[1]", {"stop_sequences": ("a", "")}),
        ],
    )
    def test_a_sampling_out_of_bounds_is_named(self, generation, field, asked):
        error = refused(generation, OWN, ask("hello", **asked))
        assert [violation.field for violation in error.violations] == [f"sampling.{field}"]

    def test_everything_wrong_is_reported_at_once(self, generation):
        error = refused(generation, GEMINI, ask("x" * 40_001, temperature=3.0, top_k=-1))
        assert [violation.field for violation in error.violations] == [
            "prompt",
            "sampling.temperature",
            "sampling.top_k",
        ]

    def test_an_input_beyond_the_limit_of_a_gemini_alias_is_refused_with_both_numbers(self, generation, active):
        for name in (GEMINI, active):
            error = refused(generation, name, conversation("x" * 40_000, "y", "z"))
            assert "at most 40000 characters; it has 40002" in error.message

    def test_only_its_context_bounds_the_input_of_a_model_under_its_own_name(self, generation):
        assert len(text_of(answer(generation, OWN, ask("x" * 50_000)))) == 50_000

    def test_an_input_beyond_the_context_is_refused_before_any_answer(self, generation):
        error = refused(generation, OWN, ask("a " * 16_384))
        assert "16384 tokens" in error.message

    def test_an_input_that_is_no_text_is_refused(self, generation):
        error = refused(generation, OWN, ask("ab\ud800"))
        assert error.violations[0].field == "prompt"

    def test_an_empty_input_is_answered(self, generation):
        assert text_of(answer(generation, OWN, ask(""))) == ""

    def test_no_turn_at_all_is_refused(self, generation):
        error = refused(generation, OWN, conversation())
        assert (error.violations[0].field, error.violations[0].reason) == ("prompt", Reason.MISSING)
        assert GENERATE.translate(error).message == "* GenerateContentRequest.contents: contents is not specified\n"

    def test_the_models_turn_cannot_be_the_last(self, generation):
        error = refused(generation, OWN, conversation("hi", "hello"))
        assert said(error) == "Please ensure that multiturn requests ends with a user role or a function response"

    def test_a_gemini_alias_takes_no_system_instruction(self, generation, active):
        request = conversation("1", system_instruction="Count.")
        assert said(refused(generation, GEMINI, request)) == f"Developer instruction is not enabled for {GEMINI}"
        assert said(refused(generation, active, request)) == f"Developer instruction is not enabled for {active}"

    @pytest.mark.parametrize("form", [JsonAnswer(), JsonAnswer('{"type": "null"}'), ChoiceAnswer(("a",))])
    def test_a_gemini_alias_holds_no_answer_to_a_form(self, generation, active, form):
        request = replace(ask("1"), sampling=RequestedSampling(answer_format=form))
        assert said(refused(generation, GEMINI, request)) == f"JSON mode is not enabled for {GEMINI}"
        assert said(refused(generation, active, request)) == f"JSON mode is not enabled for {active}"

    @pytest.mark.parametrize(
        ("members", "field", "said"),
        [
            ({"presence_penalty": 2.01}, "presence_penalty", "presence_penalty must be a number from -2 to 2; 2.01"),
            ({"frequency_penalty": -3.0}, "frequency_penalty", "frequency_penalty must be a number from -2 to 2; -3.0"),
            ({"frequency_penalty": math.nan}, "frequency_penalty", "frequency_penalty must be"),
            ({"logprobs": 1}, "logprobs", "logprobs can only be set when response_logprobs is true"),
            ({"logprobs": 21, "response_logprobs": True}, "logprobs", "logprobs must be a whole number from 0 to 20"),
            ({"logprobs": -1, "response_logprobs": True}, "logprobs", "logprobs must be a whole number from 0 to 20"),
        ],
    )
    def test_penalties_and_log_probabilities_have_their_ranges(self, generation, members, field, said):
        request = replace(ask("1"), sampling=RequestedSampling(**members))
        [violation] = refused(generation, OWN, request).violations
        assert violation.field == f"sampling.{field}"
        assert violation.description.startswith(said)

    def test_a_model_under_its_own_name_takes_one(self, generation, workshop):
        answer(generation, OWN, conversation("1", system_instruction="Count."))
        assert workshop.executor.generations[0].prompt.system_instruction == "Count."

    def test_a_model_that_is_being_made_is_not_ready(self, generation, workshop):
        workshop.tuning.create(ADA, number_request(tuned_model_id="abc"))
        error = refused(generation, "tunedModels/abc", ask("1"), FailedPrecondition)
        assert said(error) == "Tuned model tunedModels/abc is not ready for inference: its state is CREATING."

    def test_a_model_that_has_failed_cannot_be_used(self, generation, workshop):
        workshop.tuning.create(ADA, number_request(tuned_model_id="abc"))
        workshop.executor.fail_before(1)
        workshop.advance()
        error = refused(generation, "tunedModels/abc", ask("1"), FailedPrecondition)
        assert said(error) == "Tuned model tunedModels/abc cannot be used for inference: its state is FAILED."

    def test_a_stranger_is_refused(self, generation, active):
        error = refused(generation, active, ask("1"), PermissionDenied, principal=BOB)
        assert said(error) == f"You do not have permission to access tuned model {active}"

    def test_a_missing_tuned_model_is_told(self, generation):
        error = refused(generation, "tunedModels/abc", ask("1"), NotFound)
        assert said(error) == "Tuned model tunedModels/abc does not exist."

    def test_a_missing_base_model_is_told_with_the_method(self, generation):
        error = refused(generation, "models/abc", ask("1"), NotFound)
        assert said(error) == (
            "models/abc is not found for API version v1beta, or is not supported for generateContent. "
            "Call ListModels to see the list of available models and their supported methods."
        )

    def test_a_tuned_model_whose_base_has_left_is_told_by_the_bases_name(self, workshop, active):
        parts = (workshop.database, workshop.artifacts, Catalog(()), workshop.executor, workshop.metrics)
        error = refused(Generation(*parts), active, ask("1"), NotFound)
        assert said(error).startswith("models/gemini-1.0-pro-001 is not found for API version v1beta")


class TestWorkers:
    def test_a_generator_that_dies_before_the_first_word_is_replaced_unnoticed(self, generation, workshop):
        workshop.executor.break_generation(0)
        assert text_of(answer(generation, OWN, ask("hello world"))) == "hello world"
        assert len(workshop.executor.generations) == 2

    def test_a_generator_that_dies_in_the_middle_is_told(self, generation, workshop):
        workshop.executor.break_generation(1)
        error = refused(generation, OWN, ask("hello world"), WorkerDied)
        assert error.code is Code.UNAVAILABLE
        assert len(workshop.executor.generations) == 1

    def test_a_generator_that_cannot_be_started_is_told(self, generation, workshop):
        workshop.executor.close()
        refused(generation, OWN, ask("hello"), WorkerDied)


class TestModels:
    def test_are_all_public_names(self, generation):
        assert [model.name for model in generation.models()] == [
            OWN,
            GEMINI,
            "models/gemini-1.5-flash-001-tuning",
        ]

    def test_are_found_by_name(self, generation):
        assert generation.model(model_ref(GEMINI)).base == ECHO_BASE

    def test_that_are_not_there_are_told(self, generation):
        with refusing(NotFound, match="models/abc is not found"):
            generation.model(model_ref("models/abc"))


class TestCountTokens:
    def count(self, workshop, name, request, principal=ADA):
        return asyncio.run(workshop.generation.count_tokens(principal, model_ref(name), request.prompt))

    def test_counts_for_a_base_model(self, workshop):
        assert self.count(workshop, OWN, ask("hello big world")) == 3

    def test_counts_for_a_tuned_model_even_while_it_is_being_made(self, workshop):
        workshop.tuning.create(ADA, number_request(tuned_model_id="abc"))
        assert self.count(workshop, "tunedModels/abc", ask("hello world")) == 2

    def test_counts_what_would_be_too_long_to_answer(self, workshop):
        assert self.count(workshop, OWN, ask("a " * 30_000)) == 30_000

    def test_refuses_strangers_and_missing_models(self, workshop):
        workshop.tuning.create(ADA, number_request(tuned_model_id="abc"))
        with pytest.raises(PermissionDenied):
            self.count(workshop, "tunedModels/abc", ask("1"), BOB)
        with refusing(NotFound, match="not supported for countTokens", words=COUNT):
            self.count(workshop, "models/abc", ask("1"))

    def test_refuses_an_empty_prompt(self, workshop):
        with refusing(InvalidArgument, match="contents is not specified", words=COUNT):
            self.count(workshop, OWN, conversation())


def test_a_model_that_was_asked_before_is_asked_with_what_it_has_become(generation, workshop, active):
    for _ in range(2):
        answer(generation, active, ask("one"))
    model_id = active.removeprefix("tunedModels/")
    change = ModelChange(fields=frozenset({Changeable.TEMPERATURE}), temperature=0.9)
    workshop.tuning.update(ADA, model_id, change)
    answer(generation, active, ask("one"))
    assert [each.sampling.temperature for each in workshop.executor.generations] == [0.2, 0.2, 0.9]


def test_a_model_that_was_asked_before_is_gone_when_it_is_deleted(generation, workshop, active):
    for _ in range(2):
        answer(generation, active, ask("one"))
    workshop.tuning.delete(ADA, active.removeprefix("tunedModels/"))
    refused(generation, active, ask("one"), NotFound)


def test_whoever_could_ask_before_cannot_once_that_is_taken_back(generation, workshop, active):
    model_id = active.removeprefix("tunedModels/")
    shared = workshop.sharing.create(
        ADA, model_id, PermissionRequest(grantee_type=GranteeType.USER, email_address=BOB.email, role=Role.READER)
    )
    for _ in range(2):
        answer(generation, active, ask("one"), BOB)
    workshop.sharing.delete(ADA, model_id, shared.id)
    refused(generation, active, ask("one"), PermissionDenied, BOB)
    assert answer(generation, active, ask("one"), ADA)


@pytest.mark.parametrize("share", [False, True])
def test_prefixes_are_an_owners_own_unless_the_operator_shares_them(workshop, share):
    w = workshop
    generation = Generation(w.database, w.artifacts, ECHO_CATALOG, w.executor, w.metrics, share_prefixes=share)

    async def call():
        for principal in (ADA, BOB):
            async for _ in (await generation.generate(principal, model_ref("models/echo-001"), ask("a b c"))).chunks:
                pass

    asyncio.run(call())

    asked = w.executor.generations[-2:]
    assert [(each.owner, each.sharing_prefixes) for each in asked] == [(ADA.email, share), (BOB.email, share)]


class TestTheFormatThatAModelReads:
    FORM = JsonAnswer('{"type": "object", "properties": {"day": {"type": "string"}}}')

    def read(self, workshop, name):
        request = replace(ask("1"), sampling=RequestedSampling(answer_format=self.FORM))
        answer(workshop.generation, name, request)
        return workshop.executor.generations[-1].prompt.turns[-1].text

    def tuned_on(self, workshop, output):
        pairs = tuple(Conversation.pair(f"input {number}", output(number)) for number in range(12))
        made = workshop.tuning.create(ADA, number_request(base_model=OWN, examples=pairs))
        workshop.advance()
        return made, tuned_name(made.model.id)

    def test_a_base_model_reads_it(self, workshop):
        assert self.read(workshop, OWN) == "1\n\nAnswer in JSON, with day."

    def test_a_tuned_model_reads_its_prompt_as_it_was_trained_on_it(self, workshop):
        _, trained = self.tuned_on(workshop, lambda number: f"output {number}")

        assert self.read(workshop, trained) == "1"
