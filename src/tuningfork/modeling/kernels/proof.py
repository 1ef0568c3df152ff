"""Tests kernels on the machine before they are used, against plain operations in fp32 on the CPU.

Shape suffixes: as in `base`, and S tokens of a row, N = H / G query heads on one key/value head.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from tuningfork.modeling.kernels.base import Activation, HeadNorms, Kernels, NewTokens, Normed, RmsNorm, Rotation
from tuningfork.modeling.kernels.plain import PLAIN

logger = logging.getLogger(__name__)

DTYPES = (torch.bfloat16, torch.float16, torch.float32)
_ROUNDING = {torch.bfloat16: 2**-6, torch.float16: 2**-9, torch.float32: 1e-4}
"""The largest error of a number, relative to its magnitude plus the root mean square of its tensor."""
_EPSILON = 1e-5
_TOKENS = 3
_PAGE_TOKENS = 32

Family = Literal["layers", "adapters", "attention"]
"""A group of kernels that are accepted or rejected together: a field of `Kernels`."""

Pair = tuple[Tensor, Tensor]
"""A kernel's result, and the correct result."""


class Numbers:
    """Draws pairs of equal random tensors: one on the device in the type to test, one on the CPU in fp32."""

    def __init__(self, device: torch.device, dtype: torch.dtype) -> None:
        self.device, self.dtype = device, dtype
        self._draw = torch.Generator().manual_seed(0)

    def __call__(self, *shape: int, dtype: torch.dtype | None = None, scale: float = 1.0) -> Pair:
        """A pair rounded to this type; None: to the type to test."""
        drawn = (torch.randn(shape, generator=self._draw) * scale).to(dtype or self.dtype)
        return drawn.clone().to(self.device), drawn.float()

    def exact(self, *shape: int) -> Pair:
        """A pair whose tensor on the device is fp32 too."""
        return self(*shape, dtype=torch.float32)


Trial = Callable[[Kernels, Numbers], Iterator[Pair]]


@dataclass(frozen=True, slots=True)
class NormTrial:
    """Tests norms of rows of this size, which are slices of a wider tensor."""

    size: int

    def __call__(self, kernels: Kernels, numbers: Numbers) -> Iterator[Pair]:
        """Yield the results of the forward and backward pass, of one tensor and of the sum of two."""
        shape, own = (_TOKENS, 2 * self.size), slice(self.size)
        (x, x_TD), (grad, grad_TD) = numbers(*shape), numbers(*shape)
        x, x_TD, grad, grad_TD = x[:, own], x_TD[:, own], grad[:, own], grad_TD[:, own]
        (rest, rest_TD), (weight, weight_D) = numbers.exact(_TOKENS, self.size), numbers.exact(self.size)
        tried, norm = kernels.layers, RmsNorm(weight, _EPSILON)
        reference, right = PLAIN.layers, RmsNorm(weight_D, _EPSILON)
        y_TD, normed = reference.norm(right, x_TD)
        found, kept = tried.norm(norm, x, numbers.dtype)
        yield found, y_TD
        yield kept.inverse, normed.inverse
        kept = Normed(x, normed.inverse.to(numbers.device))
        found = tried.norm_backward(norm, grad, kept, None, numbers.dtype)
        yield found, reference.norm_backward(right, grad_TD, normed)
        wanted_TD = reference.norm_backward(right, grad_TD, normed, rest_TD)
        both = tried.norm_backward_to_stream(norm, grad, kept, rest, numbers.dtype)
        yield both.exact, wanted_TD
        yield both.to(numbers.dtype), wanted_TD
        y_TD, normed = reference.add_and_norm(right, rest_TD, x_TD, torch.float32)
        found, kept = tried.add_and_norm(norm, rest, x, numbers.dtype)
        yield from ((found, y_TD), (kept.x, normed.x), (kept.inverse, normed.inverse))


@dataclass(frozen=True, slots=True)
class RotationTrial:
    """Tests norm and rotation of queries and keys; the first `rotated` features of each head are rotated."""

    heads: int
    key_heads: int
    size: int
    rotated: int

    def __call__(self, kernels: Kernels, numbers: Numbers) -> Iterator[Pair]:
        """Yield the results of the forward and backward pass, without norms and with norms."""
        joint, tried, reference = self.heads + self.key_heads, kernels.layers, PLAIN.layers
        (cos, cos_T1K), (sin, sin_T1K) = (numbers.exact(_TOKENS, 1, self.rotated) for _ in range(2))
        (query, query_K), (key, key_K) = (numbers.exact(self.size) for _ in range(2))
        rotation, right = Rotation(cos, sin), Rotation(cos_T1K, sin_T1K)
        directions: tuple[Literal[1], Literal[-1]] = (1, -1)
        for direction in directions:
            all_, all_TLK = self._heads(numbers)
            tried.rotate_(all_, joint, rotation, direction)
            reference.rotate_(all_TLK, joint, right, direction)
            yield all_, all_TLK
        norms = HeadNorms(self.heads, RmsNorm(query, _EPSILON), RmsNorm(key, _EPSILON))
        right_norms = HeadNorms(self.heads, RmsNorm(query_K, _EPSILON), RmsNorm(key_K, _EPSILON))
        all_, all_TLK = self._heads(numbers)
        found = tried.norm_and_rotate_(all_, joint, norms, rotation)
        wanted = reference.norm_and_rotate_(all_TLK, joint, right_norms, right)
        yield from ((all_, all_TLK), (found.x, wanted.x), (found.inverse, wanted.inverse))
        grad, grad_TLK = self._heads(numbers)
        kept = Normed(wanted.x.to(numbers.device, numbers.dtype), wanted.inverse.to(numbers.device))
        tried.norm_and_rotate_backward_(grad, kept, norms, rotation)
        reference.norm_and_rotate_backward_(grad_TLK, wanted, right_norms, right)
        yield grad, grad_TLK

    def _heads(self, numbers: Numbers) -> Pair:
        return numbers(_TOKENS, self.heads + 2 * self.key_heads, self.size)


