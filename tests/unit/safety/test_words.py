"""A text as words, in the forms under which a list may know them."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuningfork.safety.words import LONGEST_WORD, Words, normal_form


def forms_of(text, at=-1):
    words = list(Words().add(text, last=True))
    return {form.text for form in words[at].forms}


def words_of(*pieces):
    words = Words()
    found = [word for piece in pieces for word in words.add(piece, last=False)]
    return found + list(words.add("", last=True))


def test_words_are_what_stands_between_spaces_and_signs():
    assert normal_form("Don't stop, l'école; kill-joy_x 42!") == (
        *("don", "t", "stop", "l", "école", "kill", "joy", "x", "42"),
    )


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("KiLL", "kill"),
        ("\uff4b\uff49\uff4c\uff4c", "kill"),
        ("k\u00edll", "kill"),
        ("ki\u0301ll", "kill"),
        ("ki\u200bll", "kill"),
        ("k1ll", "kill"),
        ("ki11", "kill"),
        ("@ss", "ass"),
        ("$hit", "shit"),
        ("sh!t", "shit"),
        ("f*ck", "fck"),
        ("b\u043emb", "bomb"),
        ("kiiiiill", "kill"),
        ("buuuuutt", "butt"),
        ("b00000mb", "bomb"),
        ("\U0001d4c0\U0001d4be\U0001d4c1\U0001d4c1", "kill"),
        ("k i l l", "kill"),
        ("k.i.l.l", "kill"),
        ("k_i_l_l", "kill"),
        ("k-i-l-l", "kill"),
        ("stra\u00dfe", "strasse"),
    ],
)
def test_a_word_in_disguise_has_the_form_of_the_word(written, meant):
    assert meant in forms_of(written)


def test_the_first_form_keeps_accents_because_they_make_other_words():
    assert normal_form("T\u00f6ten toten a\u00f1o") == ("töten", "toten", "año")


def test_words_of_one_letter_are_not_put_together_across_wide_gaps():
    assert "kill" not in forms_of("k i  l l")
    assert "shut" in forms_of("s h u t  u p", at=3)


def test_what_is_written_in_another_script_stays_what_it_is():
    assert forms_of("вода") == {"вода"}


def test_the_end_of_a_sentence_is_noticed():
    assert [word.breaks for word in words_of("One two. Three! Four, five\nsix")] == [
        *(False, False, True, True, False, True),
    ]


def test_a_word_without_end_is_cut_and_not_waited_for():
    words = Words()
    found = list(words.add("x" * 1000, last=False))

    assert [word.begin for word in found] == [LONGEST_WORD * number for number in range(len(found))]
    assert 1000 - words.open_from <= LONGEST_WORD


def test_an_unfinished_word_is_open_from_its_first_letter():
    words = Words()
    list(words.add("hello wor", last=False))
    assert words.open_from == 6
    list(words.add("ld ", last=False))
    assert words.open_from == 12


TRICKY = st.text(st.sampled_from("ab kK1!*@$_.-\n\u200b\u0301éß\u044f\u043e\U0001d4c0\u24c0漢"), max_size=120)


@given(TRICKY, st.lists(st.integers(0, 120), max_size=6))
def test_how_a_text_is_cut_changes_no_word(text, cuts):
    places = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    pieces = [text[begin:end] for begin, end in pairwise(places)]

    assert words_of(*pieces) == words_of(text)


@given(st.text(max_size=200))
def test_any_text_has_words_that_lie_in_it(text):
    begins = [word.begin for word in words_of(text)]

    assert begins == sorted(begins)
    assert all(0 <= begin < len(text) for begin in begins)
