"""Kernels are tried on the machine before they are used: beside plain operations, in fp32 on the CPU.

Shape suffixes: T tokens, D features, F features of the MLP, L all heads, K head size; of rows with adapters and of
attention as in their modules.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from tuningfork.modeling.decoder.pieces import ACTIVATIONS, Normed, RmsNorm, Rotation, Turn, gated, gated_backward
from tuningfork.modeling.kernels import Family

logger = logging.getLogger(__name__)

DTYPES = (torch.bfloat16, torch.float16, torch.float32)
_ROUNDING = {torch.bfloat16: 2**-6, torch.float16: 2**-9, torch.float32: 1e-4}
"""How far a number may be off, as a share of itself and of the usual size of its like."""
_EPSILON = 1e-5
_TOKENS = 3
_PAGE_TOKENS = 32

Pair = tuple[Tensor, Tensor]
"""What kernels gave, and what is right."""


class Numbers:
    """Random numbers: on a device in a type, and the same in fp32 on the CPU."""

    def __init__(self, device: torch.device, dtype: torch.dtype) -> None:
        self.device, self.dtype = device, dtype
        self._draw = torch.Generator().manual_seed(0)

    def __call__(self, *shape: int, dtype: torch.dtype | None = None, scale: float = 1.0) -> Pair:
        """Both, of that type or of the usual one."""
        drawn = (torch.randn(shape, generator=self._draw) * scale).to(dtype or self.dtype)
        return drawn.clone().to(self.device), drawn.float()

    def exact(self, *shape: int) -> Pair:
        """Both in fp32."""
        return self(*shape, dtype=torch.float32)


Trial = Callable[[Numbers], Iterator[Pair]]


@dataclass(frozen=True, slots=True)
class Norm:
    """Norms of rows of that size, which lie among others."""

    size: int

    def __call__(self, numbers: Numbers) -> Iterator[Pair]:
        """There and back, with and without a sum."""
        from tuningfork.modeling.kernels import norms  # noqa: PLC0415  imports Triton

        shape, own = (_TOKENS, 2 * self.size), slice(self.size)
        (x, x_TD), (slope, slope_TD) = numbers(*shape), numbers(*shape)
        x, x_TD, slope, slope_TD = x[:, own], x_TD[:, own], slope[:, own], slope_TD[:, own]
        (rest, rest_TD), (weight, weight_D) = numbers.exact(_TOKENS, self.size), numbers.exact(self.size)
        right = RmsNorm(weight_D, _EPSILON)
        y_TD, normed = right.forward(x_TD)
        yield from zip(norms.rms_norm(x, weight, _EPSILON, numbers.dtype), (y_TD, normed.inverse), strict=True)
        kept = x, normed.inverse.to(numbers.device), weight
        yield norms.rms_norm_backward(slope, *kept, None, numbers.dtype), right.backward(slope_TD, normed)
        wanted_TD = right.backward(slope_TD, normed, rest_TD)
        for found in norms.rms_norm_backward_rounded(slope, *kept, rest, numbers.dtype):
            yield found, wanted_TD
        y_TD, normed = right.forward_sum(rest_TD, x_TD, torch.float32)
        found_sum = norms.add_rms_norm(rest, x, weight, _EPSILON, numbers.dtype)
        yield from zip(found_sum, (normed.x, y_TD, normed.inverse), strict=True)


@dataclass(frozen=True, slots=True)
class Turned:
    """Queries and keys before attention: so many heads and key heads, of which the first features are rotated."""

    heads: int
    key_heads: int
    size: int
    rotated: int

    def __call__(self, numbers: Numbers) -> Iterator[Pair]:
        """With and without norms, there and back, in place."""
        from tuningfork.modeling.kernels import rotation  # noqa: PLC0415  imports Triton

        joint = self.heads + self.key_heads
        (cos, cos_T1K), (sin, sin_T1K) = (numbers.exact(_TOKENS, 1, self.rotated) for _ in range(2))
        (query, query_K), (key, key_K) = (numbers.exact(self.size) for _ in range(2))
        turn = Rotation(cos_T1K, sin_T1K)
        plain = Turn(heads=self.heads, key_heads=self.key_heads, query_norm=None, key_norm=None, rotation=turn)
        for direction, undo in ((1, None), (-1, plain.backward_)):
            all_, all_TLK = self._heads(numbers)
            rotation.rotate_(all_, joint, cos, sin, direction)
            plain.forward_(all_TLK) if undo is None else undo(all_TLK, None)
            yield all_, all_TLK
        normed = Turn(
            heads=self.heads,
            key_heads=self.key_heads,
            query_norm=RmsNorm(query_K, _EPSILON),
            key_norm=RmsNorm(key_K, _EPSILON),
            rotation=turn,
        )
        norms = rotation.HeadNorms(self.heads, query, _EPSILON, key, _EPSILON)
        all_, all_TLK = self._heads(numbers)
        found = rotation.norm_rotate_(all_, joint, norms, cos, sin)
        kept = normed.forward_(all_TLK)
        yield all_, all_TLK
        if kept is not None:
            yield from zip(found, (kept.x, kept.inverse), strict=True)
            yield self._backward(numbers, normed, kept, norms, (cos, sin))

    def _backward(
        self, numbers: Numbers, normed: Turn, kept: Normed, norms: object, tables: tuple[Tensor, Tensor]
    ) -> Pair:
        from tuningfork.modeling.kernels import rotation  # noqa: PLC0415  imports Triton

        slope, slope_TLK = self._heads(numbers)
        x, inverse = kept.x.to(numbers.device, numbers.dtype), kept.inverse.to(numbers.device)
        rotation.norm_rotate_backward_(slope, x, inverse, norms, *tables)  # type: ignore[arg-type]
        normed.backward_(slope_TLK, kept)
        return slope, slope_TLK

    def _heads(self, numbers: Numbers) -> Pair:
        return numbers(_TOKENS, self.heads + 2 * self.key_heads, self.size)


@dataclass(frozen=True, slots=True)
class Gate:
    """The gate of an MLP with so many features."""

    features: int
    kind: str

    def __call__(self, numbers: Numbers) -> Iterator[Pair]:
        """There and back."""
        from tuningfork.modeling.kernels import gating  # noqa: PLC0415  imports Triton

        activation = ACTIVATIONS[self.kind]()
        (both, both_TF), (slope, slope_TF) = numbers(_TOKENS, 2 * self.features), numbers(_TOKENS, self.features)
        inner_TF, acted_TF = gated(activation, both_TF)
        yield gating.gated(activation.kind, both), inner_TF
        found = gating.gated_backward(activation.kind, slope, both)
        yield found, gated_backward(activation, slope_TF, both_TF, acted_TF)


@dataclass(frozen=True, slots=True)
class Adapters:
    """Adapters of one rank at one group of layers."""

    rank: int
    inputs: int
    outputs: tuple[int, ...]

    def __call__(self, numbers: Numbers) -> Iterator[Pair]:
        """Of all rows in order, and of some; one takes none."""
        from tuningfork.modeling.kernels.adapter_rows import add_rows  # noqa: PLC0415  imports Triton

        places = [1, -1, 0]
        x, x_YD = numbers(_TOKENS + 1, self.inputs)
        a, a_CDR = numbers(2, self.inputs, self.rank * len(self.outputs), scale=self.inputs**-0.5)
        bs = [numbers(2, self.rank, each, scale=self.rank**-0.5) for each in self.outputs]
        for rows in ([0, 1, 2], [3, 0, 1]):
            y, y_YO = numbers(_TOKENS + 1, sum(self.outputs))
            places_B = torch.tensor(places, dtype=torch.int32, device=numbers.device)
            rows_B = torch.tensor(rows, device=numbers.device) if rows[0] else None
            add_rows(x, a, [b for b, _ in bs], self.rank, places_B, y, rows_B)
            for row, place in zip(rows, places, strict=True):
                if place >= 0:
                    lows = (x_YD[row] @ a_CDR[place]).split(self.rank)
                    y_YO[row] += torch.cat([low @ b_CRO[place] for low, (_, b_CRO) in zip(lows, bs, strict=True)])
            yield y, y_YO


@dataclass(frozen=True, slots=True)
class Attention:
    """Rows with one new token each; `is_new`: it is still to be written to the cache."""

    heads: int
    groups: int
    size: int
    window: int | None = None
    softcap: float | None = None
    stretches: int = 1
    is_new: bool = False
    lengths: tuple[int, ...] = (300, 1, 70)

    def __call__(self, numbers: Numbers) -> Iterator[Pair]:
        """The output, and what was written; what no row may look at is no number."""
        from tuningfork.modeling.kernels.paged_attention import NewTokens, attend_rows  # noqa: PLC0415  imports Triton

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
        out = attend_rows(
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
            stretches=self.stretches,
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
    "pieces": (
        Norm(576),
        Norm(3072),
        Turned(9, 3, 64, 64),
        Turned(8, 2, 128, 96),
        Turned(4, 1, 256, 256),
        Gate(1536, "silu"),
        Gate(1536, "gelu_tanh"),
    ),
    "adapters": (
        Adapters(8, 576, (576, 192, 192)),
        Adapters(16, 1536, (576,)),
        Adapters(16, 3072, (1536, 512, 512)),
    ),
    "attention": (
        Attention(9, 3, 64, is_new=True),
        Attention(8, 2, 128, window=40, stretches=3, is_new=True),
        Attention(3, 3, 64, stretches=2),
        Attention(4, 1, 256, window=100, softcap=20.0),
    ),
}


def is_right(
    family: Family, device: torch.device, trials: Sequence[Trial] | None = None, dtypes: Sequence[torch.dtype] = DTYPES
) -> bool:
    """Whether a family's kernels agree, within rounding, with plain operations; if not, a warning says so.

    Never raises, whatever compilers and devices say. `trials` None: all of the family.
    """
    for trial in TRIALS[family] if trials is None else trials:
        for dtype in dtypes:
            reason = _fault(trial, device, dtype)
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


def _fault(trial: Trial, device: torch.device, dtype: torch.dtype) -> str | None:
    try:
        with torch.no_grad(), _unwritten_is_no_number():
            for found, wanted in trial(Numbers(device, dtype)):
                off = _difference(found.float().cpu(), wanted)
                # Not a number is not near either.
                if not off <= _ROUNDING[found.dtype]:
                    return f"numbers are off by {off:.2g}"
    except Exception as error:  # noqa: BLE001 - whatever it is, plain operations do the work
        return f"{type(error).__name__}: {error}"
    return None


def _difference(found: Tensor, wanted: Tensor) -> float:
    if found.shape != wanted.shape:
        raise ValueError(f"a result is of shape {tuple(found.shape)} instead of {tuple(wanted.shape)}")
    usual = wanted.square().mean().sqrt()
    return float(((found - wanted).abs() / (wanted.abs() + usual)).max())


@contextmanager
def _unwritten_is_no_number() -> Iterator[None]:
    """Fill new tensors, so that what a kernel forgets to write is found."""
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
