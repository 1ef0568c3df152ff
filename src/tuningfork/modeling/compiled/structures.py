"""The structures of `step_types.h`, in the same order; `check` compares their sizes with the library's."""

import ctypes
from ctypes import POINTER, c_double, c_int32, c_int64, c_void_p

import torch

MOST_PARTS = 3
TYPES = {torch.float32: 0, torch.bfloat16: 1, torch.float16: 2, torch.int8: 3}
"""The numbers by which the library knows the types of weights."""


class Product(ctypes.Structure):
    """A product with a base's weights."""

    _fields_ = (
        ("weights", c_void_p * MOST_PARTS),
        ("outputs", c_int64 * MOST_PARTS),
        ("parts", c_int64),
        ("inputs", c_int64),
        ("type", c_int64),
        ("scales", c_void_p),
        ("bias", c_void_p),
        ("group", c_int64),
        ("layers", c_int64),
        ("layer_outputs", c_int64 * MOST_PARTS),
    )


class Norm(ctypes.Structure):
    """An RMS norm."""

    _fields_ = (("weight", c_void_p), ("epsilon", c_double))


class Layer(ctypes.Structure):
    """A layer and its part of the cache."""

    _fields_ = (
        *((name, Norm) for name in ("attention_norm", "query_norm", "key_norm")),
        *((name, Norm) for name in ("after_attention", "mlp_norm", "after_mlp")),
        *((name, Product) for name in ("query_key_value", "out", "gate_up", "down")),
        ("keys", c_void_p),
        ("values", c_void_p),
        ("rotation", c_int64),
        ("scaling", c_double),
        ("window", c_int64),
        ("softcap", c_double),
    )


class Model(ctypes.Structure):
    """A model and its cache."""

    _fields_ = (
        ("layers", POINTER(Layer)),
        ("layer_count", c_int64),
        ("norm", Norm),
        ("head", Product),
        ("logit_softcap", c_double),
        *((name, c_int64) for name in ("hidden", "heads", "key_heads", "head_size", "features")),
        ("gelu", c_int64),
        ("cache_places", c_int64),
        ("page_tokens", c_int64),
        ("cache_type", c_int64),
    )


class Rank(ctypes.Structure):
    """The tables of all adapters of one rank."""

    _fields_ = (("rank", c_int64), ("type", c_int64), ("a", POINTER(c_void_p)), ("b", POINTER(c_void_p)))


class Rotation(ctypes.Structure):
    """The rotations of all rows, for one kind of layer."""

    _fields_ = (("cosines", c_void_p), ("sines", c_void_p), ("size", c_int64))


class Row(ctypes.Structure):
    """A row: its pages, its length with the new token, and its adapter."""

    _fields_ = (("pages", c_void_p), ("end", c_int64), ("rank", c_int64), ("place", c_int64))


class Step(ctypes.Structure):
    """The rows of a step, and where its results go."""

    _fields_ = (
        ("rows", POINTER(Row)),
        ("row_count", c_int64),
        ("ranks", POINTER(Rank)),
        ("rank_count", c_int64),
        ("rotations", POINTER(Rotation)),
        ("stream", c_void_p),
        ("logits", c_void_p),
        ("workspace", c_void_p),
        ("threads", c_int64),
        ("level", c_int64),
    )


def declare(calls: ctypes.CDLL) -> None:
    """Set the arguments and results of the library's functions for decoding steps.

    Raises:
        AttributeError: the library has no such functions.
        ValueError: its structures are others than those here.

    """
    calls.tf_step_sizes.argtypes = (POINTER(c_int64),)
    calls.tf_step_sizes.restype = None
    calls.tf_step_bytes.argtypes = (POINTER(Model), POINTER(Step))
    calls.tf_step_bytes.restype = c_int64
    calls.tf_step.argtypes = (POINTER(Model), POINTER(Step))
    calls.tf_step.restype = c_int32
    own = [ctypes.sizeof(each) for each in (Product, Norm, Layer, Model, Rank, Rotation, Row, Step)]
    sizes = (c_int64 * len(own))()
    calls.tf_step_sizes(sizes)
    if list(sizes) != own:
        raise ValueError(f"the library's structures have {list(sizes)} bytes, structures.py describes {own}")
