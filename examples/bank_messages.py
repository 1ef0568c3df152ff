"""Classification: which of ten kinds a message to a bank is of."""

from collections.abc import Sequence

import metrics
import service

TRAINING = service.read("bank_messages.training.csv")
USUAL = service.read("bank_messages.held-out.csv")
# Messages that often talk about their matter without naming it.
ROUNDABOUT = service.read("bank_messages.roundabout.csv")
HELD_OUT = [*USUAL, *ROUNDABOUT]
LABELS = sorted({row["output"] for row in TRAINING})

SETTINGS = {"epochCount": 2, "batchSize": 4, "learningRate": 0.001}
MAX_TOKENS = 12
# The base model is told what to do. The tuned one has learned it and gets the message alone.
INSTRUCTION = (
    "Classify the message of a bank's customer. Answer with one of these labels and nothing else: "
    + ", ".join(LABELS)
    + ".\n\nMessage: "
)
PROMPTS = [row["text_input"] for row in HELD_OUT]
BASE_PROMPTS = [INSTRUCTION + prompt for prompt in PROMPTS]


def score(answers: Sequence[str]) -> dict[str, float]:
    """How many answers are the right label, for each of the two kinds of messages, and how many are a label at all."""
    usual, roundabout = answers[: len(USUAL)], answers[len(USUAL) :]
    return {
        "accuracy": _right(usual, USUAL),
        "accuracy on roundabout messages": _right(roundabout, ROUNDABOUT),
        "a label and nothing else": metrics.share(answer in LABELS for answer in answers),
    }


def _right(answers: Sequence[str], rows: Sequence[dict[str, str]]) -> float:
    return metrics.share(answer == row["output"] for answer, row in zip(answers, rows, strict=True))


def main() -> None:
    """Tune, ask the base and the tuned model, compare."""
    with service.connect() as client:
        base = service.BASE_MODEL
        tuned = service.tune(client, base, "bank messages", TRAINING, SETTINGS)
        before = service.ask(client, base, BASE_PROMPTS, max_tokens=MAX_TOKENS)
        after = service.ask(client, tuned, PROMPTS, max_tokens=MAX_TOKENS)
    service.show({"base": score(before), "tuned": score(after)})


if __name__ == "__main__":
    main()
