"""Kernels are tried before they are used, and what is wrong with one is found out and said."""

import dataclasses

import pytest
import torch

from tuningfork.modeling.kernels import proof
from tuningfork.modeling.kernels.base import Normed, StreamGradient
from tuningfork.modeling.kernels.plain import PLAIN
from tuningfork.modeling.kernels.triton_kernels import TRITON, TritonAdapters, TritonAttention, TritonLayers

CPU = torch.device("cpu")
SMALL = {
    "layers": (
        proof.NormTrial(40),
        proof.RotationTrial(2, 1, 16, 16),
        proof.RotationTrial(2, 1, 16, 8),
        proof.GateTrial(24, "silu"),
    ),
    "adapters": (proof.AdapterTrial(4, 40, (24, 8)), proof.AdapterTrial(16, 3072, (16,))),
    "attention": (
        proof.AttentionTrial(4, 2, 16, lengths=(70, 1), splits=2),
        proof.AttentionTrial(2, 2, 16, lengths=(40,), window=20, is_new=True),
    ),
}
OPERATIONS = [
    ("layers", "norm"),
    ("layers", "add_and_norm"),
    ("layers", "norm_backward"),
    ("layers", "norm_backward_to_stream"),
    ("layers", "rotate_"),
    ("layers", "norm_and_rotate_"),
    ("layers", "norm_and_rotate_backward_"),
    ("layers", "gated"),
    ("layers", "gated_backward"),
    ("adapters", "rows"),
    ("attention", "attend_rows"),
]
EACH_OPERATION = pytest.mark.parametrize(("family", "name"), OPERATIONS, ids=[each[1] for each in OPERATIONS])


def warned(caplog):
    return [record.getMessage() for record in caplog.records if record.name == proof.logger.name]


def passes(tried, family):
    return proof.is_correct(tried, family, CPU, SMALL[family])


def with_operation(family, name, operation):
    """Triton's kernels, one operation of which is another one; it is given the right one first."""
    kernels = {"layers": TritonLayers, "adapters": TritonAdapters, "attention": TritonAttention}[family]()
    right = getattr(kernels, name)
    setattr(kernels, name, lambda *args, **kwargs: operation(right, *args, **kwargs))
    return dataclasses.replace(TRITON, **{family: kernels})


class SpoiledRows:
    def __init__(self, right, spoil):
        self._right, self._spoil = right, spoil

    def add(self, a_CDR, bs_CRO, x_YD, y_YO):
        self._right.add(a_CDR, bs_CRO, x_YD, y_YO)
        self._spoil(y_YO)


def spoiled(family, name, spoil):
    """Let the operation be followed by `spoil`, of its last result, or of what it wrote in place."""

    def wrong(right, *args, **kwargs):
        found = right(*args, **kwargs)
        if name == "rows":
            return SpoiledRows(found, spoil)
        target = found[0] if isinstance(found, tuple) and found[1] is None else found
        if name in {"rotate_", "norm_and_rotate_backward_"}:
            target = args[0]
        while isinstance(target, tuple | Normed | StreamGradient):
            last = {tuple: lambda t: t[-1], Normed: lambda n: n.inverse, StreamGradient: lambda s: s.to(torch.bfloat16)}
            target = last[type(target)](target)
        spoil(target)
        return found

    return with_operation(family, name, wrong)


@pytest.mark.parametrize("family", SMALL)
def test_kernels_that_are_right_serve_without_a_word(family, caplog):
    assert passes(TRITON, family)
    assert warned(caplog) == []


def test_the_kinds_that_are_tried_on_a_gpu_pass():
    layers = [proof.NormTrial(576), proof.RotationTrial(8, 2, 128, 96), proof.GateTrial(1536, "gelu_tanh")]
    assert proof.is_correct(TRITON, "layers", CPU, layers, [torch.bfloat16])
    assert proof.is_correct(TRITON, "attention", CPU, [proof.AttentionTrial(9, 3, 64)], [torch.bfloat16])


@EACH_OPERATION
@pytest.mark.parametrize(
    "spoil",
    [lambda out: out.mul_(1.05), lambda out: out.view(-1)[-1:].fill_(torch.nan)],
    ids=["a little off", "one number not written"],
)
def test_a_wrong_kernel_is_found_out(family, name, spoil, caplog):
    assert not passes(spoiled(family, name, spoil), family)

    (said,) = warned(caplog)
    assert family in said
    assert "off by" in said
    assert "plain operations" in said


@EACH_OPERATION
def test_a_kernel_that_cannot_run_is_not_used(family, name, caplog):
    def broken(*_args, **_kwargs):
        raise RuntimeError("ptxas was killed")

    assert not passes(with_operation(family, name, broken), family)

    (said,) = warned(caplog)
    assert "ptxas was killed" in said


def test_what_a_kernel_leaves_unwritten_is_found_out(caplog):
    def unwritten(_right, _activation, both_TF):
        return torch.empty_like(both_TF[:, : both_TF.shape[1] // 2]), None

    assert not passes(with_operation("layers", "gated", unwritten), "layers")

    assert "off by nan" in warned(caplog)[0]
    assert not torch.are_deterministic_algorithms_enabled()


def test_one_family_that_fails_leaves_the_others():
    tried = spoiled("layers", "norm", lambda out: out.mul_(2))
    found = proof.correct_kernels(tried, CPU, SMALL)
    assert found == dataclasses.replace(tried, layers=PLAIN.layers)


def test_a_result_of_another_shape_is_found_out(caplog):
    wrong = with_operation("attention", "attend_rows", lambda right, *args, **kwargs: right(*args, **kwargs)[:, :1])

    trial = dataclasses.replace(SMALL["attention"][0], splits=1)
    assert not proof.is_correct(wrong, "attention", CPU, [trial])
    assert "shape" in warned(caplog)[0]
