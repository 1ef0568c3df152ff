"""Samples tokens from logits: penalties, constraint, temperature, top-k, top-p, then one draw for each row.

Top-k comes before top-p, as public APIs document `topK` and `topP`: "the top-K tokens with the highest probabilities
are sampled; then tokens are further filtered based on top-P". The temperature is applied before both, as transformers
does. Each row is drawn from its own numbers only, so a row's token does not depend on the other rows.

Log probabilities are those of the model's own distribution: the softmax of the logits after the penalties, but before
constraint, temperature, top-k and top-p. So a token that a constraint forced may have a low probability.

Shape suffixes: B rows, V vocabulary, C candidates of one row, likeliest first, W words of 32 bits.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import torch
from torch import Tensor

from tuningfork.domain.generation import Sampling
from tuningfork.inference.constraints import Constraint
from tuningfork.inference.penalties import Penalties

_NUCLEUS = 1024
"""How many tokens are sorted for `top_p` without `top_k`. If these have less probability than `top_p`, all are."""


@dataclass(frozen=True, slots=True)
class Draw:
    """How one row's next token is chosen. Each draw takes one number from `randomness`, the row's own generator."""

    sampling: Sampling
    randomness: Random
    penalties: Penalties | None = None
    constraint: Constraint | None = None


@dataclass(frozen=True, slots=True)
class Ranked:
    """A token and its natural log probability."""

    token: int
    log_probability: float


@dataclass(frozen=True, slots=True)
class Choice:
    """The token chosen for a row; if requested, its log probability and the likeliest tokens, likeliest first."""

    token: int
    log_probability: float | None = None
    likeliest: tuple[Ranked, ...] = ()


def row_randomness(seed: int | None, candidate: int) -> Random:
    """A candidate's random number generator, determined by the seed and the candidate's number.

    `seed` None: the generator is seeded at random.
    """
    return Random() if seed is None else Random(f"{seed}/{candidate}")


def sample(logits_BV: Tensor, draws: Sequence[Draw]) -> list[Choice | None]:
    """Choose one token for each row; None where the row's logits are NaN.

    Computes in fp32 and adds up probabilities in fp64. A row at temperature 0 takes its likeliest token, and uses no
    random number. The logits are not changed.
    """
    logits_BV = logits_BV.to(torch.float32, copy=any(draw.penalties is not None for draw in draws))
    for row, draw in enumerate(draws):
        if draw.penalties is not None:
            draw.penalties.subtract_from(logits_BV[row])
    own_BV = logits_BV
    if any(draw.constraint for draw in draws):
        logits_BV = _constrained(logits_BV, draws)
    tokens = [
        token if token is None or draw.constraint is None else draw.constraint.affordable(token)
        for token, draw in zip(_tokens(logits_BV, draws), draws, strict=True)
    ]
    return _ranked(own_BV, draws, tokens)


def _constrained(logits_BV: Tensor, draws: Sequence[Draw]) -> Tensor:
    """The logits with -inf for each token that a row's constraint forbids; rows of NaN stay NaN."""
    constrained_BV = logits_BV.clone()
    bits_32 = torch.arange(32, dtype=torch.int32, device=logits_BV.device)
    for logits_V, draw in zip(constrained_BV, draws, strict=True):
        if draw.constraint is not None and torch.isfinite(logits_V.max()):
            allowed_W = draw.constraint.allowed().to(logits_BV.device)
            allowed_V = ((allowed_W[:, None] >> bits_32) & 1).flatten()[: len(logits_V)]
            logits_V.masked_fill_(allowed_V == 0, -torch.inf)
    return constrained_BV


def _tokens(logits_BV: Tensor, draws: Sequence[Draw]) -> list[int | None]:
    tops_B, likeliest_B = logits_BV.max(dim=-1)
    # One copy instead of two, since each waits for the device; fp64 holds token ids and logits exactly.
    tops, likeliest = torch.cat((tops_B.double(), likeliest_B.double())).view(2, -1).tolist()
    sound = [math.isfinite(top) for top in tops]
    tokens = [int(token) if reuse_pages else None for token, reuse_pages in zip(likeliest, sound, strict=True)]
    drawn = [row for row, draw in enumerate(draws) if draw.sampling.temperature > 0 and sound[row]]
    if not drawn:
        return tokens
    temperatures_B1 = torch.tensor([[draws[row].sampling.temperature] for row in drawn], device=logits_BV.device)
    # The largest logit is subtracted first: otherwise a very small temperature would give infinity minus infinity.
    heated_BV = (logits_BV[drawn] - tops_B[drawn, None]) / temperatures_B1
    for row, probabilities_V in zip(drawn, torch.softmax(heated_BV, dim=-1), strict=True):
        tokens[row] = _draw(probabilities_V, draws[row])
    return tokens


def _ranked(logits_BV: Tensor, draws: Sequence[Draw], tokens: Sequence[int | None]) -> list[Choice | None]:
    """The tokens as choices, with log probabilities for the rows whose sampling asks for them."""
    return [
        None
        if token is None
        else Choice(token)
        if draw.sampling.logprobs is None
        else _choice(torch.log_softmax(logits_V, dim=-1), token, draw.sampling.logprobs)
        for logits_V, draw, token in zip(logits_BV, draws, tokens, strict=True)
    ]


def _choice(log_probabilities_V: Tensor, token: int, count: int) -> Choice:
    values_C, tokens_C = torch.topk(log_probabilities_V, min(count, len(log_probabilities_V)))
    likeliest = tuple(map(Ranked, tokens_C.tolist(), values_C.tolist()))
    return Choice(token, float(log_probabilities_V[token]), likeliest)


def _draw(probabilities_V: Tensor, draw: Draw) -> int:
    point = draw.randomness.random()
    sampling = draw.sampling
    if sampling.top_k is None and sampling.top_p >= 1:
        return _pick(probabilities_V, point)
    probabilities_C, tokens_C = _limited(probabilities_V, sampling)
    return int(tokens_C[_pick(probabilities_C, point)])


def _limited(probabilities_V: Tensor, sampling: Sampling) -> tuple[Tensor, Tensor]:
    """Probabilities and ids of the tokens within `top_k` and `top_p`, likeliest first; at least one token."""
    vocabulary = len(probabilities_V)
    count = min(sampling.top_k or _NUCLEUS, vocabulary)
    probabilities_C, tokens_C = torch.topk(probabilities_V, count)
    if sampling.top_k is None and float(probabilities_C.sum()) < sampling.top_p:
        probabilities_C, tokens_C = torch.sort(probabilities_V, descending=True, stable=True)
    if sampling.top_p < 1:
        mass_C = probabilities_C.cumsum(0, dtype=torch.float64)
        whole = mass_C[-1] if sampling.top_k is not None else 1.0
        # A token stays if the likelier tokens together have less than `top_p`.
        kept = int((mass_C - probabilities_C < sampling.top_p * whole).sum())
        probabilities_C, tokens_C = probabilities_C[: max(kept, 1)], tokens_C[: max(kept, 1)]
    return probabilities_C, tokens_C


def _pick(probabilities_C: Tensor, point: float) -> int:
    """The first index whose cumulative probability exceeds `point` (0 <= point < 1) of the total."""
    mass_C = probabilities_C.cumsum(0, dtype=torch.float64)
    index = torch.searchsorted(mass_C, mass_C[-1] * point, right=True)
    # If rounding makes the point equal to the total, take the last index with a probability above 0.
    return int(torch.minimum(index, torch.searchsorted(mass_C, mass_C[-1])))
