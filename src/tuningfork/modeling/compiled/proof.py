"""Tests compiled functions on the machine before they are used, against torch in fp64.

Shape suffixes: T tokens, D inputs, O outputs, J adapters, R ranks of a group's layers side by side.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from tuningfork.modeling.compiled.cohorts import CompiledCohort
from tuningfork.modeling.compiled.library import Library, library
from tuningfork.modeling.compiled.products import TYPES, CompiledProduct

logger = logging.getLogger(__name__)

_ROUNDING = 1e-5
"""The largest error of a number, relative to its magnitude plus the root mean square of its tensor."""
_ROWS = (1, 2, 3, 7, 30)

Pair = tuple[Tensor, Tensor]
"""A result in fp32, and the right one: in fp64 if it may be off by rounding, in fp32 if it must have the same bits."""

Trial = Callable[[Library], Iterator[Pair]]


@dataclass(frozen=True, slots=True)
class ProductTrial:
    """Tests products with weights of this type and shape, made of parts."""

    dtype: torch.dtype
    inputs: int
    outputs: tuple[int, ...]

    def __call__(self, tried: Library) -> Iterator[Pair]:
        """Yield the results of both directions, and those of fewer rows, which must have the same bits."""
        draw = torch.Generator().manual_seed(0)
        parts, scale_O = self._weights(draw)
        weight_OD = torch.cat(parts).double()
        if scale_O is not None:
            weight_OD *= scale_O[:, None]
        most, (outputs, inputs) = max(_ROWS), weight_OD.shape
        x_TD, grad_TO = (torch.randn(most, each, generator=draw) for each in (inputs, outputs))
        bias_O = torch.randn(outputs, generator=draw)
        product = CompiledProduct(tried, parts, scale_O)
        y_TO, grad_TD = product(x_TD, bias_O), product.backward(grad_TO)
        yield y_TO, x_TD.double() @ weight_OD.t() + bias_O
        yield grad_TD, grad_TO.double() @ weight_OD
        for rows in _ROWS:
            yield product(x_TD[-rows:], bias_O), y_TO[-rows:]
            yield product.backward(grad_TO[-rows:]), grad_TD[-rows:]

    def _weights(self, draw: torch.Generator) -> tuple[list[Tensor], Tensor | None]:
        parts = [torch.randn(each, self.inputs, generator=draw) for each in self.outputs]
        if self.dtype != torch.int8:
            return [part.to(self.dtype) for part in parts], None
        # From -127 to 127, so that all bits take part.
        rounded = [(part * 127 / part.abs().amax()).round().to(torch.int8) for part in parts]
        return rounded, torch.rand(sum(self.outputs), generator=draw) + 0.5


@dataclass(frozen=True, slots=True)
class CohortTrial:
    """Tests products of two adapters of this rank and type at a group of layers of this shape, and of one alone.

    All numbers are small and whole, so that every result is exact in each type, also where halves of them are taken.
    """

    dtype: torch.dtype
    rank: int
    inputs: int
    outputs: tuple[int, ...]

    def __call__(self, tried: Library) -> Iterator[Pair]:
        """Yield what forward and backward pass give: of two adapters together, then of the second alone."""
        draw = torch.Generator().manual_seed(0)
        jobs, rows, ranks = 2, 7, self.rank * len(self.outputs)

        def drawn(*shape: int) -> Tensor:
            return torch.randint(-1, 2, shape, generator=draw).to(self.dtype)

        a_JRD, bs_JRO = drawn(jobs, ranks, self.inputs), [drawn(jobs, self.rank, each) for each in self.outputs]
        x_JTD, y_JTO, grad_JTO = (drawn(jobs, rows, each) for each in (self.inputs, *[sum(self.outputs)] * 2))
        right = _adapted(a_JRD, bs_JRO, x_JTD, y_JTO, grad_JTO)
        for own in (slice(jobs), slice(1, jobs)):
            weights = _side_by_side([a_JRD[own], *(each[own] for each in bs_JRO)])
            grads = _side_by_side([torch.full_like(each, 3) for each in weights])
            y_TO, grad_TD = y_JTO[own].flatten(0, 1).clone(), torch.ones_like(x_JTD[own].flatten(0, 1))
            cohort = CompiledCohort(tried, 0.5, weights[0], weights[1:], grads[0], grads[1:])
            low_TR = cohort.add(x_JTD[own].flatten(0, 1), y_TO)
            cohort.backward(grad_JTO[own].flatten(0, 1), x_JTD[own].flatten(0, 1), low_TR, grad_TD)
            for found, wanted in zip((y_TO, grad_TD, *grads), right, strict=True):
                yield found.float(), wanted[own].reshape(found.shape).to(self.dtype).float()


def _side_by_side(tensors: Sequence[Tensor]) -> list[Tensor]:
    """The same tensors, with all numbers of each adapter in one row of memory."""
    flat = torch.cat([each.flatten(1) for each in tensors], dim=1)
    parts = torch.split(flat, [each[0].numel() for each in tensors], dim=1)
    return [part.view(each.shape) for part, each in zip(parts, tensors, strict=True)]


def _adapted(a_JRD: Tensor, bs_JRO: Sequence[Tensor], x_JTD: Tensor, y_JTO: Tensor, grad_JTO: Tensor) -> list[Tensor]:
    """The right output, the gradient of x plus 1, and the gradients of A and of each B, computed in fp64."""
    a_JRD, x_JTD, y_JTO, grad_JTO, *bs_JRO = (each.double() for each in (a_JRD, x_JTD, y_JTO, grad_JTO, *bs_JRO))
    lows = torch.split(x_JTD @ a_JRD.transpose(1, 2) / 2, bs_JRO[0].shape[1], dim=2)
    added = [low @ b for low, b in zip(lows, bs_JRO, strict=True)]
    grads = torch.split(grad_JTO, [each.shape[2] for each in bs_JRO], dim=2)
    grad_JTR = torch.cat([grad @ b.transpose(1, 2) / 2 for grad, b in zip(grads, bs_JRO, strict=True)], dim=2)
    grads_b = [low.transpose(1, 2) @ grad for low, grad in zip(lows, grads, strict=True)]
    return [y_JTO + torch.cat(added, dim=2), 1 + grad_JTR @ a_JRD, grad_JTR.transpose(1, 2) @ x_JTD, *grads_b]


TRIALS: tuple[Trial, ...] = (
    *(
        ProductTrial(dtype, *shape)
        for dtype in TYPES
        for shape in ((576, (64, 32, 32)), (1300, (50,)), (37, (3, 9)), (64, (300,)))
    ),
    *(
        CohortTrial(dtype, *shape)
        for dtype in (torch.float32, torch.bfloat16)
        for shape in ((1, 37, (40,)), (8, 40, (33, 16, 7)))
    ),
)


@cache
def proven() -> Library | None:
    """The library of this installation, if all its functions give right results here; tried once in a process."""
    found = library()
    return found if found is not None and is_correct(found) else None


def is_correct(tried: Library, trials: Sequence[Trial] = TRIALS) -> bool:
    """Whether the results agree with torch's, and rows do not depend on each other; logs a warning if not.

    Never raises: an error counts as a wrong result. Instructions that the processor does not have end the process.
    """
    for trial in trials:
        reason = _fault(tried, trial)
        if reason is not None:
            logger.warning("the CPU goes on without the compiled parts, more slowly: %s: %s", trial, reason)
            return False
    return True


def _fault(tried: Library, trial: Trial) -> str | None:
    try:
        with torch.no_grad():
            for found, wanted in trial(tried):
                if wanted.dtype == torch.float32:
                    if not torch.equal(found, wanted):
                        return "a row's numbers depend on the other rows"
                    continue
                usual = wanted.square().mean().sqrt()
                off = float(((found - wanted).abs() / (wanted.abs() + usual)).max())
                # The condition is negated so that NaN counts as a fault.
                if not off <= _ROUNDING:
                    return f"numbers are off by {off:.2g}"
    except Exception as error:  # noqa: BLE001 - after any error, plain operations are used instead
        return f"{type(error).__name__}: {error}"
    return None
