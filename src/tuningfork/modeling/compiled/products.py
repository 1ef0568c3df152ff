"""Products of fp32 rows with frozen weights of one, two or four bytes, by the compiled library.

Weights are read where they lie, such as in a mapped file, and widened to fp32 in registers or caches. Sums are in fp32,
each in one order that depends on the shape of the weights and on the instruction set only. So a row's numbers depend on
neither the other rows nor the number of threads.

Shape suffixes: T tokens, D inputs, O outputs.
"""

import ctypes
from collections.abc import Sequence

import torch
from torch import Tensor

from tuningfork.domain.errors import InternalError
from tuningfork.modeling.compiled.library import Level, Library

TYPES = {torch.float32: 0, torch.bfloat16: 1, torch.float16: 2, torch.int8: 3}
"""The number by which the library knows each type of weights."""


class _Weights(ctypes.Structure):
    """`TfWeights` of products.h."""

    _fields_ = (
        ("parts", ctypes.POINTER(ctypes.c_void_p)),
        ("outputs", ctypes.POINTER(ctypes.c_int64)),
        ("count", ctypes.c_int64),
        ("inputs", ctypes.c_int64),
        ("type", ctypes.c_int32),
        ("scales", ctypes.c_void_p),
    )


class CompiledProduct:
    """`y = W x` for rows of x, and the gradient of x. Keeps its weights alive.

    Args:
        library: the compiled library.
        parts_OD: the parts of W, one below the other; contiguous, on the CPU, of one type of `TYPES`.
        scale_O: what the weights of each output are multiplied with, in fp32; None: nothing.
        level: the instructions to use; None: the best that the processor has.

    """

    dtype = torch.float32

    def __init__(
        self,
        library: Library,
        parts_OD: Sequence[Tensor],
        scale_O: Tensor | None = None,
        *,
        level: Level | None = None,
    ) -> None:
        first = parts_OD[0]
        for part in parts_OD:
            if part.device.type != "cpu" or not part.is_contiguous() or part.dtype not in TYPES:
                raise InternalError(
                    f"weights of shape {tuple(part.shape)} in {part.dtype} on {part.device} are not for compiled "
                    "products, which take contiguous fp32, bf16, fp16 and int8 on the CPU"
                )
            if part.dtype != first.dtype or part.shape[1] != first.shape[1]:
                raise InternalError("the parts of one product's weights differ in their types or inputs")
        self._parts = tuple(parts_OD)
        self._scale_O = None if scale_O is None else scale_O.float().contiguous()
        self._calls = library.calls
        self._calls.tf_product.argtypes = _FORWARD
        self._calls.tf_product_backward.argtypes = _BACKWARD
        self._level = -1 if level is None else int(level)
        self.inputs, self.outputs = first.shape[1], sum(len(part) for part in parts_OD)
        count = len(self._parts)
        self._weights = _Weights(
            (ctypes.c_void_p * count)(*(part.data_ptr() for part in self._parts)),
            (ctypes.c_int64 * count)(*(len(part) for part in self._parts)),
            count,
            self.inputs,
            TYPES[first.dtype],
            None if self._scale_O is None else self._scale_O.data_ptr(),
        )

    def __call__(self, x_TD: Tensor, bias_O: Tensor | None = None) -> Tensor:
        """The output `TO` in fp32, plus a bias in fp32 if there is one."""
        x_TD = _rows(x_TD, self.inputs)
        y_TO = x_TD.new_empty(len(x_TD), self.outputs)
        self._check(
            self._calls.tf_product(
                ctypes.byref(self._weights),
                x_TD.data_ptr(),
                x_TD.stride(0),
                len(x_TD),
                None if bias_O is None else bias_O.data_ptr(),
                y_TO.data_ptr(),
                self.outputs,
                torch.get_num_threads(),
                self._level,
            )
        )
        return y_TO

    def backward(self, grad_TO: Tensor) -> Tensor:
        """The gradient of x, `TD` in fp32, given that of y."""
        grad_TO = _rows(grad_TO, self.outputs)
        grad_TD = grad_TO.new_empty(len(grad_TO), self.inputs)
        self._check(
            self._calls.tf_product_backward(
                ctypes.byref(self._weights),
                grad_TO.data_ptr(),
                grad_TO.stride(0),
                len(grad_TO),
                grad_TD.data_ptr(),
                self.inputs,
                torch.get_num_threads(),
                self._level,
            )
        )
        return grad_TD

    def _check(self, code: int) -> None:
        if code == 1:
            raise InternalError(f"this processor does not have the instructions of level {self._level}; ask `library`")
        if code:
            raise MemoryError("no memory is left for a compiled product")


_FORWARD = (
    *(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p),
    *(ctypes.c_void_p, ctypes.c_int64, ctypes.c_int, ctypes.c_int),
)
_BACKWARD = (
    *(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64),
    *(ctypes.c_void_p, ctypes.c_int64, ctypes.c_int, ctypes.c_int),
)


def _rows(rows: Tensor, size: int) -> Tensor:
    """The same rows, fit to be read by address."""
    if rows.dtype != torch.float32 or rows.dim() != 2 or rows.shape[1] != size or rows.device.type != "cpu":
        raise InternalError(
            f"compiled products take rows of {size} numbers in fp32 on the CPU, not {tuple(rows.shape)} in "
            f"{rows.dtype} on {rows.device}"
        )
    return rows if rows.stride(1) == 1 and rows.stride(0) >= size else rows.contiguous()
