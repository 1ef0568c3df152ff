"""What a processor computes in, also where oneDNN and torch are held to less than it can."""

import json
import os
import subprocess
import sys

import pytest
import torch

from tuningfork.modeling.device.processor import (
    computes_bfloat16,
    native_dtype,
    rearranged,
    rearranged_linear,
    rearranges,
)

HELD_TO_AVX2 = {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}
X86 = "x86_64"

ASKED = """
import json, sys, torch
from tuningfork.modeling.decoder.products import FrozenProduct, can_be_packed
from tuningfork.modeling.device.processor import computes_bfloat16, native_dtype

draw = torch.Generator().manual_seed(0)
weight_OD, x_TD, grad_TO = (torch.randn(shape, generator=draw).bfloat16() for shape in ((96, 64), (5, 64), (5, 96)))
product = FrozenProduct((weight_OD,))
plain = product(x_TD), product.backward(grad_TO)
product.pack(backward=True)
packed = product(x_TD), product.backward(grad_TO)
print(json.dumps({
    "computes": computes_bfloat16(),
    "packs": can_be_packed(weight_OD),
    "dtype": str(native_dtype(torch.device("cpu"))),
    "same": all(torch.equal(one, other) for one, other in zip(plain, packed)),
}))
"""


def asked(**environment) -> dict:
    done = subprocess.run(
        [sys.executable, "-c", ASKED], capture_output=True, text=True, env={**os.environ, **environment}, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.skipif(os.uname().machine != X86, reason="the variables hold x86 processors to less than they can")
def test_held_to_avx2_the_native_type_is_float32_and_bfloat16_products_stay_plain():
    assert asked(**HELD_TO_AVX2) == {"computes": False, "packs": False, "dtype": "torch.float32", "same": True}


def test_the_native_type_is_bfloat16_where_it_is_computed():
    assert native_dtype(torch.device("cpu")) == (torch.bfloat16 if computes_bfloat16() else torch.float32)


@pytest.mark.bf16
def test_a_processor_with_bfloat16_products_rearranges_weights_for_them():
    assert rearranges(torch.bfloat16)
    weight_OD, x_TD = torch.randn(32, 64).bfloat16(), torch.randn(7, 64).bfloat16()
    y_TO = rearranged_linear(x_TD, rearranged(weight_OD), None)
    torch.testing.assert_close(y_TO, torch.nn.functional.linear(x_TD, weight_OD))


def test_what_the_library_does_not_take_is_said_without_an_error():
    assert not rearranges(torch.int32)
