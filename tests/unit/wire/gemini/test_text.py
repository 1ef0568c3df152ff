"""Requests of the PaLM generation, and the answers to them."""

import json

import pytest

from tuningfork.domain.conversation import Conversation, Speaker, Turn
from tuningfork.domain.errors import InvalidArgument
from tuningfork.domain.generation import Chunk, FinishReason, GenerationRequest, RequestedSampling
from tuningfork.wire.gemini.text import parse_generate_text, render_text_answer
from tuningfork.wire.google.proto_json.encode import encode


def parse(**members):
    return parse_generate_text(json.dumps(members).encode())


def printed(*pieces):
    chunks = [
        Chunk(candidate=candidate, text=text, finish_reason=reason, prompt_tokens=1, output_tokens=1)
        for candidate, text, reason in pieces
    ]
    answer = render_text_answer(chunks)
    return encode(answer.message, answer.fields)


def test_a_prompt_is_one_turn_and_every_setting_is_taken():
    assert parse(
        model="tunedModels/x",
        prompt={"text": "one"},
        temperature=0.2,
        candidateCount=3,
        maxOutputTokens=9,
        top_p=0.5,
        topK=4,
        stopSequences=["x"],
    ) == GenerationRequest(
        prompt=Conversation(turns=(Turn.said(Speaker.USER, "one"),)),
        sampling=RequestedSampling(
            temperature=0.2, candidate_count=3, max_output_tokens=9, top_p=0.5, top_k=4, stop_sequences=("x",)
        ),
    )


@pytest.mark.parametrize("members", [{}, {"prompt": {}}, {"prompt": {"text": ""}}])
def test_a_request_without_a_text_is_refused(members):
    with pytest.raises(InvalidArgument, match=r"^\* GenerateTextRequest\.prompt\.text: text is not specified\n$"):
        parse(**members)


def test_an_answer_is_the_whole_texts_of_the_candidates():
    assert printed((1, "c", None), (0, "a", None), (0, "b", FinishReason.STOP), (1, "", FinishReason.STOP)) == {
        "candidates": [{"output": "ab"}, {"output": "c"}]
    }


def test_an_empty_text_is_a_candidate_all_the_same():
    assert printed((0, "", FinishReason.STOP)) == {"candidates": [{}]}


def test_what_was_withheld_is_told_and_not_shown():
    assert printed((0, "a", FinishReason.STOP), (1, "bad", FinishReason.SAFETY)) == {
        "candidates": [{"output": "a"}],
        "filters": [{"reason": "SAFETY"}],
    }
