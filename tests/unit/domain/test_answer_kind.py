"""The kind of answers in a dataset, and which kinds have one right answer to each input."""

import pytest

from tuningfork.domain.answer_kind import LEAST_EXAMPLES, MOST_EXAMPLES, AnswerKind, AnswerSurvey
from tuningfork.domain.conversation import Conversation, Preference, Speaker, Turn


def kind_of(pairs):
    survey = AnswerSurvey()
    for text_input, output in pairs:
        survey.add(Conversation.pair(text_input, output))
    return survey.kind


def labels(count, distinct=3):
    return [(f"message {number}", f"label {number % distinct}") for number in range(count)]


STORY = "It was a long day, and the cat had nothing to say about it. "


@pytest.mark.parametrize(
    ("pairs", "kind"),
    [
        (labels(30), AnswerKind.LABELS),
        ([(f"{number} and {number + 1} are numbers", str(number)) for number in range(30)], AnswerKind.EXTRACTS),
        ([(f"{number} people", f'{{"people": {number}}}') for number in range(30)], AnswerKind.JSON),
        ([(f"{number} people", f"[{number}]") for number in range(30)], AnswerKind.JSON),
        ([(f"tell {number}", STORY + str(number)) for number in range(30)], AnswerKind.FREE),
        # Each answer is short, and none occurs twice.
        ([(f"name {number}", f"cat {number}") for number in range(30)], AnswerKind.FREE),
        # Few texts, and none of them short.
        ([(f"tell {number}", STORY + str(number % 3)) for number in range(30)], AnswerKind.FREE),
        # Brackets alone make no JSON, and a number alone is an ordinary text.
        ([(f"tell {number}", f"{{{STORY}{number}}}") for number in range(30)], AnswerKind.FREE),
        ([(f"tell {number}", str(number + 7_000)) for number in range(30)], AnswerKind.FREE),
        ([(f"tell {number}", "[" * 3_000 + str(number)) for number in range(30)], AnswerKind.FREE),
        ([], AnswerKind.FREE),
    ],
)
def test_a_dataset_has_a_kind_of_answers(pairs, kind):
    assert kind_of(pairs) is kind


def test_few_examples_say_nothing():
    assert kind_of(labels(LEAST_EXAMPLES - 1, distinct=1)) is AnswerKind.FREE
    assert kind_of(labels(LEAST_EXAMPLES, distinct=1)) is AnswerKind.LABELS


def test_a_few_faulty_examples_do_not_matter():
    faulty = [(f"odd {number}", STORY + str(number)) for number in range(2)]

    assert kind_of(labels(28) + faulty) is AnswerKind.LABELS
    assert kind_of(labels(28) + faulty * 4) is AnswerKind.FREE


def test_where_one_input_has_several_answers_many_are_right():
    colours = [("name a colour", ("red", "blue", "green")[number % 3]) for number in range(30)]

    assert kind_of(colours) is AnswerKind.FREE
    assert kind_of([("name a colour", "red")] * 30) is AnswerKind.LABELS


def test_labels_are_at_most_half_as_many_as_the_examples():
    assert kind_of(labels(30, distinct=15)) is AnswerKind.LABELS
    assert kind_of(labels(30, distinct=16)) is AnswerKind.FREE


def test_only_the_first_examples_of_a_large_dataset_count():
    rest = [(f"tell {number}", STORY + str(number)) for number in range(2 * MOST_EXAMPLES)]

    assert kind_of([*labels(MOST_EXAMPLES), *rest]) is AnswerKind.LABELS


def test_the_last_learned_answer_of_a_conversation_counts_and_the_chosen_one_of_a_preference():
    survey = AnswerSurvey()
    for number in range(20):
        survey.add(
            Conversation(
                turns=(
                    Turn.said(Speaker.USER, f"hello {number}"),
                    Turn.said(Speaker.MODEL, STORY * number),
                    Turn.said(Speaker.USER, "short?"),
                    Turn.said(Speaker.MODEL, "yes"),
                    Turn.said(Speaker.MODEL, STORY, 0),
                )
            )
        )
        prompt = Conversation(turns=(Turn.said(Speaker.USER, f"and {number}"),))
        survey.add(Preference(prompt=prompt, chosen=("no",), rejected=(STORY,)))

    assert survey.kind is AnswerKind.LABELS


def test_an_answer_of_another_turn_is_an_extract_too():
    survey = AnswerSurvey()
    for number in range(20):
        turns = (Turn.said(Speaker.USER, "who came?"), Turn.said(Speaker.MODEL, f"guest {number}"))
        survey.add(Conversation(system_instruction=f"guest {number} came at noon.", turns=turns))

    # The same question is not the same input where the system instruction differs.
    assert survey.kind is AnswerKind.EXTRACTS


def test_all_kinds_but_free_texts_want_the_likeliest_token():
    assert [kind for kind in AnswerKind if not kind.wants_likeliest] == [AnswerKind.FREE]
