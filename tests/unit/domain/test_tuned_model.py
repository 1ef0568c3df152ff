"""Names of tuned models, as the service has been seen to give them."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuningfork.domain.tuned_model import new_id, violations_of_chosen_id
from tuningfork.wire.gemini.names import tuned_id

ENTROPY = 0x2A5B_3C1D_9E8F_7A6B


@pytest.mark.parametrize(
    ("display_name", "slug"),
    [
        ("number generator model", "number-generator-model"),
        ("number generator", "number-generator"),
        ("number generator 100", "number-generator-100"),
        ("test_number_generator", "testnumbergenerator"),
        ("Sentence Translator", "sentence-translator"),
    ],
)
def test_a_name_is_the_slug_of_the_display_name_and_a_random_suffix(display_name, slug):
    assert re.fullmatch(rf"{slug}-[a-z0-9]{{11,12}}", new_id(display_name, ENTROPY))


@pytest.mark.parametrize("display_name", ["", "七", "!?", "---", " "])
def test_a_display_name_without_usable_characters_leaves_the_suffix_alone(display_name):
    assert re.fullmatch(r"[a-z][a-z0-9]{10,11}", new_id(display_name, ENTROPY))


@pytest.mark.parametrize("display_name", ["7 samurai", "-3", "100"])
def test_a_slug_that_begins_with_a_digit_gets_a_letter(display_name):
    assert new_id(display_name, ENTROPY)[0].isalpha()


@given(display_name=st.text(max_size=80), entropy=st.integers(0, 2**62 - 1))
def test_every_name_suits_the_permission_helper_of_the_google_sdk(display_name, entropy):
    assert re.fullmatch(r"[a-z](([a-z0-9-]{0,61}[a-z0-9])?)", new_id(display_name, entropy))


def test_other_entropy_gives_another_name():
    names = {new_id("number generator", entropy * 36**11) for entropy in range(36)}
    assert len(names) == 36


@pytest.mark.parametrize("chosen", ["a", "my-model-2", "a" * 40, "z9"])
def test_a_chosen_id_of_the_documented_pattern_is_accepted(chosen):
    assert violations_of_chosen_id(chosen, "tuned_model_id") == ()


@pytest.mark.parametrize("chosen", ["", "A", "9lives", "-a", "a-", "a" * 41, "a_b", "a b", "a/b", "ä", "a\n"])
def test_a_chosen_id_outside_the_pattern_is_refused_with_the_pattern(chosen):
    (violation,) = violations_of_chosen_id(chosen, "tuned_model_id")
    assert violation.field == "tuned_model_id"
    assert "[a-z]([a-z0-9-]{0,38}[a-z0-9])?" in violation.description
    assert repr(chosen) in violation.description


@pytest.mark.parametrize("chosen", ["a", "number-generator-model-dzlmi0gswwqb", "7" * 63])
def test_a_name_holds_its_id(chosen):
    assert tuned_id(f"tunedModels/{chosen}") == chosen


@pytest.mark.parametrize(
    "name", ["", "a", "models/a", "tunedModels/", "tunedModels/A", "tunedModels/a/b", "tunedModels/a\n", "x" * 100]
)
def test_any_other_text_is_no_name(name):
    assert tuned_id(name) is None
