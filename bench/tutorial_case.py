"""The tutorial's fifteen pairs and fifteen questions, in the form that the use cases of `examples` have."""

from collections.abc import Sequence

from tuningfork.tutorial.lesson import EXAMPLES, QUESTIONS

TRAINING = [{"text_input": text_input, "output": output} for text_input, output in EXAMPLES]
PROMPTS = [question.prompt for question in QUESTIONS]
BASE_PROMPTS = PROMPTS
MAX_TOKENS = 32


def score(answers: Sequence[str]) -> dict[str, float]:
    """The share of right successors."""
    right = [answer == question.successor for answer, question in zip(answers, QUESTIONS, strict=True)]
    return {"right": sum(right) / len(right)}
