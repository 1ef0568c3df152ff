"""Renders the probe prompts of a job, and the answers to them over the epochs."""

from typing import Any

from tuningfork.domain.probe_prompts import ProbeAnswer, ShownProbes
from tuningfork.wire.gemini.names import name_of
from tuningfork.wire.google.proto_json.descriptors import Field, Kind, Message
from tuningfork.wire.google.proto_json.encode import Typed

_PACKAGE = "tuningfork.v1"

ANSWER = Message(
    f"{_PACKAGE}.ProbeAnswer",
    (
        # 0: before the training.
        Field(1, "step", Kind.INT32, presence=True),
        Field(2, "epoch", Kind.INT32, presence=True),
        Field(3, "text", Kind.STRING, presence=True),
        Field(4, "output_token_count", Kind.INT32, presence=True),
        # Whether it had more tokens than are asked for.
        Field(5, "cut", Kind.BOOL),
        # Why there is no answer.
        Field(6, "problem", Kind.STRING),
        Field(7, "time", Kind.TIMESTAMP),
    ),
)
PROMPT = Message(
    f"{_PACKAGE}.ProbePrompt",
    (Field(1, "prompt", Kind.STRING, presence=True), Field(2, "answers", ANSWER, repeated=True)),
)
PROBES = Message(
    f"{_PACKAGE}.Probes",
    (
        Field(1, "prompts", PROMPT, repeated=True),
        # The model that is asked before the training.
        Field(2, "before", Kind.STRING),
        # Whether no further answers will come.
        Field(3, "complete", Kind.BOOL),
    ),
)


def render_probes(shown: ShownProbes | None) -> Typed:
    """The prompts in their order, each with its answers by step; nothing if the job has none."""
    if shown is None:
        return Typed(PROBES, {})
    probes = shown.probes
    prompts = [
        {"prompt": prompt, "answers": [_answer(each) for each in probes.answers if each.number == number]}
        for number, prompt in enumerate(probes.prompts, start=1)
    ]
    return Typed(PROBES, {"prompts": prompts, "before": name_of(shown.before), "complete": probes.is_complete})


def _answer(answer: ProbeAnswer) -> dict[str, Any]:
    return {
        "step": answer.step,
        "epoch": answer.epoch,
        "text": answer.text,
        "output_token_count": answer.output_tokens,
        "cut": answer.cut,
        "problem": answer.problem,
        "time": answer.time,
    }
