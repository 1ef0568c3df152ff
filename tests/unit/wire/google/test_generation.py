"""Requests for text and for token counts."""

import json

import pytest

from tuningfork.domain.conversation import Conversation, Speaker, Turn
from tuningfork.domain.errors import InvalidArgument
from tuningfork.domain.generation import ChoiceAnswer, GenerationRequest, JsonAnswer, RequestedSampling
from tuningfork.wire.gemini.generation import parse_count_tokens, parse_generate

CONTENTS = [{"role": "user", "parts": [{"text": "hello"}]}]
HELLO = Conversation(turns=(Turn.said(Speaker.USER, "hello"),))


def parse(**members):
    return parse_generate(json.dumps(members).encode())


def count(name="tunedModels/x", **members):
    return parse_count_tokens(json.dumps(members).encode(), name)


def test_what_is_left_out_is_left_to_the_model():
    assert parse(contents=CONTENTS) == GenerationRequest(prompt=HELLO, sampling=RequestedSampling())


def test_a_config_says_how_to_sample():
    config = {
        "temperature": 0,
        "top_p": 0.5,
        "topK": 40.0,
        "maxOutputTokens": "7",
        "candidateCount": 2,
        "stopSequences": "x",
        "seed": -1,
        "presencePenalty": 0.5,
        "frequency_penalty": "-1.5",
        "responseLogprobs": True,
        "logprobs": 3,
    }

    assert parse(contents=CONTENTS, generationConfig=config).sampling == RequestedSampling(
        temperature=0,
        top_p=0.5,
        top_k=40,
        max_output_tokens=7,
        candidate_count=2,
        stop_sequences=("x",),
        seed=-1,
        presence_penalty=0.5,
        frequency_penalty=-1.5,
        response_logprobs=True,
        logprobs=3,
    )


def test_the_form_of_the_documentations_samples_is_understood():
    """Its curl commands give lone objects where the definition has lists."""
    body = b'{"system_instruction": {"parts": {"text": "be a cat"}}, "contents": {"parts": {"text": "hello"}}}'

    assert parse_generate(body).prompt == Conversation(turns=HELLO.turns, system_instruction="be a cat")


def test_a_bad_setting_is_named_by_its_path():
    with pytest.raises(
        InvalidArgument, match=r"^Invalid value at 'generation_config.temperature' \(TYPE_FLOAT\), \"hot\"$"
    ):
        parse(contents=CONTENTS, generationConfig={"temperature": "hot"})


@pytest.mark.parametrize(
    "body", [{"contents": CONTENTS}, {"generateContentRequest": {"model": "tunedModels/x", "contents": CONTENTS}}]
)
def test_tokens_are_counted_of_contents_or_of_a_request(body):
    assert count(**body) == HELLO


@pytest.mark.parametrize(
    ("name", "said"),
    [("tunedModels/x", "tunedModels/x"), ("models/x", "models/x"), ("models/x", "x")],
)
def test_a_request_to_count_names_the_model_that_is_asked(name, said):
    assert count(name, generateContentRequest={"model": said, "contents": CONTENTS}) == HELLO


@pytest.mark.parametrize(
    ("inner", "field"),
    [
        ({"model": "tunedModels/y"}, "model"),
        ({"model": "x"}, "model"),
        ({}, "model"),
        ({"model": "tunedModels/x", "tools": [{"googleSearch": {}}]}, "tools"),
        ({"model": "tunedModels/x", "cachedContent": "cachedContents/1"}, "cached_content"),
    ],
)
def test_a_request_to_count_what_would_be_counted_otherwise_is_refused(inner, field):
    with pytest.raises(InvalidArgument) as caught:
        count(generateContentRequest={"contents": CONTENTS, **inner})

    assert [each.field for each in caught.value.violations] == [f"generate_content_request.{field}"]


def test_settings_do_not_matter_for_a_count_but_the_system_instruction_does():
    inner = {
        "model": "tunedModels/x",
        "contents": CONTENTS,
        "systemInstruction": {"role": "user", "parts": [{"text": "be a cat"}]},
        "generationConfig": {"responseModalities": ["IMAGE"], "temperature": 99},
    }

    assert count(generateContentRequest=inner) == Conversation(turns=HELLO.turns, system_instruction="be a cat")


def test_json_is_asked_for_by_its_mime_type():
    assert parse(contents=CONTENTS, generationConfig={"responseMimeType": "application/json"}).sampling == (
        RequestedSampling(answer_format=JsonAnswer())
    )


def test_a_choice_is_asked_for_by_a_schema_with_an_enum():
    schema = {"type": "STRING", "enum": ["yes", "no"]}
    config = {"responseMimeType": "text/x.enum", "responseSchema": schema}

    assert parse(contents=CONTENTS, generationConfig=config).sampling == (
        RequestedSampling(answer_format=ChoiceAnswer(("yes", "no")))
    )


def test_everything_that_cannot_be_served_is_told_at_once():
    config = {"responseModalities": ["AUDIO"], "responseMimeType": "application/xml"}

    with pytest.raises(InvalidArgument) as caught:
        parse(contents=CONTENTS, generationConfig=config, tools=[{}])

    assert [each.field for each in caught.value.violations] == [
        "tools",
        "generation_config.response_modalities",
        "generation_config.response_mime_type",
    ]
