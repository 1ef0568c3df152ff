"""The catalog: one base behind several public names."""

from dataclasses import replace

import pytest

from fakes import ECHO_BASE, ECHO_CATALOG
from tuningfork.domain.base_model import EMBEDDED, Alias, BaseModel, BaseModelName, Catalog, with_prefix
from tuningfork.familiar import GEMINI_LIMITS


def test_a_base_is_found_by_its_own_name_and_by_every_alias():
    for name in ("models/echo-001", "models/gemini-1.0-pro-001", "models/gemini-1.5-flash-001-tuning"):
        found = ECHO_CATALOG.find(name)
        assert found is not None
        assert (found.name, found.base) == (name, ECHO_BASE)


def test_the_prefix_may_be_left_out():
    assert ECHO_CATALOG.find("gemini-1.0-pro-001") == ECHO_CATALOG.find("models/gemini-1.0-pro-001")
    assert with_prefix("models/echo-001") == with_prefix("echo-001") == "models/echo-001"


def test_an_unknown_name_finds_nothing():
    assert ECHO_CATALOG.find("models/gemini-9.9") is None


def test_an_alias_keeps_the_limits_that_its_name_promises():
    alias, own = ECHO_CATALOG.find("gemini-1.0-pro-001"), ECHO_CATALOG.find("echo-001")
    assert (alias.limits.system_instruction, own.limits.system_instruction) == (False, True)


def test_an_alias_never_promises_more_than_the_base_can():
    alias = ECHO_CATALOG.find("gemini-1.0-pro-001")
    assert (alias.input_tokens, alias.output_tokens) == (16_384, 1_024)


def test_what_an_alias_leaves_out_is_the_bases():
    alias = ECHO_CATALOG.find("gemini-1.5-flash-001-tuning")
    assert (alias.description, alias.input_tokens, alias.output_tokens) == (ECHO_BASE.description, 16_384, 2_048)


def test_what_was_made_under_a_name_keeps_its_base_when_the_name_moves_to_another():
    larger = replace(
        ECHO_BASE,
        name=BaseModelName("models/larger"),
        location="/models/larger",
        output_tokens=8_192,
        aliases=ECHO_BASE.aliases,
    )
    moved = Catalog((replace(ECHO_BASE, aliases=()), larger))

    today = moved.find("gemini-1.0-pro-001")
    earlier = moved.find("gemini-1.0-pro-001", ECHO_BASE.name)

    assert today.base == larger
    assert earlier.base.name == ECHO_BASE.name
    # The promises of the name are those that it has today, as far as the earlier base can keep them.
    assert (earlier.name, earlier.limits) == (today.name, today.limits)
    assert (earlier.input_tokens, earlier.output_tokens) == (16_384, 1_024)


def test_what_was_made_under_a_name_keeps_its_base_when_the_name_is_given_up():
    bare = Catalog((replace(ECHO_BASE, aliases=()),))
    found = bare.find("gemini-1.0-pro-001", ECHO_BASE.name)
    assert (found.name, found.base.name) == ("models/gemini-1.0-pro-001", ECHO_BASE.name)
    assert bare.find("gemini-1.0-pro-001") is None


def test_what_was_made_over_a_base_that_is_gone_finds_nothing():
    assert ECHO_CATALOG.find("gemini-1.0-pro-001", BaseModelName("models/gone")) is None


def test_public_models_come_in_catalog_order():
    assert [model.name for model in ECHO_CATALOG.public_models()] == [
        "models/echo-001",
        "models/gemini-1.0-pro-001",
        "models/gemini-1.5-flash-001-tuning",
    ]


def test_two_bases_cannot_share_a_name():
    other = replace(
        ECHO_BASE,
        name=BaseModelName("models/other"),
        location="/models/other",
        aliases=(Alias(name=BaseModelName("models/echo-001"), display_name="Echo", limits=GEMINI_LIMITS),),
    )
    with pytest.raises(ValueError, match="models/echo-001 to two base models"):
        Catalog((ECHO_BASE, other))


@pytest.mark.parametrize(
    ("location", "wanted"),
    [
        ("Qwen/Qwen3-0.6B", "Qwen/Qwen3-0.6B"),
        ("gpt2", "gpt2"),
        ("/models/qwen", "mine"),
        ("./qwen", "mine"),
        ("~/qwen", "mine"),
        (EMBEDDED, "mine"),
    ],
)
def test_exported_adapters_name_a_base_by_its_hub_id_or_its_public_name(location, wanted):
    base = BaseModel(name=BaseModelName("models/mine"), location=location, display_name="x", context_tokens=16)

    assert base.exported_name == wanted
