"""Triton's compiler makes code of every kernel, for two generations of GPUs, none of which is needed for it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
PROGRAM = Path(__file__).with_name("compile_kernels.py")
KERNELS = {
    *(f"{piece}.{way}" for piece in ("norms", "rotation", "gating") for way in ("_forward", "_backward")),
    *(f"adapter_rows.{name}" for name in ("_add", "_shrink", "_expand")),
    *(f"paged_attention.{name}" for name in ("_attend", "_combine")),
}


# Of the models in the program: the smallest, and one with wide heads, a window and a soft cap.
@pytest.mark.parametrize(("model", "dtypes"), [("SmolLM2-135M", "bfloat16,float32"), ("Gemma-3-1B", "bfloat16")])
def test_every_kernel_compiles(model, dtypes, tmp_path):
    # A process of its own: in this one Triton interprets, which it decides when it is first imported.
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    command = [sys.executable, str(PROGRAM), str(tmp_path / "compiled"), dtypes, model]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    # Each for both generations in all types.
    said = json.loads(done.stdout)
    assert set(said["most_shared_bytes"]) == KERNELS
    assert said["kernels"] >= 2 * len(dtypes.split(",")) * len(KERNELS)
