"""A difference gives both texts back, and shows what is the same as such."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuningfork.studio.view.text_diff import MOST_WORDS, Change, Piece, text_diff


def texts_of(pieces):
    before = "".join(piece.text for piece in pieces if piece.change != Change.ADDED)
    after = "".join(piece.text for piece in pieces if piece.change != Change.REMOVED)
    return before, after


@given(st.text(alphabet="ab \n七😀.", max_size=30), st.text(alphabet="ab \n七😀.", max_size=30))
def test_both_texts_are_in_the_difference(before, after):
    assert texts_of(text_diff(before, after)) == (before, after)


def test_a_word_that_was_replaced_is_one_piece():
    assert text_diff("the loss became small", "the loss became NaN") == (
        Piece("the loss became ", Change.SAME),
        Piece("small", Change.REMOVED),
        Piece("NaN", Change.ADDED),
    )


def test_scripts_without_blanks_are_compared_letter_by_letter():
    assert text_diff("五十四", "五十五") == (
        Piece("五十", Change.SAME),
        Piece("四", Change.REMOVED),
        Piece("五", Change.ADDED),
    )


@pytest.mark.parametrize("text", ["", "same"])
def test_equal_texts_have_no_changes(text):
    assert all(piece.change == Change.SAME for piece in text_diff(text, text))


def test_long_texts_are_compared_at_both_ends():
    middle = " ".join(f"a{n}" for n in range(MOST_WORDS))
    other = " ".join(f"b{n}" for n in range(MOST_WORDS))

    pieces = text_diff(f"first {middle} last", f"first {other} last")

    assert [piece.change for piece in pieces] == [Change.SAME, Change.REMOVED, Change.ADDED, Change.SAME]
