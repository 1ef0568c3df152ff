"""The bytes of tokens: together they are the text that was cut, whatever kind of tokenizer cut it."""

import pytest

from tokenizer_kinds import KINDS, chat_of

TEXTS = ("Hello,  world!\n\tAnd 12345.", "Zürich 東京 😀", "", "a <|end|> and a <think> that somebody wrote", "\ue000")


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"llama2"}))
def test_the_bytes_of_a_texts_tokens_are_its_own(kind, text):
    ids, pieces = chat_of(kind).tokens_of(text)

    assert len(ids) == len(pieces)
    assert b"".join(pieces) == text.encode()


def test_a_tokenizer_that_writes_a_space_in_front_of_a_text_says_so():
    _, pieces = chat_of("llama2").tokens_of("Zürich 東京")

    assert b"".join(pieces) == " Zürich 東京".encode()


def test_control_tokens_in_a_text_are_cut_like_any_text():
    chat = chat_of("llama3")

    ids, _ = chat.tokens_of("<|end|>")

    assert not set(ids) & chat.end_of_turn_ids
