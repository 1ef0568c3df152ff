"""What weights in int8 change: how far a real base's answers move, and how fast it decodes, reads and is tuned.

    python bench/int8.py [--tokens 4096] [--rounds 3]

SmolLM2's weights as stored, computed in float32, are what is right. Beside it stand the type that this processor
computes in, and int8 in both types. Perplexity, the likeliest next token and the divergence (Kullback-Leibler, nats a
token) are those of texts of `docs`, read in segments of 512 tokens; greedy answers those of prompts cut from
`examples/data`. Times are processor times of one thread, taken by turns; the least of the rounds.
"""

import argparse
import math
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import children
import decoding
import precision
import real_base
import report
import shapes
import training
import training_step
from children import Child
from tuningfork.domain.base_model import BaseModel, WeightType, with_prefix
from tuningfork.domain.generation import Sampling
from tuningfork.inference.engine import InferenceEngine, TokenRequest
from tuningfork.modeling.adapters.slots import BASE_ALONE
from tuningfork.modeling.attention.plans import PackedPlan
from tuningfork.modeling.loading import LoadedBase, load_base

SEGMENT_TOKENS = 512
TEXTS = ("README.md", "docs/gpu.md", "docs/exporting.md")
PROMPTS, ANSWER_TOKENS = 8, 64
TASKS = (
    ("a step of one stream", 1, 48, 33, 0),
    ("a step of one stream, one adapter", 1, 48, 33, 1),
    ("a step of 16 streams", 16, 48, 17, 0),
    ("a step of 16 streams, 16 adapters", 16, 48, 17, 16),
    ("reading a prompt of 512 tokens", 1, 512, 1, 0),
)
"""What is timed: its name, streams, tokens of each prompt, new tokens, adapters."""


@dataclass(frozen=True, slots=True)
class Reading:
    """How a base reads a text: the log probabilities `TV` after each token, and its greedy answers to some prompts."""

    log_probs_TV: Tensor
    answers: list[list[int]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=4_096, help="of the text that is read; default: 4,096")
    parser.add_argument("--rounds", type=int, default=3, help="of what is timed; 0 leaves it out; default: 3")
    arguments = parser.parse_args()
    children.pin(1)
    torch.set_num_threads(1)
    try:
        base = real_base.directory()
    except real_base.NoBase as error:
        raise SystemExit(f"int8 was not measured: no {real_base.NAME}: {error}") from error
    show_quality(base, arguments.tokens)
    if arguments.rounds:
        show_times(base, arguments.rounds)


def show_quality(base: Path, tokens: int) -> None:
    """Print a line for each form of the weights and each type that is computed in."""
    text = real_base.Text(base)
    ids_T = torch.tensor(text.tokens_of(*(report.ROOT / name for name in TEXTS))[:tokens])
    prompts = text.prompts(PROMPTS, decoding.PROMPT_TOKENS, "int8")
    exact = None
    print("| weights | computed in | perplexity | likeliest token the same | divergence | greedy tokens the same |")
    print("|---|---|---|---|---|---|")
    for dtype in dict.fromkeys((torch.float32, getattr(torch, precision.native("cpu")))):
        for weights in WeightType:
            loaded = load_base(_entry(base), dtype=dtype, weights=weights)
            reading = Reading(_log_probs(loaded, ids_T), list(_answers(loaded, prompts)))
            exact = exact or reading
            named = "int8" if weights is WeightType.INT8 else "as stored"
            print(f"| {named} | {str(dtype).removeprefix('torch.')} | {_compared(reading, exact, ids_T)} |", flush=True)


def _compared(own: Reading, exact: Reading, ids_T: Tensor) -> str:
    found_TV, right_TV = own.log_probs_TV, exact.log_probs_TV
    inside = torch.arange(len(ids_T) - 1)
    # The first token of a segment follows nothing.
    inside = inside[(inside + 1) % SEGMENT_TOKENS != 0]
    perplexity = math.exp(-float(found_TV[inside].gather(1, ids_T[inside + 1, None]).mean()))
    same = float((found_TV.argmax(-1) == right_TV.argmax(-1)).float().mean())
    divergence = float((right_TV.exp() * (right_TV - found_TV)).sum(-1).mean())
    answers = [
        next((place for place, pair in enumerate(zip(ours, theirs, strict=True)) if pair[0] != pair[1]), len(ours))
        for ours, theirs in zip(own.answers, exact.answers, strict=True)
    ]
    greedy = f"{', '.join(map(str, answers))} of {ANSWER_TOKENS}"
    return f"{perplexity:.3f} | {same:.1%} | {divergence:.4f} | {greedy}"


