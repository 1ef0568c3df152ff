"""The rules that training examples must meet."""

from tuningfork.domain.base_model import Limits
from tuningfork.domain.conversation import Conversation
from tuningfork.domain.dataset import MAX_REPORTED_VIOLATIONS, violations_of
from tuningfork.familiar import GEMINI_LIMITS


def fields(examples, limits=GEMINI_LIMITS):
    return [violation.field for violation in violations_of(examples, limits, "examples")]


def test_a_dataset_at_the_limits_is_accepted():
    assert fields([Conversation.pair("x" * 40_000, "y" * 5_000)]) == []


def test_an_empty_dataset_is_refused():
    (violation,) = violations_of((), GEMINI_LIMITS, "examples")
    assert (violation.field, violation.description) == ("examples", "at least one example is required")


def test_every_fault_is_reported_with_its_index():
    examples = [
        Conversation.pair("1", "2"),
        Conversation.pair("x" * 40_001, "2"),
        Conversation.pair("3", ""),
        Conversation.pair("x" * 40_001, "y" * 5_001),
    ]
    assert fields(examples) == [
        "examples[1].text_input",
        "examples[2].output",
        "examples[3].text_input",
        "examples[3].output",
    ]


def test_a_length_is_reported_beside_its_limit():
    (violation,) = violations_of([Conversation.pair("1", "y" * 5_001)], GEMINI_LIMITS, "examples")
    assert violation.description == "output must be at most 5000 characters; it has 5001"


def test_characters_are_code_points_not_bytes():
    assert fields([Conversation.pair("七" * 40_000, "2")]) == []


def test_an_empty_input_is_something_to_learn_too():
    assert fields([Conversation.pair("", "hello")]) == []


def test_without_limits_only_the_context_bounds_an_example():
    assert fields([Conversation.pair("x" * 100_000, "y" * 100_000)], Limits()) == []


def test_a_half_of_a_character_is_no_text():
    (violation,) = violations_of([Conversation.pair("ab\ud800", "2")], GEMINI_LIMITS, "examples")
    assert violation.field == "examples[0].text_input"
    assert "character 2 is the lone surrogate U+D800" in violation.description


def test_very_many_faults_are_summed_up_after_the_first_hundred():
    found = violations_of([Conversation.pair("1", "")] * 250, GEMINI_LIMITS, "examples")
    assert len(found) == MAX_REPORTED_VIOLATIONS + 1
    assert found[-1].description == "and 150 more violations of the same kinds"
