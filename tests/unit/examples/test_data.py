"""The examples' data: what `make_data` makes, with nothing of the held-out part in training."""

import json
import re
from collections import Counter
from itertools import combinations

import pytest

import bank_messages
import garden_chat
import make_data
import service
import table_bookings
from tuningfork.client import read_training_data

CASES = list(make_data.CASES)
HELD_OUT_PARTS = [(case, part) for case in CASES for part in ("held-out", *make_data.FURTHER_PARTS.get(case, ()))]
ALL_PARTS = [*((case, "training") for case in CASES), *HELD_OUT_PARTS]
OVERLAPPING_WORDS = 5
"""Of a sequence that held-out texts should not share with training."""
MOST_CHARACTERS = 1_500
"""Of an example, some 500 tokens: short for a model with a context of 8,192 tokens."""


def rows(case, part):
    return service.read(make_data.path_of(case, part).name)


def given(row):
    """What the model is given: the text, or all messages of the user."""
    messages = row.get("messages")
    if messages is None:
        return row["text_input"]
    return "\n".join(each["content"] for each in messages if each["role"] == "user")


def sequences(text):
    found = re.findall(r"[a-z0-9]+", text.lower())
    return {tuple(found[at : at + OVERLAPPING_WORDS]) for at in range(len(found) - OVERLAPPING_WORDS + 1)}


@pytest.mark.parametrize(("case", "part"), ALL_PARTS)
def test_a_file_is_what_the_texts_make(case, part):
    assert make_data.path_of(case, part).read_text(encoding="utf-8") == make_data.made(case, part), (
        "run: python examples/make_data.py"
    )


@pytest.mark.parametrize(("case", "held_out_part"), HELD_OUT_PARTS)
def test_there_are_enough_examples_and_no_two_of_a_part_are_the_same(case, held_out_part):
    training, held_out = rows(case, "training"), rows(case, held_out_part)

    assert 100 <= len(training) <= 500
    assert len(held_out) >= 100
    for part in (training, held_out):
        assert len({json.dumps(row) for row in part}) == len(part)


@pytest.mark.parametrize(("case", "held_out_part"), HELD_OUT_PARTS)
def test_no_held_out_text_is_in_training(case, held_out_part):
    seen = {given(row) for row in rows(case, "training")}
    known = set().union(*(sequences(text) for text in seen))
    shares = []
    for row in rows(case, held_out_part):
        own = sequences(given(row))
        shares.append(len(own & known) / max(1, len(own)))
        assert given(row) not in seen

    assert max(shares) <= 0.1
    assert sum(shares) / len(shares) <= 0.01


def test_no_word_for_a_slot_is_in_both_parts():
    training, held_out = (make_data.words(part, further=True) for part in make_data.PARTS)
    shared = {kind: set(training[kind]) & set(held_out[kind]) for kind in training if kind != "day"}

    assert training.keys() == held_out.keys()
    assert {kind: words for kind, words in shared.items() if words} == {}


def test_no_person_has_the_name_of_another_part():
    training, held_out = (
        {name for kind in make_data.NAMES for name in make_data.words(part, further=True)[kind]}
        for part in make_data.PARTS
    )

    assert training & held_out == set()


@pytest.mark.parametrize("part", make_data.PARTS)
@pytest.mark.parametrize("case", [case for case in CASES if case not in {"bank_messages", "garden_chat"}])
def test_the_frames_are_many_and_differ(case, part):
    frames = make_data.blocks(case, part)

    assert len(frames) >= {"training": 40, "held-out": 30}[part]
    for one, other in combinations(map(sequences, frames), 2):
        assert len(one & other) <= 0.2 * min(len(one), len(other))


@pytest.mark.parametrize("case", CASES)
def test_the_command_line_reads_what_is_for_training(case):
    data = read_training_data(make_data.path_of(case, "training"))

    assert len(data.examples) == len(rows(case, "training"))


