"""Long texts in pieces."""

from hypothesis import given
from hypothesis import strategies as st

from tuningfork.classification.windows import pieces_of, windows_of


def test_a_short_text_is_one_piece():
    assert windows_of(3, 8) == [slice(0, 8)]
    assert windows_of(0, 8) == [slice(0, 8)]
    assert pieces_of("some text", [(0, 4), (5, 9)], 8) == ["some text"]


@given(st.integers(0, 500), st.integers(1, 64))
def test_every_token_and_every_neighbourhood_is_in_a_piece(tokens, size):
    pieces = [range(tokens)[piece] for piece in windows_of(tokens, size)]

    assert {token for piece in pieces for token in piece} == set(range(tokens))
    assert all(len(piece) == min(size, tokens) for piece in pieces)
    neighbours = max(1, size // 4)
    for start in range(tokens - neighbours + 1):
        assert any(set(range(start, start + neighbours)) <= set(piece) for piece in pieces)


@given(st.integers(0, 5_000), st.integers(4, 64))
def test_the_pieces_together_are_not_much_longer_than_the_text(tokens, size):
    assert sum(len(range(tokens)[piece]) for piece in windows_of(tokens, size)) <= tokens * 4 / 3 + size


def test_pieces_are_cut_where_tokens_are():
    text = "one two three four"
    offsets = [(0, 3), (4, 7), (8, 13), (14, 18)]

    assert pieces_of(text, offsets, 3) == ["one two three", "two three four"]
