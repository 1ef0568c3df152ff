"""What counts as text."""

import pytest

from tuningfork.domain.text import refusal_of


@pytest.mark.parametrize("text", ["", "LXIII", "七", "🍴", "a\0b", "\u2028"])
def test_anything_unicode_is_text(text):
    assert refusal_of(text) is None


@pytest.mark.parametrize(("text", "found"), [("\ud800", "character 0 is the lone surrogate U+D800"), ("🍴\udfff", "1")])
def test_a_lone_surrogate_is_refused_with_its_place(text, found):
    assert found in refusal_of(text)
