"""Chunks and token counts outward."""

from tuningfork.domain.generation import ChosenToken, Chunk, FinishReason, TokenLogprob
from tuningfork.wire.gemini.generation import chunk_renderer, render_answer, render_token_count
from tuningfork.wire.google.answers import AnswerHead
from tuningfork.wire.google.proto_json.encode import encode

HEAD = AnswerHead(model_version="echo-001", response_id="id-1")


def chunk(text, *, candidate=0, reason=None, output=1, tokens=()):
    return Chunk(
        candidate=candidate,
        text=text,
        finish_reason=reason,
        prompt_tokens=3,
        output_tokens=output,
        tokens=tuple(tokens),
    )


def token(text, log_probability, *others):
    """A chosen token, the likeliest at its place being these others."""
    return ChosenToken(
        chosen=TokenLogprob(text, ord(text[0]), log_probability),
        likeliest=tuple(TokenLogprob(other, ord(other), -0.5) for other in others),
    )


def printed(typed):
    return encode(typed.message, typed.fields)


def test_a_chunk_is_a_whole_answer_with_a_piece_of_text():
    assert printed(chunk_renderer(HEAD).render(chunk("he"))) == {
        "candidates": [{"content": {"parts": [{"text": "he"}], "role": "model"}, "index": 0}],
        "usageMetadata": {
            "promptTokenCount": 3,
            "candidatesTokenCount": 1,
            "totalTokenCount": 4,
            "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 3}],
            "candidatesTokensDetails": [{"modality": "TEXT", "tokenCount": 1}],
        },
        "modelVersion": "echo-001",
        "responseId": "id-1",
    }


def test_the_last_chunk_says_why_it_is_and_may_be_empty():
    [candidate] = printed(chunk_renderer(HEAD).render(chunk("", reason=FinishReason.MAX_TOKENS)))["candidates"]

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

    answer = printed(render_answer(chunks, HEAD))

    assert [
        (each["index"], each["content"]["parts"][0]["text"], each["finishReason"]) for each in answer["candidates"]
    ] == [(0, "aaa", "MAX_TOKENS"), (1, "b", "STOP")]
    assert answer["usageMetadata"]["totalTokenCount"] == 7


def test_an_answer_without_a_token_has_no_details_of_them():
    usage = printed(render_answer([chunk("", reason=FinishReason.STOP, output=0)], HEAD))["usageMetadata"]

    assert usage == {
        "promptTokenCount": 3,
        "totalTokenCount": 3,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 3}],
    }


def test_log_probabilities_are_printed_in_the_order_of_the_definition():
    pieces = [
        chunk("a", tokens=[token("a", -0.25, "a", "x")]),
        chunk("b", reason=FinishReason.STOP, tokens=[token("b", -0.5, "b", "y")]),
    ]

    [candidate] = printed(render_answer(pieces, HEAD))["candidates"]

    assert list(candidate) == ["content", "finishReason", "index", "avgLogprobs", "logprobsResult"]
    assert candidate["avgLogprobs"] == -0.375
    assert candidate["logprobsResult"] == {
        "topCandidates": [
            {
                "candidates": [
                    {"token": "a", "logProbability": -0.5, "tokenId": 97},
                    {"token": "x", "logProbability": -0.5, "tokenId": 120},
                ]
            },
            {
                "candidates": [
                    {"token": "b", "logProbability": -0.5, "tokenId": 98},
                    {"token": "y", "logProbability": -0.5, "tokenId": 121},
                ]
            },
        ],
        "chosenCandidates": [
            {"token": "a", "logProbability": -0.25, "tokenId": 97},
            {"token": "b", "logProbability": -0.5, "tokenId": 98},
        ],
        "logProbabilitySum": -0.75,
    }


def test_only_chosen_tokens_are_printed_where_no_others_are_wanted():
    [candidate] = printed(render_answer([chunk("a", tokens=[token("a", 0.0)])], HEAD))["candidates"]

    assert candidate["logprobsResult"] == {
        "chosenCandidates": [{"token": "a", "logProbability": 0, "tokenId": 97}],
        "logProbabilitySum": 0,
    }


def test_each_piece_of_a_stream_has_its_own_tokens_and_the_last_one_the_mean_of_its_candidate():
    renderer = chunk_renderer(HEAD)
    pieces = [
        chunk("a", tokens=[token("a", -1.0)]),
        chunk("z", candidate=1, tokens=[token("z", -9.0)]),
        chunk("bc", tokens=[token("b", -2.0), token("c", -3.0)]),
        chunk("", reason=FinishReason.STOP),
    ]

    candidates = [printed(renderer.render(each))["candidates"][0] for each in pieces]

    assert [each.get("avgLogprobs") for each in candidates] == [None, None, None, -2]
    assert [each.get("logprobsResult", {}).get("logProbabilitySum") for each in candidates] == [-1, -9, -5, None]


def test_no_tokens_are_an_empty_message():
    assert printed(render_token_count(0)) == {}


def test_tokens_are_told_by_what_they_stand_for():
    assert printed(render_token_count(7)) == {
        "totalTokens": 7,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 7}],
    }