@dataclass(frozen=True, slots=True)
class GateTrial:
    """Tests the gate of an MLP with this many features."""

    features: int
    activation: Activation

    def __call__(self, kernels: Kernels, numbers: Numbers) -> Iterator[Pair]:
        """Yield the results of the forward and backward pass."""
        (both, both_TF), (grad, grad_TF) = numbers(_TOKENS, 2 * self.features), numbers(_TOKENS, self.features)
        found, acted = kernels.layers.gated(self.activation, both)
        inner_TF, acted_TF = PLAIN.layers.gated(self.activation, both_TF)
        yield found, inner_TF
        found = kernels.layers.gated_backward(self.activation, grad, both, acted)
        yield found, PLAIN.layers.gated_backward(self.activation, grad_TF, both_TF, acted_TF)


@dataclass(frozen=True, slots=True)
class AdapterTrial:
    """Tests LoRA products of one rank at one group of layers."""

    rank: int
    inputs: int
    outputs: tuple[int, ...]

    def __call__(self, kernels: Kernels, numbers: Numbers) -> Iterator[Pair]:
        """Yield the results for all rows in order, and for some of the rows; one row has no adapter."""
        places = [1, -1, 0]
        x, x_YD = numbers(_TOKENS + 1, self.inputs)
        a, a_CDR = numbers(2, self.inputs, self.rank * len(self.outputs), scale=self.inputs**-0.5)
        bs = [numbers(2, self.rank, each, scale=self.rank**-0.5) for each in self.outputs]
        for rows in ([0, 1, 2], [3, 0, 1]):
            y, y_YO = numbers(_TOKENS + 1, sum(self.outputs))
            places_B = torch.tensor(places, dtype=torch.int32, device=numbers.device)
            rows_B = torch.tensor(rows, device=numbers.device) if rows[0] else None
            tried = kernels.adapters.rows(self.rank, places_B, rows_B, may_be_negative=True)
            tried.add(a, [b for b, _ in bs], x, y)
            for row, place in zip(rows, places, strict=True):
                if place >= 0:
                    lows = (x_YD[row] @ a_CDR[place]).split(self.rank)
                    y_YO[row] += torch.cat([low @ b_CRO[place] for low, (_, b_CRO) in zip(lows, bs, strict=True)])
            yield y, y_YO


