"""Streaming text equals the whole text's decoding, and never shows half a character."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from tuningfork.inference.detokenizer import Detokenizer, TokenTexts

LONG_WORDS = ("the", " the", "twenty", " three", "七", "十", " é")


def byte_level_tokenizer() -> Tokenizer:
    """Single bytes and a few longer tokens, one of which ends in the middle of a character."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = [piece for word in LONG_WORDS for [(piece, _)] in [bytes_of(word)]]
    # " " with the first byte of 七.
    half = bytes_of(" ")[0][0] + bytes_of("七")[0][0][0]
    vocabulary = {token: index for index, token in enumerate([*letters, *words, half])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<end>"])
    return tokenizer


def bytes_of(text: str) -> list[tuple[str, tuple[int, int]]]:
    return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False).pre_tokenize_str(text)


def metaspace_tokenizer() -> Tokenizer:
    """SentencePiece's manner: a space is the first letter of its word, dropped at the start; bytes as fallback."""
    words = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁the", "▁two", "▁", "the", "one", "七", "▁七", "\n"]
    vocabulary = {token: index for index, token in enumerate(words)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token="<unk>", byte_fallback=True))
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.add_special_tokens(["<end>"])
    return tokenizer


BYTE_LEVEL = byte_level_tokenizer()
METASPACE = metaspace_tokenizer()
FIRST_WORD = 257
"""In METASPACE, after <unk> and the bytes."""


def stream(tokenizer: Tokenizer, tokens: list[int], lead: str = "") -> list[str]:
    detokenizer = Detokenizer(tokenizer.decode, lead=lead)
    return [*(detokenizer.push(token) for token in tokens), detokenizer.finish()]


def byte_tokens(text: str) -> list[int]:
    return [BYTE_LEVEL.token_to_id(letter) for letter in bytes_of(text)[0][0]] if text else []


@given(tokens=st.lists(st.integers(0, BYTE_LEVEL.get_vocab_size() - 1), max_size=60))
def test_pieces_of_any_byte_level_tokens_add_up_to_the_decoding_of_all(tokens):
    assert "".join(stream(BYTE_LEVEL, tokens)) == BYTE_LEVEL.decode(tokens)


@given(text=st.text(max_size=40))
def test_a_text_in_single_bytes_comes_character_by_character(text):
    pieces = stream(BYTE_LEVEL, byte_tokens(text))
    assert "".join(pieces) == text
    broken = "\ufffd"
    assert all(broken not in piece for piece in pieces) or broken in text


@given(
    tokens=st.lists(
        st.one_of(
            st.integers(FIRST_WORD, METASPACE.get_vocab_size() - 1).map(lambda token: [token]),
            st.characters(codec="utf-8", exclude_characters=" ").map(
                lambda character: [METASPACE.token_to_id(f"<0x{byte:02X}>") for byte in character.encode()]
            ),
        ),
        max_size=30,
    ).map(lambda runs: [token for run in runs for token in run])
)
def test_words_with_leading_spaces_add_up_to_the_decoding_of_all(tokens):
    assert "".join(stream(METASPACE, tokens)) == METASPACE.decode(tokens)


def test_a_character_of_three_tokens_appears_once_it_is_whole():
    assert stream(BYTE_LEVEL, byte_tokens("七a")) == ["", "", "七", "a", ""]


def test_text_before_an_unfinished_character_is_shown_at_once():
    half = BYTE_LEVEL.get_vocab_size() - 2
    first, second = byte_tokens("七")[1:]
    assert stream(BYTE_LEVEL, [half, first, second]) == [" ", "", "七", ""]


def test_bytes_that_never_become_a_character_appear_at_the_end():
    assert stream(BYTE_LEVEL, byte_tokens("a七")[:-1]) == ["a", "", "", "\ufffd"]


@pytest.mark.parametrize("character", ["é", "七", "🙂"])
@pytest.mark.parametrize("tokenizer", [BYTE_LEVEL, METASPACE], ids=["byte-level", "byte-fallback"])
def test_a_character_that_a_limit_cuts_is_left_out(tokenizer, character):
    if tokenizer is BYTE_LEVEL:
        tokens = byte_tokens(f"a{character}")
    else:
        tokens = [tokenizer.token_to_id(f"<0x{byte:02X}>") for byte in f"a{character}".encode()]
    for kept in range(1, len(tokens)):
        detokenizer = Detokenizer(tokenizer.decode)
        pieces = [*(detokenizer.push(token) for token in tokens[:kept]), detokenizer.finish(is_cut=True)]
        assert "".join(pieces) == "a"


def test_a_limit_after_a_whole_character_cuts_nothing():
    detokenizer = Detokenizer(BYTE_LEVEL.decode)
    pieces = [*(detokenizer.push(token) for token in byte_tokens("a七")), detokenizer.finish(is_cut=True)]
    assert "".join(pieces) == "a七"


def test_a_flood_of_broken_bytes_is_not_held_back_for_ever_and_breaks_no_character_after_it():
    stray = byte_tokens("七")[1]
    tokens = [stray] * 100 + byte_tokens("七")
    pieces = stream(BYTE_LEVEL, tokens)
    assert "\ufffd" in "".join(pieces[:50])
    assert "".join(pieces) == "\ufffd" * 100 + "七"


def test_control_tokens_are_no_text_and_cost_no_space():
    end = METASPACE.token_to_id("<end>")
    the = METASPACE.token_to_id("▁the")
    assert "".join(stream(METASPACE, [end, the, end, the])) == "the the"


@pytest.mark.parametrize(
    ("text", "shown"), [("> yes", "yes"), ("yes", "yes"), (">yes", ">yes"), (">", ">"), ("> ", ""), ("", "")]
)
def test_what_the_model_was_taught_to_write_before_its_answer_is_left_out(text, shown):
    assert "".join(stream(BYTE_LEVEL, byte_tokens(text), lead="> ")) == shown


@pytest.mark.parametrize("build", [byte_level_tokenizer, metaspace_tokenizer])
def test_single_tokens_show_the_space_that_they_begin_with(build):
    tokenizer = build()
    texts = token_texts(tokenizer)
    spaced = next(tokenizer.token_to_id(each) for each in ("Ġthe", "▁the") if tokenizer.token_to_id(each) is not None)
    assert (texts[spaced], texts[tokenizer.token_to_id("the")]) == (" the", "the")


@pytest.mark.parametrize("build", [byte_level_tokenizer, metaspace_tokenizer])
def test_a_control_token_shows_its_name(build):
    tokenizer = build()
    assert token_texts(tokenizer)[tokenizer.token_to_id("<end>")] == "<end>"


@pytest.mark.parametrize(("build", "token"), [(byte_level_tokenizer, "ä"), (metaspace_tokenizer, "<0xE4>")])
def test_a_token_that_is_half_a_character_shows_that_it_is(build, token):
    tokenizer = build()
    assert token_texts(tokenizer)[tokenizer.token_to_id(token)] == "\ufffd"


def token_texts(tokenizer: Tokenizer) -> TokenTexts:
    anchor = next(index for each in ("one", "a") if (index := tokenizer.token_to_id(each)) is not None)
    return TokenTexts(lambda tokens: tokenizer.decode(list(tokens), skip_special_tokens=False), anchor=anchor)
