"""What a wrong encoding and a spreadsheet leave in texts."""

import pytest

from tuningfork.domain.text_damage import is_damaged, is_formula, repaired


@pytest.mark.parametrize("text", ["Müller", "naïve café", "Ağaç", "дообучение", "“quoted” — said", "हिन्दी", "中文"])
@pytest.mark.parametrize("wrong", ["cp1252", "latin-1"])
def test_utf_8_that_was_read_as_another_encoding_is_repaired(text, wrong):
    try:
        damaged = text.encode().decode(wrong)
    except UnicodeDecodeError:
        pytest.skip("Windows-1252 has no character for one of these bytes")

    assert is_damaged(damaged)
    assert repaired(damaged) == text


@pytest.mark.parametrize("text", ["", "a", "plain", "Müller", "Ã", "Âme", "São Paulo", "½ Å", "MÃO", "100 € £5"])
def test_texts_that_were_never_damaged_stay(text):
    assert repaired(text) == text
    assert not is_damaged(text)


def test_lost_characters_are_damage_that_cannot_be_repaired():
    assert is_damaged("M\ufffdller")
    assert repaired("M\ufffdller") == "M\ufffdller"


@pytest.mark.parametrize("text", ["=SUM(A1:A3)", "= if(B2>1;1;0)", "#REF!", "#N/A", "#DIV/0!"])
def test_formulas_and_errors_of_spreadsheets_are_known(text):
    assert is_formula(text)


@pytest.mark.parametrize("text", ["", "=", "=)", "= 4", "#1", "#ref", "a =SUM(A1)", "E=mc2"])
def test_other_texts_are_no_formulas(text):
    assert is_formula(text) is (text == "#ref")
