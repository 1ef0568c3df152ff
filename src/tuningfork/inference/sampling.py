"""From logits to tokens: temperature, then the likeliest K, then the nucleus P, then one draw for each row.

The order is that of the Gemini API's `topK` and `topP`: "the top-K tokens with the highest probabilities are sampled;
then tokens are further filtered based on top-P", with the temperature applied before both, as transformers does.
Each row is drawn from its own numbers only, so a row's token does not depend on the rows beside it.

Shape suffixes: B rows, V vocabulary, C candidates of one row, likeliest first.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import torch
from torch import Tensor

from tuningfork.domain.generation import Sampling

_NUCLEUS = 1024
"""How many tokens are ranked first when only `top_p` limits; all of them where these do not hold enough."""


@dataclass(frozen=True, slots=True)
class Draw:
    """How one row's next token is chosen. `randomness` belongs to the row: each draw takes one number from it."""

    sampling: Sampling
    randomness: Random


def row_randomness(seed: int | None, candidate: int) -> Random:
    """The source of randomness of one candidate: the same for the same seed, another for each candidate."""
    return Random() if seed is None else Random(f"{seed}/{candidate}")


def sample(logits_BV: Tensor, draws: Sequence[Draw]) -> list[int | None]:
    """Choose one token for each row; None where the row's logits are not numbers.

    Computes in fp32 and adds up probabilities in fp64. Rows at temperature 0 take the likeliest token and no random
    number.
    """
    logits_BV = logits_BV.float()
    tops_B, likeliest_B = logits_BV.max(dim=-1)
    sound = torch.isfinite(tops_B).tolist()
    tokens: list[int | None] = [
        token if is_sound else None for token, is_sound in zip(likeliest_B.tolist(), sound, strict=True)
    ]
    drawn = [row for row, draw in enumerate(draws) if draw.sampling.temperature > 0 and sound[row]]
    if not drawn:
        return tokens
    temperatures_B1 = torch.tensor([[draws[row].sampling.temperature] for row in drawn], device=logits_BV.device)
    # The largest is taken off first, so that no temperature, however small, divides to infinity minus infinity.
    heated_BV = (logits_BV[drawn] - tops_B[drawn, None]) / temperatures_B1
    for row, probabilities_V in zip(drawn, torch.softmax(heated_BV, dim=-1), strict=True):
        tokens[row] = _draw(probabilities_V, draws[row])
    return tokens


def _draw(probabilities_V: Tensor, draw: Draw) -> int:
    point = draw.randomness.random()
    sampling = draw.sampling
    if sampling.top_k is None and sampling.top_p >= 1:
        return _pick(probabilities_V, point)
    probabilities_C, tokens_C = _limited(probabilities_V, sampling)
    return int(tokens_C[_pick(probabilities_C, point)])


def _limited(probabilities_V: Tensor, sampling: Sampling) -> tuple[Tensor, Tensor]:
    """The tokens that `top_k` and `top_p` leave, likeliest first: at least one."""
    vocabulary = len(probabilities_V)
    count = min(sampling.top_k or _NUCLEUS, vocabulary)
    probabilities_C, tokens_C = torch.topk(probabilities_V, count)
    if sampling.top_k is None and float(probabilities_C.sum()) < sampling.top_p:
        probabilities_C, tokens_C = torch.sort(probabilities_V, descending=True, stable=True)
    if sampling.top_p < 1:
        mass_C = probabilities_C.cumsum(0, dtype=torch.float64)
        whole = mass_C[-1] if sampling.top_k is not None else 1.0
        # A token stays if those before it do not yet hold the mass.
        kept = int((mass_C - probabilities_C < sampling.top_p * whole).sum())
        probabilities_C, tokens_C = probabilities_C[: max(kept, 1)], tokens_C[: max(kept, 1)]
    return probabilities_C, tokens_C


def _pick(probabilities_C: Tensor, point: float) -> int:
    """The index at which the cumulated probability passes `point` (0 <= point < 1) of the whole."""
    mass_C = probabilities_C.cumsum(0, dtype=torch.float64)
    index = torch.searchsorted(mass_C, mass_C[-1] * point, right=True)
    # Where rounding lifts the point onto the whole: the last index that has a probability.
    return int(torch.minimum(index, torch.searchsorted(mass_C, mass_C[-1])))
