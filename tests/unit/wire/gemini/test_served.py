"""Members of a request for text: what is refused, and what is passed over."""

import pytest

from tuningfork.domain.errors import InvalidArgument
from tuningfork.wire.gemini.config_messages import GENERATION_CONFIG
from tuningfork.wire.gemini.served import refuse_unserved
from tuningfork.wire.proto_json.decode import decode


def refused(members):
    with pytest.raises(InvalidArgument) as caught:
        refuse_unserved(members, "models/x")
    return caught.value


@pytest.mark.parametrize(
    ("member", "value"),
    [("tools", [{"googleSearch": {}}]), ("tools", [{}]), ("cached_content", "cachedContents/x")],
)
def test_members_that_would_change_the_answer_are_refused_by_name(member, value):
    assert refused({member: value}).violations[0].field == member


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("response_mime_type", "text/x.enum"),
        ("response_schema", {"type": "STRING"}),
        ("response_json_schema", {"type": "string"}),
        ("response_json_schema_ordered", {"type": "string"}),
        ("presence_penalty", 0.5),
        ("presence_penalty", float("nan")),
        ("frequency_penalty", -1.0),
        ("response_logprobs", True),
        ("logprobs", 3),
        ("response_modalities", ["TEXT", "AUDIO"]),
    ],
)
def test_settings_that_would_change_the_answer_are_refused_by_name(member, value):
    error = refused({"generation_config": {member: value}})

    assert error.violations[0].field == f"generation_config.{member}"
    assert error.violations[0].description.startswith(f"{member} ")


def test_every_one_of_them_is_named_at_once():
    error = refused({"tools": [{}], "generation_config": {"presence_penalty": 1.0, "logprobs": 2}})

    assert [violation.field for violation in error.violations] == [
        "tools",
        "generation_config.presence_penalty",
        "generation_config.logprobs",
    ]


def test_json_mode_has_the_words_of_the_real_service():
    error = refused({"generation_config": {"response_mime_type": "application/json", "response_schema": {"a": 1}}})

    assert error.message == "JSON mode is not enabled for models/x"


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"responseMimeType": ""},
        {"responseMimeType": "text/plain"},
        {"responseSchema": {}},
        {"presencePenalty": 0, "frequencyPenalty": "0"},
        {"responseLogprobs": False, "logprobs": 0},
        {"responseModalities": []},
        {"responseModalities": ["text", 1]},
        {"speechConfig": {"languageCode": "de"}, "imageConfig": {"aspectRatio": "1:1"}},
        {"thinkingConfig": {"includeThoughts": False, "thinkingBudget": 0}},
        {"mediaResolution": 1, "enableEnhancedCivicAnswers": False},
    ],
)
def test_settings_that_change_nothing_are_passed_over(config):
    refuse_unserved({"generation_config": decode(GENERATION_CONFIG, config)}, "models/x")
