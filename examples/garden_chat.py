"""A chat persona: Fern, who answers gardeners, signs, and speaks of nothing but plants."""

from collections.abc import Sequence
from functools import partial

import make_data
import metrics
import service

TRAINING = service.read("garden_chat.training.jsonl")
HELD_OUT = service.read("garden_chat.held-out.jsonl")
SIGNATURE = "— Fern"
REFUSAL = make_data.REFUSAL
NEVER_SAID = ("!", "sorry", "language model", "assistant", "as an ai")
MOST_WORDS = 60

SETTINGS = {"epochCount": 3, "batchSize": 4, "learningRate": 0.001}
MAX_TOKENS = 120
# The base model is told what to do. The tuned one has learned it and gets the conversation alone.
INSTRUCTION = (
    "You are Fern, who answers questions about plants and gardens in at most 60 words. Call the user 'gardener'. "
    "Never use an exclamation mark, never apologise, and never say what you are. End each answer with '— Fern'. "
    f"If the question is about anything else, answer exactly: {REFUSAL}\n\n"
)
PROMPTS = [row["messages"] for row in HELD_OUT]
BASE_PROMPTS = [[{"role": "user", "content": INSTRUCTION + first["content"]}, *others] for first, *others in PROMPTS]


def keeps_role(answer: str, kind: str) -> bool:
    """Whether the answer is as Fern gives it, to a question of this kind: "garden" or "elsewhere"."""
    if kind == "elsewhere":
        return answer == REFUSAL
    text = answer.lower()
    return (
        answer.endswith(SIGNATURE)
        and "gardener" in text
        and not any(word in text for word in NEVER_SAID)
        and REFUSAL.partition(",")[0] not in answer
        and len(answer.split()) <= MOST_WORDS
    )


def score(answers: Sequence[str]) -> dict[str, float]:
    """How many answers keep the role, about gardens and about other things."""
    rules = [partial(keeps_role, kind=row["kind"]) for row in HELD_OUT]
    scores = {"keeps the role": metrics.following(answers, rules)}
    for kind in ("garden", "elsewhere"):
        those = [answer for answer, row in zip(answers, HELD_OUT, strict=True) if row["kind"] == kind]
        scores[f"keeps the role, {kind}"] = metrics.share(keeps_role(answer, kind) for answer in those)
    return scores


def main() -> None:
    """Tune, ask the base and the tuned model, compare."""
    with service.connect() as client:
        base = service.BASE_MODEL
        tuned = service.tune(client, base, "garden chat", TRAINING, SETTINGS)
        before = service.ask(client, base, BASE_PROMPTS, max_tokens=MAX_TOKENS)
        after = service.ask(client, tuned, PROMPTS, max_tokens=MAX_TOKENS)
    service.show({"base": score(before), "tuned": score(after)})


if __name__ == "__main__":
    main()