@dataclass(frozen=True, slots=True)
class AttentionTrial:
    """Tests paged attention for rows of these lengths; `is_new`: the new tokens are not yet in the cache."""

    heads: int
    groups: int
    size: int
    window: int | None = None
    softcap: float | None = None
    splits: int = 1
    is_new: bool = False
    lengths: tuple[int, ...] = (300, 1, 70)

    def __call__(self, kernels: Kernels, numbers: Numbers) -> Iterator[Pair]:
        """Yield the output, and the cache's contents afterwards. Cache places that no row may read hold NaN."""
        assert kernels.attention is not None  # noqa: S101  only kernels that exist are tested
        rows, width = len(self.lengths), -(-max(self.lengths) // _PAGE_TOKENS)
        pages_BP = torch.randperm(rows * width, generator=torch.Generator().manual_seed(1)).view(rows, width)
        seen = [self._places(pages_BP[row], end) for row, end in enumerate(self.lengths)]
        last_B = torch.stack([places_S[-1] for places_S in seen])
        caches, news = [], []
        for right in (numbers(self.groups, rows * width * _PAGE_TOKENS, self.size)[1] for _ in range(2)):
            news.append(right[:, last_B].transpose(0, 1).to(numbers.device, numbers.dtype))
            given = torch.full_like(right, torch.nan)
            shown = torch.cat([places_S[:-1] if self.is_new else places_S for places_S in seen])
            given[:, shown] = right[:, shown]
            caches.append((given.to(numbers.device, numbers.dtype), right))
        (query, query_BHK), ((keys, keys_GXK), (values, values_GXK)) = numbers(rows, self.heads, self.size), caches
        out = kernels.attention.attend_rows(
            query,
            keys,
            values,
            pages_BP.to(numbers.device),
            torch.tensor(self.lengths, device=numbers.device),
            page_tokens=_PAGE_TOKENS,
            scaling=self.size**-0.5,
            sliding_window=self.window,
            softcap=self.softcap,
            new=NewTokens(news[0], news[1], last_B.to(numbers.device)) if self.is_new else None,
            splits=self.splits,
        )
        wanted = [self._attended(query_BHK[row], keys_GXK[:, own], values_GXK[:, own]) for row, own in enumerate(seen)]
        yield out, torch.stack(wanted)
        yield from ((found[:, torch.cat(seen)], right[:, torch.cat(seen)]) for found, right in caches)

    @staticmethod
    def _places(pages_P: Tensor, end: int) -> Tensor:
        token_S = torch.arange(end)
        return pages_P[token_S // _PAGE_TOKENS] * _PAGE_TOKENS + token_S % _PAGE_TOKENS

    def _attended(self, query_HK: Tensor, key_GSK: Tensor, value_GSK: Tensor) -> Tensor:
        begin = 0 if self.window is None else max(0, key_GSK.shape[1] - self.window)
        key_GSK, value_GSK = key_GSK[:, begin:], value_GSK[:, begin:]
        score_GNS = query_HK.view(self.groups, -1, self.size) @ key_GSK.transpose(1, 2) * self.size**-0.5
        if self.softcap is not None:
            score_GNS = torch.tanh(score_GNS / self.softcap) * self.softcap
        out_HK: Tensor = (score_GNS.softmax(dim=-1) @ value_GSK).flatten(0, 1)
        return out_HK


TRIALS: dict[Family, tuple[Trial, ...]] = {
    "layers": (
        NormTrial(576),
        NormTrial(3072),
        RotationTrial(9, 3, 64, 64),
        RotationTrial(8, 2, 128, 96),
        RotationTrial(4, 1, 256, 256),
        GateTrial(1536, "silu"),
        GateTrial(1536, "gelu_tanh"),
    ),
    "adapters": (
        AdapterTrial(8, 576, (576, 192, 192)),
        AdapterTrial(16, 1536, (576,)),
        AdapterTrial(16, 3072, (1536, 512, 512)),
    ),
    "attention": (
        AttentionTrial(9, 3, 64, is_new=True),
        AttentionTrial(8, 2, 128, window=40, splits=3, is_new=True),
        AttentionTrial(3, 3, 64, splits=2),
        AttentionTrial(4, 1, 256, window=100, softcap=20.0),
    ),
}


def correct_kernels(tried: Kernels, device: torch.device, trials: Mapping[Family, Sequence[Trial]] = TRIALS) -> Kernels:
    """The kernels, with each family that gives wrong results on this device replaced by plain torch operations."""
    return replace(
        tried,
        layers=tried.layers if is_correct(tried, "layers", device, trials["layers"]) else PLAIN.layers,
        adapters=tried.adapters if is_correct(tried, "adapters", device, trials["adapters"]) else PLAIN.adapters,
        attention=tried.attention if is_correct(tried, "attention", device, trials["attention"]) else PLAIN.attention,
    )


def is_correct(
    tried: Kernels,
    family: Family,
    device: torch.device,
    trials: Sequence[Trial],
    dtypes: Sequence[torch.dtype] = DTYPES,
) -> bool:
    """Whether a family of kernels agrees with plain operations within rounding; logs a warning if not.

    Never raises: an exception of the compiler or the device counts as a wrong result.
    """
    for trial in trials:
        for dtype in dtypes:
            reason = _fault(tried, trial, device, dtype)
            if reason is not None:
                logger.warning(
                    "the GPU goes on without our kernels for %s, more slowly, by plain operations: %s in %s: %s",
                    family,
                    trial,
                    str(dtype).removeprefix("torch."),
                    reason,
                )
                return False
    return True


def _fault(tried: Kernels, trial: Trial, device: torch.device, dtype: torch.dtype) -> str | None:
    try:
        with torch.no_grad(), _new_tensors_hold_nan():
            for found, wanted in trial(tried, Numbers(device, dtype)):
                off = _difference(found.float().cpu(), wanted)
                # The condition is negated so that NaN counts as a fault.
                if not off <= _ROUNDING[found.dtype]:
                    return f"numbers are off by {off:.2g}"
    except Exception as error:  # noqa: BLE001 - after any error, plain operations are used instead
        return f"{type(error).__name__}: {error}"
    return None


def _difference(found: Tensor, wanted: Tensor) -> float:
    if found.shape != wanted.shape:
        raise ValueError(f"a result is of shape {tuple(found.shape)} instead of {tuple(wanted.shape)}")
    usual = wanted.square().mean().sqrt()
    return float(((found - wanted).abs() / (wanted.abs() + usual)).max())


@contextmanager
def _new_tensors_hold_nan() -> Iterator[None]:
    """Make torch fill new tensors with NaN within the `with` block, to find elements that a kernel does not write."""
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