@pytest.mark.parametrize("case", CASES)
def test_examples_are_short(case):
    lengths = [len(json.dumps(row, ensure_ascii=False)) for part in make_data.PARTS for row in rows(case, part)]

    assert max(lengths) <= MOST_CHARACTERS


@pytest.mark.parametrize("part", make_data.PARTS)
def test_messages_to_the_bank_have_ten_labels_as_often_as_each_other(part):
    counts = Counter(row["output"] for row in rows("bank_messages", part))

    assert sorted(counts) == bank_messages.LABELS
    assert len(counts) == 10
    assert len(set(counts.values())) == 1


@pytest.mark.parametrize("part", make_data.PARTS)
def test_a_summary_names_only_speakers_of_its_dialogue(part):
    names = {name for kind in make_data.NAMES for name in make_data.words(part)[kind]}
    for row in rows("dialogue_summaries", part):
        speakers = set(re.findall(r"#\w+#", row["text_input"]))

        assert speakers == {"#Person1#", "#Person2#"}
        assert all(re.match(r"#Person[12]#: \S", turn) for turn in row["text_input"].splitlines())
        assert set(re.findall(r"#\w+#", row["output"])) <= speakers
        assert "#Person" in row["output"]
        assert names.isdisjoint(re.findall(r"\w+", row["output"]))


def test_most_dialogues_hold_a_name_that_their_summaries_must_leave_out():
    names = {name for part in make_data.PARTS for kind in make_data.NAMES for name in make_data.words(part)[kind]}
    held_out = rows("dialogue_summaries", "held-out")

    assert sum(not names.isdisjoint(re.findall(r"\w+", row["text_input"])) for row in held_out) >= 0.5 * len(held_out)


@pytest.mark.parametrize("part", make_data.PARTS)
def test_an_answer_stands_in_its_passage_and_not_in_its_question(part):
    for row in rows("passage_questions", part):
        passage, question = row["text_input"].split("\n\nQuestion: ")

        assert re.search(rf"(?<!\w){re.escape(row['output'])}(?!\w)", passage), row
        assert row["output"] not in question
        assert question.endswith("?")


def test_every_answer_in_training_keeps_the_role():
    for row in rows("garden_chat", "training"):
        for message in row["messages"]:
            if message["role"] == "assistant":
                kind = "elsewhere" if message["content"] == garden_chat.REFUSAL else "garden"
                assert garden_chat.keeps_role(message["content"], kind), message


def test_held_out_conversations_end_with_a_question_of_either_kind():
    held_out = rows("garden_chat", "held-out")

    assert {row["messages"][-1]["role"] for row in held_out} == {"user"}
    assert Counter(row["kind"] for row in held_out) == {"garden": 68, "elsewhere": 32}
    assert Counter(len(row["messages"]) for row in held_out) == {1: 50, 3: 50}


@pytest.mark.parametrize("part", make_data.PARTS)
def test_a_booking_is_one_and_its_surname_day_and_seating_come_from_the_message(part):
    bookings = [(row["text_input"], json.loads(row["output"])) for row in rows("table_bookings", part)]

    assert all(table_bookings.is_booking(booking) for _, booking in bookings)
    assert all(booking["surname"] in text and booking["day"] in text for text, booking in bookings)
    seatings = Counter(booking["seating"] for _, booking in bookings)
    assert min(seatings[each] for each in table_bookings.SEATINGS) >= 0.2 * len(bookings)


@pytest.mark.parametrize(
    ("text", "values", "written"),
    [
        ("{guests} of us. {guests2} more", {"{guests}": "two|2", "{guests2}": "ten|10"}, "Two of us. Ten more"),
        ("pls.. {guests} ppl at {time}", {"{guests}": "two|2", "{time}": "seven|19:00"}, "pls.. two ppl at seven"),
    ],
)
def test_slots_are_filled_with_what_is_written_before_a_bar(text, values, written):
    assert make_data.filled(text, values) == written
