"""Members of a request for text: what is refused, and what is passed over."""

import pytest

from tuningfork.wire.google.config_messages import GENERATION_CONFIG
from tuningfork.wire.google.proto_json.decode import decode
from tuningfork.wire.google.served import unserved_members


def refused(members):
    return [violation.field for violation in unserved_members(members)]


@pytest.mark.parametrize(
    ("member", "value"),
    [("tools", [{"googleSearch": {}}]), ("tools", [{}]), ("cached_content", "cachedContents/x")],
)
def test_members_that_would_change_the_answer_are_refused_by_name(member, value):
    assert refused({member: value}) == [member]


@pytest.mark.parametrize(
    ("config", "field"),
    [
        ({"responseModalities": ["TEXT", "AUDIO"]}, "response_modalities"),
        ({"thinkingConfig": {"thinkingBudget": 128}}, "thinking_config.thinking_budget"),
    ],
)
def test_settings_that_would_change_the_answer_are_refused_by_name(config, field):
    assert refused({"generation_config": decode(GENERATION_CONFIG, config)}) == [f"generation_config.{field}"]


def test_every_one_of_them_is_named_at_once():
    config = {"response_modalities": ["IMAGE"], "thinking_config": {"thinking_budget": 1}}

    assert refused({"tools": [{}], "cached_content": "x", "generation_config": config}) == [
        "tools",
        "cached_content",
        "generation_config.response_modalities",
        "generation_config.thinking_config.thinking_budget",
    ]


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"responseModalities": []},
        {"responseModalities": ["text", 1]},
        {"speechConfig": {"languageCode": "de"}, "imageConfig": {"aspectRatio": "1:1"}},
        {"thinkingConfig": {"includeThoughts": True, "thinkingBudget": 0}},
        {"thinkingConfig": {"thinkingBudget": -1}},
        {"mediaResolution": 1, "enableEnhancedCivicAnswers": False},
    ],
)
def test_settings_that_change_nothing_are_passed_over(config):
    assert refused({"generation_config": decode(GENERATION_CONFIG, config)}) == []


def test_settings_of_tools_that_are_not_there_are_passed_over():
    assert refused({"tool_config": {"functionCallingConfig": {"mode": "NONE"}}}) == []
