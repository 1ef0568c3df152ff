"""What is taught and what is asked."""

from tuningfork.tutorial import lesson

ROMAN = set("IVXLCDM")
JAPANESE = set("〇一二三四五六七八九十百千")


def test_the_request_is_the_tutorials():
    request = lesson.request()

    assert len(request.examples) == 15
    assert request.base_model == "models/gemini-1.0-pro-001"
    assert request.display_name == "number generator"
    assert request.hyperparameters.epoch_count == 5
    assert request.hyperparameters.batch_size == 4
    assert request.hyperparameters.learning_rate == 0.001


def test_the_examples_hold_no_roman_and_no_japanese_numeral():
    letters = {letter for pair in lesson.EXAMPLES for text in pair for letter in text}

    assert not letters & (ROMAN | JAPANESE)


def test_no_question_is_answered_by_an_example():
    assert lesson.shown_before() == ()


def test_every_notation_is_asked_more_than_once():
    prompts = [question.prompt for question in lesson.QUESTIONS]

    assert len(set(prompts)) == len(prompts)
    assert sum(set(prompt) <= ROMAN for prompt in prompts) >= 2
    assert sum(set(prompt) <= JAPANESE for prompt in prompts) >= 2
    assert sum(prompt.startswith("-") for prompt in prompts) >= 2
    assert sum("," in prompt for prompt in prompts) >= 2
    assert sum(prompt.isascii() and prompt.islower() for prompt in prompts) >= 2
    assert sum(prompt.isdecimal() for prompt in prompts) >= 2


def test_the_right_answers_in_digits_are_one_more():
    def value(text):
        return int(text.replace(",", ""))

    in_digits = [question for question in lesson.QUESTIONS if question.prompt[-1].isdigit()]

    assert all(value(question.successor) == value(question.prompt) + 1 for question in in_digits)
