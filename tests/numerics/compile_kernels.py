"""Compiles every kernel for GPUs, through the functions that launch it, on a machine that needs none; says how many.

Tensors stay on the CPU: nothing is launched. Arguments: the directory for what is compiled; types of numbers, separated
by commas; names of models, none: all.
"""

import itertools
import json
import os
import sys

os.environ.pop("TRITON_INTERPRET", None)
os.environ["TRITON_CACHE_DIR"] = sys.argv[1]

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.runtime.jit import JITFunction

from tuningfork.modeling.kernels import adapter_rows, gating, norms, paged_attention, rotation
from tuningfork.modeling.kernels.base import HeadNorms, NewTokens, RmsNorm

COMPILED = []
# Hidden size, MLP's features, heads, key heads, head size.
MODELS = {
    "SmolLM2-135M": (576, 1536, 9, 3, 64),
    "Llama-3.2-1B": (2048, 8192, 32, 8, 64),
    "Llama-3.2-3B": (3072, 8192, 24, 8, 128),
    "Llama-3.1-8B": (4096, 14336, 32, 8, 128),
    "Gemma-3-1B": (1152, 6912, 4, 1, 256),
}
MOST_SHARED = {80: 163_000, 90: 227_000}
"""Bytes of shared memory that a program may have."""


class Driver:
    """A GPU that is not there."""

    def __init__(self, capability):
        self.target = GPUTarget("cuda", capability, 32)

    def get_current_target(self):
        return self.target

    def get_current_device(self):
        return self.target.arch

    def get_current_stream(self, _device):
        return 0


def compile_only(run):
    def compiled(self, *args, grid, warmup, **kwargs):
        # Products are widened for tensors on a CPU, which here stand for such on a GPU.
        kwargs |= {"widen": False} if "widen" in kwargs else {}
        kernel = run(self, *args, grid=grid, warmup=True, **kwargs)
        if hasattr(kernel, "result"):
            kernel = kernel.result()
        COMPILED.append((f"{self.module.rpartition('.')[2]}.{self.__name__}", kernel))
        return kernel

    return compiled


def norm(hidden, dtype):
    x, weight = torch.zeros(3, hidden, dtype=dtype), torch.ones(hidden)
    stream = x.float()
    _, inverse = norms.rms_norm(stream, weight, 1e-5, dtype)
    norms.add_rms_norm(stream, x, weight, 1e-5, dtype)
    norms.rms_norm_backward(x, stream, inverse, weight, stream)
    norms.rms_norm_backward(x, stream, inverse, weight, None, dtype)
    norms.rms_norm_backward_rounded(x, stream, inverse, weight, stream, dtype)


def turn(heads, groups, size, dtype):
    joint = heads + groups
    all_TLK = torch.zeros(3, joint + groups, size, dtype=dtype)
    cos_T1K, weight = torch.ones(3, 1, size), torch.ones(size)
    rotation.rotate_(all_TLK, joint, cos_T1K, cos_T1K, 1)
    own = HeadNorms(heads, RmsNorm(weight, 1e-6), RmsNorm(weight, 1e-6))
    for tables in ((cos_T1K, cos_T1K), (None, None)):
        x_TJK, inverse_TJ1 = rotation.norm_rotate_(all_TLK, joint, own, *tables)
        rotation.norm_rotate_backward_(all_TLK, x_TJK, inverse_TJ1, own, *tables)


def gate(features, kind, dtype):
    both_TF = torch.zeros(3, 2 * features, dtype=dtype)
    gating.gated_backward(kind, gating.gated(kind, both_TF), both_TF)


def adapters(rank, inputs, outputs, dtype):
    a_CDR, y_YO = torch.zeros(2, inputs, rank * len(outputs), dtype=dtype), torch.zeros(3, sum(outputs), dtype=dtype)
    places_B = torch.zeros(3, dtype=torch.int32)
    bs_CRO = [torch.zeros(2, rank, each, dtype=dtype) for each in outputs]
    adapter_rows.add_rows(torch.zeros(3, inputs, dtype=dtype), a_CDR, bs_CRO, rank, places_B, y_YO)


def attention(heads, groups, size, dtype, window, softcap, splits, is_new):
    query_BHK = torch.zeros(heads, 3, size, dtype=dtype).transpose(0, 1)
    keys_GXK = torch.zeros(groups, 320, size, dtype=dtype)
    numbers_B = torch.ones(3, dtype=torch.int64)
    fed = torch.zeros(groups, 3, size, dtype=dtype).transpose(0, 1)
    paged_attention.attend_rows(
        query_BHK,
        keys_GXK,
        keys_GXK,
        torch.zeros(3, 10, dtype=torch.int64),
        numbers_B,
        page_tokens=32,
        scaling=0.1,
        sliding_window=window,
        softcap=softcap,
        new=NewTokens(fed, fed, numbers_B) if is_new else None,
        splits=splits,
    )


def model(hidden, features, heads, groups, size, dtype):
    norm(hidden, dtype)
    turn(heads, groups, size, dtype)
    gate(features, "gelu_tanh" if size == 256 else "silu", dtype)
    wide = size == 256
    attention(heads, groups, size, dtype, 512 if wide else None, 50.0 if wide else None, 1, True)
    attention(heads, groups, size, dtype, None, None, 4, False)
    for rank in (8, 16, 64):
        adapters(rank, hidden, (heads * size, groups * size, groups * size), dtype)
        adapters(rank, features, (hidden,), dtype)


def main():
    JITFunction.run = compile_only(JITFunction.run)
    seen = {}
    dtypes = [getattr(torch, name) for name in sys.argv[2].split(",")]
    for capability, dtype, name in itertools.product(MOST_SHARED, dtypes, sys.argv[3:] or MODELS):
        triton.runtime.driver.set_active(Driver(capability))
        COMPILED.clear()
        model(*MODELS[name], dtype)
        for kind, kernel in COMPILED:
            if not kernel.asm.get("cubin"):
                sys.exit(f"{kind} has no code for {name}")
            if kernel.metadata.shared > MOST_SHARED[capability]:
                sys.exit(f"{kind} asks for {kernel.metadata.shared} bytes of shared memory: {name}")
            seen[kernel.hash] = (kind, kernel.metadata.shared)
    shared = {}
    for name, size in seen.values():
        shared[name] = max(size, shared.get(name, 0))
    sys.stdout.write(json.dumps({"triton": triton.__version__, "kernels": len(seen), "most_shared_bytes": shared}))


main()
