"""Requests for text, and chunks back."""

import json

import pytest

from tuningfork.domain.errors import InvalidArgument
from tuningfork.domain.generation import (
    Chunk,
    FinishReason,
    GenerationRequest,
    Prompt,
    RequestedSampling,
    Speaker,
    Turn,
)
from tuningfork.wire.gemini.generation import (
    parse_count_tokens,
    parse_generate,
    render_answer,
    render_chunk,
    render_token_count,
)
from tuningfork.wire.proto_json.encode import encode

CONTENTS = [{"role": "user", "parts": [{"text": "hello"}]}]
HELLO = Prompt(turns=(Turn(Speaker.USER, "hello"),))


def parse(**members):
    return parse_generate(json.dumps(members).encode(), "models/x")


def chunk(text, *, candidate=0, reason=None, output=1):
    return Chunk(candidate=candidate, text=text, finish_reason=reason, prompt_tokens=3, output_tokens=output)


def printed(typed):
    return encode(typed.message, typed.fields)


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
    }

    assert parse(contents=CONTENTS, generationConfig=config).sampling == RequestedSampling(
        temperature=0,
        top_p=0.5,
        top_k=40,
        max_output_tokens=7,
        candidate_count=2,
        stop_sequences=("x",),
        seed=-1,
    )


def test_the_form_of_the_documentations_samples_is_understood():
    """Its curl commands give lone objects where the definition has lists."""
    body = b'{"system_instruction": {"parts": {"text": "be a cat"}}, "contents": {"parts": {"text": "hello"}}}'

    assert parse_generate(body, "models/x").prompt == Prompt(turns=HELLO.turns, system_instruction="be a cat")


def test_a_bad_setting_is_named_by_its_path():
    with pytest.raises(
        InvalidArgument, match=r"^Invalid value at 'generation_config.temperature' \(TYPE_FLOAT\), \"hot\"$"
    ):
        parse(contents=CONTENTS, generationConfig={"temperature": "hot"})


@pytest.mark.parametrize(
    "body", [{"contents": CONTENTS}, {"generateContentRequest": {"model": "tunedModels/x", "contents": CONTENTS}}]
)
def test_tokens_are_counted_of_contents_or_of_a_request(body):
    assert parse_count_tokens(json.dumps(body).encode()) == HELLO


def test_a_chunk_is_a_whole_answer_with_a_piece_of_text():
    assert printed(render_chunk(chunk("he"), "echo-001")) == {
        "candidates": [{"content": {"parts": [{"text": "he"}], "role": "model"}, "index": 0}],
        "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 1, "totalTokenCount": 4},
        "modelVersion": "echo-001",
    }


def test_the_last_chunk_says_why_it_is_and_may_be_empty():
    candidate = printed(render_chunk(chunk("", reason=FinishReason.MAX_TOKENS), "echo-001"))["candidates"][0]

    assert list(candidate) == ["content", "finishReason", "index"]
    assert candidate["finishReason"] == "MAX_TOKENS"
    assert candidate["content"]["parts"] == [{"text": ""}]


def test_an_answer_is_its_chunks_put_together_by_candidate():
    chunks = [
        chunk("b", candidate=1),
        chunk("a", candidate=0, output=2),
        chunk("", candidate=1, reason=FinishReason.STOP, output=3),
        chunk("aa", candidate=0, reason=FinishReason.MAX_TOKENS, output=4),
    ]

    answer = printed(render_answer(chunks, "echo-001"))

    assert [
        (each["index"], each["content"]["parts"][0]["text"], each["finishReason"]) for each in answer["candidates"]
    ] == [(0, "aaa", "MAX_TOKENS"), (1, "b", "STOP")]
    assert answer["usageMetadata"] == {"promptTokenCount": 3, "candidatesTokenCount": 4, "totalTokenCount": 7}


def test_no_tokens_are_an_empty_message():
    assert printed(render_token_count(0)) == {}
