"""Ids from random bits."""

import re

from hypothesis import given
from hypothesis import strategies as st

from tuningfork.domain.ids import ID_BITS, random_id


@given(entropy=st.integers(0, 2**ID_BITS - 1))
def test_an_id_is_twelve_small_letters_and_digits(entropy):
    assert re.fullmatch(r"[a-z0-9]{12}", random_id(entropy))


@given(one=st.integers(0, 2**ID_BITS - 1), other=st.integers(0, 2**ID_BITS - 1))
def test_other_bits_make_another_id(one, other):
    assert (random_id(one) == random_id(other)) == (one == other)
