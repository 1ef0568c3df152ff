"""Settings inward and ratings outward, without a server."""

import pytest

from tuningfork.domain.errors import InvalidArgument
from tuningfork.domain.safety import BlockThreshold, HarmCategory, HarmProbability, SafetyRating, SafetySetting
from tuningfork.wire.google import safety

LOW = HarmProbability.LOW


def test_settings_keep_their_order():
    settings = [
        {"category": "HARM_CATEGORY_HARASSMENT", "threshold": "OFF"},
        {"category": "HARM_CATEGORY_HATE_SPEECH", "threshold": "BLOCK_ONLY_HIGH"},
    ]
    assert safety.parse_safety_settings(settings) == (
        SafetySetting(HarmCategory.HARASSMENT, BlockThreshold.OFF),
        SafetySetting(HarmCategory.HATE_SPEECH, BlockThreshold.BLOCK_ONLY_HIGH),
    )
    assert safety.parse_safety_settings([]) == ()


def test_everything_wrong_with_settings_is_said_at_once():
    settings = [{"category": "HARM_CATEGORY_SEXUAL"}, {}, {"category": "HARM_CATEGORY_SEXUAL", "threshold": "OFF"}]
    with pytest.raises(InvalidArgument) as caught:
        safety.parse_palm_settings(settings)

    assert [violation.field for violation in caught.value.violations] == [
        "safety_settings[0].threshold",
        "safety_settings[1].category",
        "safety_settings[1].threshold",
        "safety_settings[2].category",
    ]
    assert "got HARM_CATEGORY_UNSPECIFIED" in caught.value.message


@pytest.mark.parametrize(
    ("palm", "gemini"),
    [
        ("HARM_CATEGORY_DEROGATORY", HarmCategory.HATE_SPEECH),
        ("HARM_CATEGORY_TOXICITY", HarmCategory.HARASSMENT),
        ("HARM_CATEGORY_SEXUAL", HarmCategory.SEXUALLY_EXPLICIT),
        ("HARM_CATEGORY_DANGEROUS", HarmCategory.DANGEROUS_CONTENT),
    ],
)
def test_four_categories_of_palms_go_in_and_come_out_by_their_own_names(palm, gemini):
    (setting,) = safety.parse_palm_settings([{"category": palm, "threshold": "BLOCK_NONE"}])
    (rating,) = safety.render_palm_ratings([SafetyRating(gemini, LOW)])

    assert setting.category is gemini
    assert rating == {"category": palm, "probability": "LOW", "blocked": False}


def test_feedback_is_given_of_what_withheld_a_text_only():
    ratings = [
        SafetyRating(HarmCategory.HARASSMENT, LOW, threshold=BlockThreshold.BLOCK_ONLY_HIGH),
        SafetyRating(HarmCategory.HATE_SPEECH, LOW, blocked=True, threshold=BlockThreshold.BLOCK_LOW_AND_ABOVE),
    ]
    assert safety.render_safety_feedback(ratings) == [
        {
            "rating": {"category": "HARM_CATEGORY_DEROGATORY", "probability": "LOW", "blocked": True},
            "setting": {"category": "HARM_CATEGORY_DEROGATORY", "threshold": "BLOCK_LOW_AND_ABOVE"},
        }
    ]
