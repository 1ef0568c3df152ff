"""The types that models are computed in, as parameters of tests.

What is said of bfloat16 is said of processors that have products of it. On others the service computes in float32,
where torch would emulate them, some hundred times slower and through other code. So a test in bfloat16 carries the
marker `bf16` and is skipped there, and what it promises is tested in float32 too.
"""

import pytest
import torch

FLOAT32 = pytest.param(torch.float32, id="fp32")
BFLOAT16 = pytest.param(torch.bfloat16, id="bf16", marks=pytest.mark.bf16)
BOTH = [FLOAT32, BFLOAT16]
EVERY_ARCHITECTURE_AND_BFLOAT16 = [
    pytest.param("llama", torch.float32, id="llama-fp32"),
    pytest.param("qwen3", torch.float32, id="qwen3-fp32"),
    pytest.param("gemma3", torch.float32, id="gemma3-fp32"),
    pytest.param("llama", torch.bfloat16, id="llama-bf16", marks=pytest.mark.bf16),
]
