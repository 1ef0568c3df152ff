"""Parses safety settings, and renders ratings and feedback.

Source: gemini-api sections 11.1, 11.2 and 11.5; google/ai/generativelanguage/v1beta/safety.proto. The methods of the
older PaLM models have other categories; four of them mean the same as four of Gemini's.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from tuningfork.domain.errors import FieldViolation, InvalidArgument
from tuningfork.domain.safety import BlockThreshold, HarmCategory, SafetyRating, SafetySetting, UnratedCategory
from tuningfork.wire.google.proto_json.decode import Fields
from tuningfork.wire.google.requests import refused

_Category = HarmCategory | UnratedCategory

_GEMINI: Mapping[str, _Category] = {
    **{category.value: category for category in HarmCategory},
    UnratedCategory.CIVIC_INTEGRITY.value: UnratedCategory.CIVIC_INTEGRITY,
}

_PALM_NAMES: Mapping[_Category, str] = {
    HarmCategory.HATE_SPEECH: "HARM_CATEGORY_DEROGATORY",
    HarmCategory.HARASSMENT: "HARM_CATEGORY_TOXICITY",
    UnratedCategory.VIOLENCE: UnratedCategory.VIOLENCE.value,
    HarmCategory.SEXUALLY_EXPLICIT: "HARM_CATEGORY_SEXUAL",
    UnratedCategory.MEDICAL: UnratedCategory.MEDICAL.value,
    HarmCategory.DANGEROUS_CONTENT: "HARM_CATEGORY_DANGEROUS",
}
"""PaLM's name for each category, in the order of the enum's numbers. safety.proto describes the pairs."""

_PALM: Mapping[str, _Category] = {name: category for category, name in _PALM_NAMES.items()}

_FIELD = "safety_settings"


def parse_safety_settings(settings: Sequence[Fields]) -> tuple[SafetySetting, ...]:
    """The settings of a GenerateContentRequest.

    Raises:
        InvalidArgument: Gemini models do not have the category; the message is the real service's.

    """
    allowed = ", ".join(
        f"HarmCategory.{name}"
        for name in (
            *(HarmCategory.HATE_SPEECH, HarmCategory.SEXUALLY_EXPLICIT, HarmCategory.DANGEROUS_CONTENT),
            *(HarmCategory.HARASSMENT, UnratedCategory.CIVIC_INTEGRITY),
        )
    )
    wrong = [
        f"* GenerateContentRequest.{_FIELD}[{index}]: element predicate failed: $.category in ({allowed})\n"
        for index, setting in enumerate(settings)
        if setting.get("category") not in _GEMINI
    ]
    if wrong:
        raise InvalidArgument("".join(wrong))
    return _settings("GenerateContentRequest", settings, _GEMINI)


def parse_palm_settings(settings: Sequence[Fields]) -> tuple[SafetySetting, ...]:
    """The settings of a GenerateTextRequest, with PaLM's or Gemini's categories.

    Raises:
        InvalidArgument: a category is unknown or occurs twice, or a threshold is missing.

    """
    return _settings("GenerateTextRequest", settings, {**_PALM, **_GEMINI})


def render_ratings(ratings: Iterable[SafetyRating]) -> list[dict[str, Any]]:
    """SafetyRating messages, in the order given."""
    return [_rating(rating, rating.category.value) for rating in ratings]


def render_prompt_feedback(ratings: Sequence[SafetyRating]) -> dict[str, Any]:
    """The PromptFeedback of a prompt that was withheld."""
    return {"block_reason": "SAFETY", "safety_ratings": render_ratings(ratings)}


def render_palm_ratings(ratings: Iterable[SafetyRating]) -> list[dict[str, Any]]:
    """SafetyRating messages with PaLM's categories."""
    by_category = {rating.category: rating for rating in ratings}
    return [
        _rating(by_category[category], name)
        for category, name in _PALM_NAMES.items()
        if isinstance(category, HarmCategory) and category in by_category
    ]


def render_safety_feedback(ratings: Iterable[SafetyRating]) -> list[dict[str, Any]]:
    """SafetyFeedback messages: each rating for which a text was withheld, with the threshold that it reached."""
    return [
        {
            "rating": _rating(rating, _PALM_NAMES[rating.category]),
            "setting": {"category": _PALM_NAMES[rating.category], "threshold": rating.threshold.value},
        }
        for rating in ratings
        if rating.blocked
    ]


def _rating(rating: SafetyRating, category: str) -> dict[str, Any]:
    return {"category": category, "probability": rating.probability.value, "blocked": rating.blocked}


def _settings(
    request: str, settings: Sequence[Fields], categories: Mapping[str, _Category]
) -> tuple[SafetySetting, ...]:
    wrong = tuple(_violations(settings, categories))
    if wrong:
        raise refused(request, wrong)
    return tuple(SafetySetting(categories[each["category"]], BlockThreshold(each["threshold"])) for each in settings)


def _violations(settings: Sequence[Fields], categories: Mapping[str, _Category]) -> Iterator[FieldViolation]:
    places: dict[_Category, int] = {}
    for index, setting in enumerate(settings):
        name = setting.get("category", "HARM_CATEGORY_UNSPECIFIED")
        category = categories.get(name)
        if category is None:
            reason = f"category must be one of {', '.join(categories)}; got {name}"
            yield FieldViolation(field=f"{_FIELD}[{index}].category", description=reason)
        elif places.setdefault(category, index) != index:
            reason = f"{name} has a setting already, at {_FIELD}[{places[category]}]; send one for each category"
            yield FieldViolation(field=f"{_FIELD}[{index}].category", description=reason)
        threshold = setting.get("threshold", "HARM_BLOCK_THRESHOLD_UNSPECIFIED")
        if threshold not in BlockThreshold.__members__:
            reason = f"threshold must be one of {', '.join(BlockThreshold)}; got {threshold}"
            yield FieldViolation(field=f"{_FIELD}[{index}].threshold", description=reason)
