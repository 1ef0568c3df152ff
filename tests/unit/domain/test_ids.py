"""Ids from random bits."""

import re

from hypothesis import given
from hypothesis import strategies as st

from tuningfork.domain.ids import ID_BITS, number_of, random_id


@given(entropy=st.integers(0, 2**ID_BITS - 1))
def test_an_id_is_twelve_small_letters_and_digits(entropy):
    assert re.fullmatch(r"[a-z0-9]{12}", random_id(entropy))


@given(one=st.integers(0, 2**ID_BITS - 1), other=st.integers(0, 2**ID_BITS - 1))
def test_other_bits_make_another_id(one, other):
    assert (random_id(one) == random_id(other)) == (one == other)


@given(texts=st.lists(st.text(max_size=9), min_size=1, max_size=3))
def test_a_number_of_texts_is_positive_and_of_at_most_19_digits(texts):
    assert 0 < number_of(*texts) < 2**ID_BITS
    assert number_of(*texts) == number_of(*texts)


def test_texts_that_are_split_otherwise_have_another_number():
    assert len({number_of("ab", "c"), number_of("a", "bc"), number_of("abc"), number_of("c", "ab")}) == 4
