"""The metrics of the example programs, on answers whose scores are known."""

import pytest

import bank_messages
import dialogue_summaries
import garden_chat
import metrics
import passage_questions
import table_bookings

PROGRAMS = (bank_messages, dialogue_summaries, passage_questions, table_bookings)


def test_an_exact_match_is_one_in_any_case_and_punctuation():
    assert metrics.exact_match(["The mill.", "a mill", ""], ["the mill", "the mill", "the mill"]) == pytest.approx(
        1 / 3
    )


def test_what_is_expected_is_contained_as_whole_words():
    assert metrics.contained(["It stood at the Mill, they say.", "at the millpond"], ["the mill", "the mill"]) == 0.5


def test_a_copied_answer_stands_in_its_source_letter_by_letter():
    assert metrics.copied(["the Mill", "the mill", ""], ["by the Mill"] * 3) == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("answer", "expected", "score"),
    [
        ("police killed the gunman", "police killed the gunman", 1.0),
        # Lin (2004), section 3.1: 3 of 4 words in order, and 2 of 4.
        ("police kill the gunman", "police killed the gunman", 0.75),
        ("the gunman kill police", "police killed the gunman", 0.5),
        # Recall 2/2, precision 2/4.
        ("so: A! or b?", "a b", 2 * 1.0 * 0.5 / 1.5),
        ("", "a b", 0.0),
        ("c", "a b", 0.0),
        ("", "", 0.0),
    ],
)
def test_rouge_l_is_the_f1_of_the_longest_common_subsequence(answer, expected, score):
    assert metrics.rouge_l_of(answer, expected) == pytest.approx(score)
    assert metrics.rouge_l([answer, answer], [expected, expected]) == pytest.approx(score)


@pytest.mark.parametrize(
    ("one", "other", "length"), [("abcbdab", "bdcaba", 4), ("", "abc", 0), ("abc", "abc", 3), ("aaa", "aa", 2)]
)
def test_a_longest_common_subsequence_keeps_the_order(one, other, length):
    assert metrics.longest_common_subsequence(one, other) == length


def test_a_name_counts_as_a_word_of_its_own_and_in_its_case():
    answers = ["Rosa's bag is lost.", "#Person1# has a rosa bag.", "Rosalind is late.", "#Person2# met Liam."]

    assert metrics.naming(answers, ["Rosa", "Liam"]) == 0.5


def test_shares_and_means_of_nothing_are_0():
    assert (metrics.share([]), metrics.mean([])) == (0.0, 0.0)


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)
def test_the_expected_answers_have_the_best_score_and_silence_the_worst(program):
    best = program.score([row["output"] for row in program.HELD_OUT])
    worst = program.score([""] * len(program.HELD_OUT))

    assert {metric: value for metric, value in best.items() if value != (metric != "with a name left in")} == {}
    assert set(worst.values()) == {0.0}


@pytest.mark.parametrize(
    ("answer", "kind", "kept"),
    [
        ("Listen, gardener. Water it. — Fern", "garden", True),
        ("Listen, gardener. Water it.", "garden", False),
        ("Water it. — Fern", "garden", False),
        ("Listen, gardener. Water it! — Fern", "garden", False),
        ("Sorry, gardener. I am a language model. — Fern", "garden", False),
        (f"Listen, gardener. {'Water ' * 60} — Fern", "garden", False),
        (garden_chat.REFUSAL, "garden", False),
        (garden_chat.REFUSAL, "elsewhere", True),
        ("Canberra, gardener. — Fern", "elsewhere", False),
    ],
)
def test_a_role_is_kept_or_not(answer, kind, kept):
    assert garden_chat.keeps_role(answer, kind) is kept


def test_a_chat_is_scored_by_kind():
    answers = [garden_chat.REFUSAL] * len(garden_chat.HELD_OUT)

    assert garden_chat.score(answers) == {
        "keeps the role": 0.32,
        "keeps the role, garden": 0.0,
        "keeps the role, elsewhere": 1.0,
    }


BOOKING = {"surname": "Ito", "day": "Friday", "time": "19:30", "guests": 2, "seating": "any"}


@pytest.mark.parametrize(
    "change", [{"day": "today"}, {"time": "7 pm"}, {"time": 19}, {"guests": "2"}, {"guests": True}, {"guests": 0},
               {"seating": ""}, {"surname": None}, {"day": ["Friday"]}, {"more": 1}]
)  # fmt: skip
def test_what_lacks_the_fields_of_a_booking_is_none(change):
    assert table_bookings.is_booking(BOOKING)
    assert not table_bookings.is_booking(BOOKING | change)
    assert not table_bookings.is_booking({"surname": "Ito"})
    assert not table_bookings.is_booking(None)


@pytest.mark.parametrize("answer", ["", "[1]", "Here you are: {}", '{"day": "Friday"', "7"])
def test_only_a_json_object_holds_a_booking(answer):
    assert table_bookings.booking_in(answer) is None


def test_values_are_counted_one_by_one():
    answers = [row["output"].replace('"seating"', '"place"') for row in table_bookings.HELD_OUT]

    assert table_bookings.score(answers) == pytest.approx(
        {"valid JSON": 1.0, "the fields of a booking": 0.0, "right values": 0.8, "right bookings": 0.0}
    )
