"""Questions about a passage, whose answers are words of the passage."""

from collections.abc import Sequence

import metrics
import service

TRAINING = service.read("passage_questions.training.jsonl")
HELD_OUT = service.read("passage_questions.held-out.jsonl")

SETTINGS = {"epochCount": 3, "batchSize": 4, "learningRate": 0.001}
MAX_TOKENS = 40
# The base model is told what to do. The tuned one has learned it and gets the passage and the question alone.
INSTRUCTION = "Answer the question with a few words copied from the passage, and nothing else.\n\n"
PROMPTS = [row["text_input"] for row in HELD_OUT]
BASE_PROMPTS = [INSTRUCTION + prompt for prompt in PROMPTS]


def score(answers: Sequence[str]) -> dict[str, float]:
    """Right answers, answers with the right one in them, and answers that are copied from the passage."""
    expected = [row["output"] for row in HELD_OUT]
    passages = [row["text_input"].rpartition("\n\n")[0] for row in HELD_OUT]
    return {
        "exact match": metrics.exact_match(answers, expected),
        "right answer contained": metrics.contained(answers, expected),
        "copied from the passage": metrics.copied(answers, passages),
    }


def main() -> None:
    """Tune, ask the base and the tuned model, compare."""
    with service.connect() as client:
        base = service.BASE_MODEL
        tuned = service.tune(client, base, "passage questions", TRAINING, SETTINGS)
        before = service.ask(client, base, BASE_PROMPTS, max_tokens=MAX_TOKENS)
        after = service.ask(client, tuned, PROMPTS, max_tokens=MAX_TOKENS)
    service.show({"base": score(before), "tuned": score(after)})


if __name__ == "__main__":
    main()
