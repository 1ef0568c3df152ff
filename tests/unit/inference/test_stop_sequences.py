"""A text ends before the stop sequence that is complete first, however it is cut into pieces."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuningfork.inference.stop_sequences import StopSequences

# Few letters, so that stop sequences occur, overlap and almost occur.
letters = st.sampled_from("abé七")
texts = st.text(letters, max_size=40)
sequences = st.lists(st.text(letters, min_size=1, max_size=5), max_size=5)


@st.composite
def cut_texts(draw) -> list[str]:
    text = draw(texts)
    cuts = draw(st.lists(st.integers(0, len(text)), max_size=10))
    return [text[begin:end] for begin, end in pairwise([0, *sorted(cuts), len(text)])]


def text_before_stop(text: str, stops: list[str]) -> tuple[str, bool]:
    """The second implementation: letter by letter over the whole text."""
    for end in range(len(text) + 1):
        endings = [stop for stop in stops if text[:end].endswith(stop)]
        if endings:
            return text[: end - max(map(len, endings))], True
    return text, False


@given(pieces=cut_texts(), stops=sequences)
def test_the_shown_text_does_not_depend_on_the_cuts(pieces, stops):
    watch = StopSequences(stops)
    shown = "".join(watch.push(piece) for piece in pieces) + watch.flush()
    assert (shown, watch.met) == text_before_stop("".join(pieces), stops)


@given(pieces=cut_texts(), stops=sequences)
def test_nothing_is_held_back_that_cannot_begin_a_stop_sequence(pieces, stops):
    watch = StopSequences(stops)
    shown = given_text = ""
    for piece in pieces:
        shown += watch.push(piece)
        given_text += piece
        held = given_text[len(shown) :]
        assert watch.met or not held or any(stop.startswith(held) and stop != held for stop in stops)


@pytest.mark.parametrize("piece", ["", "more"])
def test_nothing_comes_after_a_stop_sequence(piece):
    watch = StopSequences(["end"])
    assert watch.push("the end of it") == "the "
    assert watch.push(piece) == ""
    assert watch.flush() == ""


def test_empty_sequences_stop_nothing():
    watch = StopSequences([""])
    assert watch.push("all of it") == "all of it"
    assert not watch.met
