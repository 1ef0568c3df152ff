"""Products of trained adapters, forward and backward, by the compiled library.

One call does what takes several products of torch, of narrow matrices that its libraries are slow at. Sums are in fp32,
each in one order, and an adapter's numbers depend on its own rows and weights only.

Shape suffixes: J adapters, T rows of all adapters, D inputs of a group's layers, O outputs of a layer, or of all layers
side by side, R ranks of the layers side by side.
"""

import ctypes
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from tuningfork.domain.errors import InternalError
from tuningfork.modeling.compiled.library import Level, Library

MOST_LAYERS = 3
_TYPES = {torch.float32: 0, torch.bfloat16: 1}


class _Cohort(ctypes.Structure):
    """`TfCohort` of cohorts.h."""

    _fields_ = (
        ("type", ctypes.c_int64),
        *((name, ctypes.c_int64) for name in ("jobs", "rows", "inputs", "rank", "layers")),
        ("outputs", ctypes.c_int64 * MOST_LAYERS),
        ("job_stride", ctypes.c_int64),
        ("a", ctypes.c_void_p),
        ("b", ctypes.c_void_p * MOST_LAYERS),
        ("grad_a", ctypes.c_void_p),
        ("grad_b", ctypes.c_void_p * MOST_LAYERS),
        ("scale", ctypes.c_double),
    )


class CompiledCohort:
    """The products of some adapters of one shape at one group of layers. Keeps their weights alive.

    Args:
        library: the compiled library.
        scale: what an adapter's products are multiplied with.
        a_JRD: A of all layers, one below the other.
        bs_JRO: B of each layer, transposed; at most `MOST_LAYERS`.
        grad_a_JRD: where the gradient of A is written; laid out like A, as the next ones are like B.
        grad_bs_JRO: where the gradients of B are written.
        level: the instructions to use; None: the best that the processor has.

    """

    def __init__(
        self,
        library: Library,
        scale: float,
        a_JRD: Tensor,
        bs_JRO: Sequence[Tensor],
        grad_a_JRD: Tensor,
        grad_bs_JRO: Sequence[Tensor],
        *,
        level: Level | None = None,
    ) -> None:
        self._kept = (a_JRD, *bs_JRO, grad_a_JRD, *grad_bs_JRO)
        for each in self._kept:
            apart = len(each) == 1 or each.stride(0) == a_JRD.stride(0)
            if not (apart and each[0].is_contiguous() and each.dtype == a_JRD.dtype):
                raise InternalError("the weights and gradients of a cohort's adapters are not laid out alike")
        self._calls = library.calls
        declare(self._calls)
        self._level = -1 if level is None else int(level)
        self._dtype, (self._jobs, self._ranks, self._inputs) = a_JRD.dtype, a_JRD.shape
        self._outputs = sum(each.shape[2] for each in bs_JRO)
        self._cohort = _Cohort(
            type=_TYPES[a_JRD.dtype],
            jobs=self._jobs,
            inputs=self._inputs,
            rank=bs_JRO[0].shape[1],
            layers=len(bs_JRO),
            outputs=(ctypes.c_int64 * MOST_LAYERS)(*(each.shape[2] for each in bs_JRO)),
            job_stride=a_JRD.stride(0),
            a=a_JRD.data_ptr(),
            b=(ctypes.c_void_p * MOST_LAYERS)(*(each.data_ptr() for each in bs_JRO)),
            grad_a=grad_a_JRD.data_ptr(),
            grad_b=(ctypes.c_void_p * MOST_LAYERS)(*(each.data_ptr() for each in grad_bs_JRO)),
            scale=scale,
        )

    def add(self, x_TD: Tensor, y_TO: Tensor) -> Tensor:
        """Add scale * B A x to y; returns scale * A x, `TR` in fp32, for `backward`."""
        x_TD = self._rows(x_TD, self._inputs)
        low_TR = torch.empty(len(x_TD), self._ranks)
        self._cohort.rows = len(x_TD) // self._jobs
        self._check(
            self._calls.tf_cohort_add(
                ctypes.byref(self._cohort),
                x_TD.data_ptr(),
                x_TD.stride(0),
                self._written(y_TO, self._outputs).data_ptr(),
                y_TO.stride(0),
                low_TR.data_ptr(),
                torch.get_num_threads(),
                self._level,
            )
        )
        return low_TR

    def backward(self, grad_TO: Tensor, x_TD: Tensor, kept_TR: Tensor, grad_TD: Tensor | None) -> None:
        """Write the gradients of A and B, and add the gradient of x to `grad_TD`, unless that is None."""
        x_TD, grad_TO = self._rows(x_TD, self._inputs), self._rows(grad_TO, self._outputs)
        grad_TR = torch.empty_like(kept_TR)
        self._cohort.rows = len(x_TD) // self._jobs
        self._check(
            self._calls.tf_cohort_backward(
                ctypes.byref(self._cohort),
                grad_TO.data_ptr(),
                grad_TO.stride(0),
                x_TD.data_ptr(),
                x_TD.stride(0),
                kept_TR.data_ptr(),
                grad_TR.data_ptr(),
                None if grad_TD is None else self._written(grad_TD, self._inputs).data_ptr(),
                0 if grad_TD is None else grad_TD.stride(0),
                torch.get_num_threads(),
                self._level,
            )
        )

    def _check(self, code: int) -> None:
        if code:
            raise InternalError(f"this processor does not have the instructions of level {self._level}; ask `library`")

    def _rows(self, rows: Tensor, size: int) -> Tensor:
        """The same rows, fit to be read by address."""
        if rows.dtype != self._dtype or rows.shape[1] != size or len(rows) % self._jobs:
            raise InternalError(
                f"{self._jobs} adapters take equally many rows of {size} numbers in {self._dtype}, not "
                f"{tuple(rows.shape)} in {rows.dtype}"
            )
        return rows if rows.stride(1) == 1 and rows.stride(0) >= size else rows.contiguous()

    def _written(self, rows: Tensor, size: int) -> Tensor:
        if self._rows(rows, size) is not rows:
            raise InternalError(f"rows with strides {rows.stride()} cannot be written to by address")
        return rows


def cohort_products(library: Library | None, dtype: torch.dtype) -> "partial[CompiledCohort] | None":
    """What makes the products of cohorts of adapters of this type; None: torch is to compute them."""
    # Below AVX2, torch's products are faster than the code for any processor.
    if library is None or library.level < Level.AVX2 or dtype not in _TYPES:
        return None
    return partial(CompiledCohort, library)


def declare(calls: ctypes.CDLL) -> None:
    """Set the arguments and results of the library's functions for cohorts.

    Raises:
        AttributeError: the library has no such functions.
        ValueError: its structure is another than the one here.

    """
    size, number = ctypes.c_void_p, ctypes.c_int64
    rows = (size, number)
    calls.tf_cohort_size.restype = number
    calls.tf_cohort_add.argtypes = (size, *rows, *rows, size, ctypes.c_int, ctypes.c_int)
    calls.tf_cohort_backward.argtypes = (size, *rows, *rows, size, size, *rows, ctypes.c_int, ctypes.c_int)
    if calls.tf_cohort_size() != ctypes.sizeof(_Cohort):
        raise ValueError(f"the library's cohorts have {calls.tf_cohort_size()} bytes, not {ctypes.sizeof(_Cohort)}")
