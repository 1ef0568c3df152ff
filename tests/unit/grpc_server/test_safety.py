"""Safety over gRPC: the same ratings and refusals in protobuf."""

import pytest
from google.ai import generativelanguage_v1beta as api

from tuningfork.safety.lexical import LexicalRater
from workshop import with_rater

BASE = "models/echo-001"


@pytest.fixture
def workshop(workshop):
    return with_rater(workshop, LexicalRater())


def ask(text, *settings):
    contents = [api.Content(role="user", parts=[api.Part(text=text)])]
    wanted = [api.SafetySetting(category=category, threshold=threshold) for category, threshold in settings]
    return api.GenerateContentRequest(model=BASE, contents=contents, safety_settings=wanted)


def test_a_withheld_prompt_has_feedback_and_no_candidates(ada):
    answer = ada.generative.generate_content(ask("I will kill you."))

    assert answer.prompt_feedback.block_reason == api.GenerateContentResponse.PromptFeedback.BlockReason.SAFETY
    assert [rating.blocked for rating in answer.prompt_feedback.safety_ratings] == [False, False, True, False]
    assert len(answer.candidates) == 0


def test_every_piece_of_a_stream_is_rated(ada):
    harassment = (api.HarmCategory.HARM_CATEGORY_HARASSMENT, api.SafetySetting.HarmBlockThreshold.BLOCK_NONE)
    pieces = list(ada.generative.stream_generate_content(ask("I will kill you.", harassment)))

    assert "".join(piece.text for each in pieces for piece in each.candidates[0].content.parts) == "I will kill you."
    assert pieces[-1].candidates[0].safety_ratings[2] == api.SafetyRating(
        category=api.HarmCategory.HARM_CATEGORY_HARASSMENT,
        probability=api.SafetyRating.HarmProbability.HIGH,
    )


def test_a_withheld_text_of_the_palm_generation_tells_its_setting(ada):
    answer = ada.texts.generate_text(
        api.GenerateTextRequest(model=BASE, prompt=api.TextPrompt(text="I will kill you."))
    )

    assert [each.reason for each in answer.filters] == [api.ContentFilter.BlockedReason.SAFETY]
    assert answer.safety_feedback[0].setting == api.SafetySetting(
        category=api.HarmCategory.HARM_CATEGORY_TOXICITY,
        threshold=api.SafetySetting.HarmBlockThreshold.BLOCK_MEDIUM_AND_ABOVE,
    )
