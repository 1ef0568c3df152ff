"""Every value here was computed by hand, from the definitions that the module names."""

import random

import pytest

from tuningfork.domain.answer_scores import Measure, common_length, is_json, scores_of, words_of


def test_an_equal_answer_has_every_score_that_compares():
    scores = scores_of("LXIV", "LXIV", stopped=True)
    assert all(scores[measure] == 1 for measure in Measure if measure.compares)
    assert scores[Measure.STOP_RATE] == 1
    assert scores[Measure.VALID_JSON] == 0


def test_case_punctuation_and_white_space_matter_to_the_exact_match_alone():
    scores = scores_of("Paris, France", "  paris france.", stopped=True)
    assert scores[Measure.EXACT_MATCH] == 0
    assert scores[Measure.NORMALIZED_MATCH] == scores[Measure.ROUGE_L] == scores[Measure.TOKEN_F1] == 1


def test_rouge_l_is_the_f_measure_of_the_longest_common_subsequence():
    # Lin's example (2004, section 3.1): S1 "police killed the gunman", S2 "police kill the gunman": common 3 of 4 and
    # 4 words; S3 "the gunman kill police": common 2, "the gunman".
    assert scores_of("police killed the gunman", "police kill the gunman", stopped=True)[Measure.ROUGE_L] == 0.75
    assert scores_of("police killed the gunman", "the gunman kill police", stopped=True)[Measure.ROUGE_L] == 0.5


def test_rouge_l_of_texts_of_other_lengths_weighs_precision_and_recall_alike():
    # Common "a b c", 3 words: precision 3/4, recall 3/6; harmonic mean 2 * 3 / (4 + 6) = 0.6.
    assert scores_of("a x b y c z", "a b q c", stopped=True)[Measure.ROUGE_L] == pytest.approx(0.6)


def test_token_f1_counts_words_in_any_order_and_each_as_often_as_both_have_it():
    # Expected "the cat the mat" (4), answer "mat the the the dog" (5): common the, the, mat = 3; 2 * 3 / 9.
    assert scores_of("the cat the mat", "mat the the the dog", stopped=True)[Measure.TOKEN_F1] == pytest.approx(2 / 3)
    assert scores_of("yes", "no", stopped=True)[Measure.TOKEN_F1] == 0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Don't stop!", ["don", "t", "stop"]),
        ("naïve Straße", ["naïve", "strasse"]),
        ("I\N{LATIN CAPITAL LETTER I WITH DOT ABOVE}", ["ii\N{COMBINING DOT ABOVE}"]),
        ("हिन्दी भाषा", ["हिन्दी", "भाषा"]),
        ("中文ok测试", ["中", "文", "ok", "测", "试"]),
        ("-5 degrees, minus-sign a-5", ["-5", "degrees", "minus", "sign", "a", "5"]),
        ("3.5% of $20", ["3", "5", "of", "$", "20"]),
        ("1+1=2", ["1", "+", "1", "=", "2"]),
        ("\N{FULLWIDTH LATIN CAPITAL LETTER A}\N{FULLWIDTH DIGIT ONE}", ["a1"]),
        ("...", []),
    ],
)
def test_words_are_those_of_any_script(text, words):
    assert words_of(text) == words


def test_a_minus_sign_changes_a_number():
    assert scores_of("5", "-5", stopped=True)[Measure.NORMALIZED_MATCH] == 0
    assert scores_of("3.5", "35", stopped=True)[Measure.NORMALIZED_MATCH] == 0


@pytest.mark.parametrize(
    ("expected", "answer", "score"), [("?!", " ?! ", 1), ("?!", "!?", 0), ("", "", 1), ("", "a", 0)]
)
def test_texts_without_words_are_compared_as_they_are(expected, answer, score):
    scores = scores_of(expected, answer, stopped=True)
    assert scores[Measure.NORMALIZED_MATCH] == scores[Measure.ROUGE_L] == scores[Measure.TOKEN_F1] == score


def test_an_answer_that_was_cut_off_has_no_stop():
    assert scores_of("a", "a", stopped=False)[Measure.STOP_RATE] == 0


@pytest.mark.parametrize("text", ['{"a": [1, null]}', " 7 ", '"x"', "[]"])
def test_one_json_value_is_valid_json(text):
    assert is_json(text)


@pytest.mark.parametrize("text", ["", "{'a': 1}", "[1,]", "NaN", "1 2", "[" * 100_000])
def test_anything_else_is_not(text):
    assert not is_json(text)


def test_the_length_of_a_common_subsequence_is_that_of_the_textbook():
    chance = random.Random(7)
    for _ in range(200):
        first = chance.choices("abcd", k=chance.randrange(12))
        second = chance.choices("abcd", k=chance.randrange(12))
        assert common_length(first, second) == _textbook(first, second), (first, second)


def _textbook(first, second):
    """By the table of all prefixes (Wagner and Fischer 1974)."""
    row = [0] * (len(second) + 1)
    for word in first:
        before = row
        row = [0]
        for index, other in enumerate(second):
            row.append(before[index] + 1 if word == other else max(before[index + 1], row[index]))
    return row[-1]
