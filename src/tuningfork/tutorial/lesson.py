"""The examples and the questions: pairs of numbers, and numbers in notations that occur in the pairs or do not."""

from dataclasses import dataclass

from tuningfork.domain.conversation import Conversation
from tuningfork.domain.dataset import Examples
from tuningfork.domain.hyperparameters import RequestedHyperparameters
from tuningfork.domain.tuning_job import TuningRequest

BASE_MODEL = "models/gemini-1.0-pro-001"

EXAMPLES = (
    ("1", "2"),
    ("3", "4"),
    ("-3", "-2"),
    ("twenty two", "twenty three"),
    ("two hundred", "two hundred one"),
    ("ninety nine", "one hundred"),
    ("8", "9"),
    ("-98", "-97"),
    ("1,000", "1,001"),
    ("10,100,000", "10,100,001"),
    ("thirteen", "fourteen"),
    ("eighty", "eighty one"),
    ("one", "two"),
    ("three", "four"),
    ("seven", "eight"),
)
"""The pairs of the Gemini API's tuning tutorial: a number and its successor, without Roman or Japanese numerals."""


@dataclass(frozen=True, slots=True)
class Question:
    """A prompt, and the answer of someone who has understood the examples."""

    prompt: str
    successor: str


QUESTIONS = (
    Question("LXIII", "LXIV"),
    Question("XIX", "XX"),
    Question("XLVIII", "XLIX"),
    Question("七", "八"),
    Question("二十九", "三十"),
    Question("五十四", "五十五"),
    Question("two hundred ninety nine", "three hundred"),
    Question("forty one", "forty two"),
    Question("six hundred ten", "six hundred eleven"),
    Question("-42", "-41"),
    Question("-100", "-99"),
    Question("3,999", "4,000"),
    Question("25,680", "25,681"),
    Question("27", "28"),
    Question("509", "510"),
)


def request() -> TuningRequest:
    """The request of the Gemini API's tutorial: batches of four, a learning rate of 0.001, five epochs."""
    examples: Examples = tuple(Conversation.pair(text_input, output) for text_input, output in EXAMPLES)
    return TuningRequest(
        base_model=BASE_MODEL,
        examples=examples,
        hyperparameters=RequestedHyperparameters(epoch_count=5, batch_size=4, learning_rate=0.001),
        display_name="number generator",
    )


def shown_before() -> tuple[str, ...]:
    """The prompts of those questions that occur among the examples, as inputs or as outputs."""
    texts = {text for pair in EXAMPLES for text in pair}
    return tuple(question.prompt for question in QUESTIONS if question.prompt in texts)
