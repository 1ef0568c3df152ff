"""Run an inference engine to the end and collect what each candidate said."""

from collections.abc import Sequence as Items
from dataclasses import dataclass, field

import torch

from tuningfork.domain.base_model import AdapterShape
from tuningfork.domain.generation import ChosenToken, FinishReason, Sampling
from tuningfork.inference.engine import EngineOutput, InferenceEngine
from tuningfork.inference.sequence import BASE_ALONE, Sequence, TokenRequest
from tuningfork.modeling.adapters.weights import AdapterWeights
from tuningfork.modeling.loading import LoadedBase


@dataclass
class Answer:
    """What one candidate said; `tokens` are the generated ones, without the end of the turn."""

    pieces: list[str] = field(default_factory=list)
    tokens: tuple[int, ...] = ()
    finish_reason: FinishReason | None = None
    prompt_tokens: int = 0
    output_tokens: int = 0
    scored: list[ChosenToken] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(self.pieces)


def greedy(max_output_tokens: int = 20, **other) -> Sampling:
    return Sampling(**({"temperature": 0, "top_p": 1, "top_k": None} | other), max_output_tokens=max_output_tokens)


def request(
    name: str, prompt_ids: Items[int], slot: int = BASE_ALONE, sampling: Sampling | None = None
) -> TokenRequest:
    return TokenRequest(id=name, prompt_ids=tuple(prompt_ids), slot=slot, sampling=sampling or greedy())


class Run:
    """An engine and the answers of all requests that were added through this object."""

    def __init__(self, engine: InferenceEngine) -> None:
        self.engine = engine
        self.answers: dict[tuple[str, int], Answer] = {}
        self.outputs: list[EngineOutput] = []
        self._sequences: dict[tuple[str, int], Sequence] = {}

    def add(self, *requests: TokenRequest) -> "Run":
        for each in requests:
            self.engine.add(each)
            [first] = self.engine._scheduler.of_request(each.id)
            for sequence in (first, *first.siblings):
                self._sequences[each.id, sequence.candidate] = sequence
                self.answers[each.id, sequence.candidate] = Answer()
        return self

    def step(self) -> None:
        for output in self.engine.step():
            self.outputs.append(output)
            key = output.request_id, output.chunk.candidate
            answer = self.answers[key]
            assert answer.finish_reason is None, "a finished candidate spoke again"
            answer.pieces.append(output.chunk.text)
            answer.finish_reason = output.chunk.finish_reason
            answer.prompt_tokens = output.chunk.prompt_tokens
            answer.output_tokens = output.chunk.output_tokens
            answer.scored += output.chunk.tokens
            sequence = self._sequences[key]
            answer.tokens = tuple(sequence.tokens[len(sequence.request.prompt_ids) :])

    def to_end(self, *, steps: int = 10_000) -> dict[tuple[str, int], Answer]:
        for _ in range(steps):
            if not self.engine.has_work:
                return self.answers
            self.step()
        raise AssertionError(f"no end after {steps} steps")


def answers_of(base: LoadedBase, *requests: TokenRequest, **options) -> dict[tuple[str, int], Answer]:
    """The answers of a fresh engine to requests that come all at once."""
    return Run(InferenceEngine(base, **options)).add(*requests).to_end()


def loud_adapter(base: LoadedBase, rank: int, seed: int) -> AdapterWeights:
    """Random weights that change what the base says; a fresh adapter's B would be zero."""
    weights = base.slots.fresh(AdapterShape(rank=rank, alpha=2.0 * rank), seed)
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in weights.tensors.items():
        if "lora_B" in name:
            tensor.copy_(torch.randn(tensor.shape, generator=generator) * 0.1)
    return weights
