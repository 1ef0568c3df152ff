"""Summaries of dialogues, which name the speakers `#Person1#` and `#Person2#` and nobody else."""

import re
from collections.abc import Sequence

import make_data
import metrics
import service

TRAINING = service.read("dialogue_summaries.training.jsonl")
HELD_OUT = service.read("dialogue_summaries.held-out.jsonl")
NAMES = {name for part in make_data.PARTS for kind in make_data.NAMES for name in make_data.words(part)[kind]}
SPEAKER = re.compile(r"#Person\d+#")

SETTINGS = {"epochCount": 2, "batchSize": 4, "learningRate": 0.001}
MAX_TOKENS = 80
# The base model is told what to do. The tuned one has learned it and gets the dialogue alone.
INSTRUCTION = (
    "Summarize the dialogue in one or two sentences. Call the speakers #Person1# and #Person2#, "
    "and do not mention anybody's name.\n\n"
)
PROMPTS = [row["text_input"] for row in HELD_OUT]
BASE_PROMPTS = [INSTRUCTION + prompt for prompt in PROMPTS]


def score(answers: Sequence[str]) -> dict[str, float]:
    """ROUGE-L beside the written summaries, names left in, and whether the same speakers occur."""
    expected = [row["output"] for row in HELD_OUT]
    return {
        "ROUGE-L": metrics.rouge_l(answers, expected),
        "with a name left in": metrics.naming(answers, NAMES),
        "with the right speakers": metrics.share(
            set(SPEAKER.findall(answer)) == set(SPEAKER.findall(right))
            for answer, right in zip(answers, expected, strict=True)
        ),
    }


def main() -> None:
    """Tune, ask the base and the tuned model, compare."""
    with service.connect() as client:
        base = service.BASE_MODEL
        tuned = service.tune(client, base, "dialogue summaries", TRAINING, SETTINGS)
        before = service.ask(client, base, BASE_PROMPTS, max_tokens=MAX_TOKENS)
        after = service.ask(client, tuned, PROMPTS, max_tokens=MAX_TOKENS)
    service.show({"base": score(before), "tuned": score(after)})


if __name__ == "__main__":
    main()