class Endless:
    """A chat format without tokens that end a turn, so that answers are equally long."""

    end_of_turn_ids: frozenset[int] = frozenset()

    def __init__(self, chat: Any) -> None:
        self._chat = chat

    def __getattr__(self, name: str) -> Any:
        return getattr(self._chat, name)


@torch.no_grad()
def _log_probs(base: LoadedBase, ids_T: Tensor) -> Tensor:
    found = []
    for segment_T in ids_T.split(SEGMENT_TOKENS):
        size = len(segment_T)
        logits = base.logits(segment_T, torch.arange(size), torch.arange(size), PackedPlan((size,)), BASE_ALONE)
        found.append(logits.float().log_softmax(-1))
    return torch.cat(found)


def _answers(base: LoadedBase, prompts: list[list[int]]) -> Iterator[list[int]]:
    engine = InferenceEngine(replace(base, chat=Endless(base.chat)))
    sampling = Sampling(temperature=0.0, top_p=1.0, top_k=None, max_output_tokens=ANSWER_TOKENS, logprobs=0)
    for prompt in prompts:
        engine.add(TokenRequest(id="0", prompt_ids=tuple(prompt), slot=BASE_ALONE, sampling=sampling))
        answer: list[int] = []
        while engine.has_work:
            answer += [each.chosen.token_id for output in engine.step() for each in output.chunk.tokens]
        yield answer


def show_times(base: Path, rounds: int) -> None:
    """Print milliseconds of processor time, of stored weights beside int8."""
    with tempfile.TemporaryDirectory() as folder, children.company() as met:
        work = training_step.smollm_work(Path(folder), shapes.SMOLLM2_135M)
        adapters = shapes.make_adapters(Path(folder) / "adapters", shapes.SMOLLM2_135M, base, decoding.STREAMS)
        serving = {
            "device": "cpu",
            "context_tokens": shapes.CONTEXT_TOKENS,
            "adapters": [str(each) for each in adapters],
        }
        tuning = training.ours_setup(work, "cpu")
        cache = {"XDG_CACHE_HOME": folder}
        for weights in WeightType:
            own = {"weights": weights.value}
            met.invite(f"decode {weights}", partial(Child, "decode_ours.py", serving | {"model": str(base)} | own))
            met.invite(f"train {weights}", partial(Child, "train_ours.py", tuning | own, environment=cache))
        times: dict[str, dict[str, list[float]]] = {}
        for index in range(-1, rounds):
            met.round(index, partial(_take_times, real_base.Text(base), times if index >= 0 else {}, index))
    print("\n| work, ms of processor time | as stored | int8 |\n|---|---|---|")
    for name, own in times.items():
        print(f"| {name} | {' | '.join(f'{1000 * min(own[weights]):.1f}' for weights in WeightType)} |")


def _take_times(
    text: real_base.Text, times: dict[str, dict[str, list[float]]], index: int, label: str, child: Child
) -> None:
    what, _, weights = label.partition(" ")
    if what == "train":
        seconds = child.ask("round", steps=1)["processor"]
        times.setdefault("a training step, 216 tokens", {}).setdefault(weights, []).extend(seconds)
        return
    for name, streams, read, new, adapters in TASKS:
        prompts = text.prompts(streams, read, f"{name}, {index}")
        # What is read before the first token does not count, unless nothing else is asked for.
        both = [child.ask("round", prompts=prompts, new_tokens=each, adapters=adapters) for each in (1, new)]
        spent = both[1]["processor"] - (both[0]["processor"] if new > 1 else 0)
        times.setdefault(name, {}).setdefault(weights, []).append(spent / max(1, new - 1))


def _entry(base: Path) -> BaseModel:
    return BaseModel(
        name=with_prefix("real"), location=str(base), display_name="", context_tokens=shapes.CONTEXT_TOKENS
    )


if __name__ == "__main__":
    main()
