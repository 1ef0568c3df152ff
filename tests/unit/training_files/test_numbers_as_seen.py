"""Numbers look as they do in a spreadsheet program."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuningfork.training_files.numbers_as_seen import formatted, general


@pytest.mark.parametrize(
    ("value", "seen"),
    [
        (1, "1"),
        (1.0, "1"),
        (-0.0, "0"),
        (0.1 + 0.2, "0.3"),
        (1 / 3, "0.333333333333333"),
        (2.50, "2.5"),
        (491761234567.0, "491761234567"),
        (1e20, "100000000000000000000"),
        (1e21, "1E+21"),
        (1.5e-7, "1.5E-07"),
        (0.00001, "0.00001"),
        (10**30, "1000000000000000000000000000000"),
        (float("nan"), None),
        (float("inf"), None),
    ],
)
def test_a_number_without_a_format(value, seen):
    assert general(value) == seen
    assert formatted(value, "General") == seen


@pytest.mark.parametrize(
    ("value", "number_format", "seen"),
    [
        (0.5, "0%", "50%"),
        (0.125, "0.0%", "12.5%"),
        (1234.5, "0.00", "1234.50"),
        (1234.5, "#,##0.00", "1,234.50"),
        (1234567, "#,##0", "1,234,567"),
        (0.125, "0.00", "0.13"),
        (2.5, "0", "3"),
        (-2.5, "0", "-3"),
        (-0.2, "0", "0"),
        (42, "00000", "00042"),
        (7, "000-00", "7"),
        (1.5, "0.##", "1.5"),
        (1, "0.##", "1"),
        (12.5, '"$"#,##0.00', "$12.50"),
        (12.5, "[$€-407] #,##0.00", "€ 12.50"),
        (-12.5, "$#,##0.00;[Red]-$#,##0.00", "-$12.50"),
        (3, '0 "kg"', "3 kg"),
        (3, r"0\ \k\g", "3 kg"),
        (1234.5, '_-* #,##0.00\\ "€"_-;-* #,##0.00', "1,234.50 €"),
        (123456, "0.00E+00", "1.23E+05"),
        (5, "@", "5"),
        (0.75, "# ?/?", "0.75"),
        (5, "no such format [", "5"),
        (float("nan"), "0.00", None),
        (10**25, "0.0", "10000000000000000000000000"),
    ],
)
def test_a_number_under_a_format(value, number_format, seen):
    assert formatted(value, number_format) == seen


@given(st.integers())
def test_integers_are_their_digits(value):
    assert general(value) == str(value)


@given(st.floats(-1e300, 1e300))
def test_what_is_seen_is_the_number_to_fifteen_digits(value):
    assert float(general(value)) == pytest.approx(value, rel=1e-14, abs=5e-324)


@given(st.floats(), st.text(alphabet='0#,.%E+;[]"$€\\_*@-? kg'))
def test_no_format_is_a_surprise(value, number_format):
    seen = formatted(value, number_format)

    assert seen is None or isinstance(seen, str)
