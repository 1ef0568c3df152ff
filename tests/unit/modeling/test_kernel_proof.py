"""Kernels are tried before they are used, and what is wrong with one is found out and said."""

import dataclasses
from types import SimpleNamespace

import pytest
import torch

from tuningfork.modeling import kernels
from tuningfork.modeling.kernels import adapter_rows, gating, norms, paged_attention, proof, rotation

CPU = torch.device("cpu")
ON_GPU = SimpleNamespace(is_cuda=True, device=CPU)
"""What a tensor on a GPU says of itself, so far as is asked."""
SMALL = {
    "pieces": (proof.Norm(40), proof.Turned(2, 1, 16, 16), proof.Turned(2, 1, 16, 8), proof.Gate(24, "silu")),
    "adapters": (proof.Adapters(4, 40, (24, 8)), proof.Adapters(16, 3072, (16,))),
    "attention": (
        proof.Attention(4, 2, 16, lengths=(70, 1), stretches=2),
        proof.Attention(2, 2, 16, lengths=(40,), window=20, is_new=True),
    ),
}
IN_PLACE = {"add_rows", "rotate_", "norm_rotate_backward_"}
WRAPPERS = [
    ("pieces", norms, "rms_norm"),
    ("pieces", norms, "add_rms_norm"),
    ("pieces", norms, "rms_norm_backward"),
    ("pieces", norms, "rms_norm_backward_rounded"),
    ("pieces", rotation, "rotate_"),
    ("pieces", rotation, "norm_rotate_"),
    ("pieces", rotation, "norm_rotate_backward_"),
    ("pieces", gating, "gated"),
    ("pieces", gating, "gated_backward"),
    ("adapters", adapter_rows, "add_rows"),
    ("attention", paged_attention, "attend_rows"),
]
EACH_WRAPPER = pytest.mark.parametrize(("family", "room", "name"), WRAPPERS, ids=[each[2] for each in WRAPPERS])


@pytest.fixture(autouse=True)
def small_trials(monkeypatch):
    """Nothing is proven yet, little is tried, and no graph is being captured."""
    monkeypatch.setattr(proof, "TRIALS", SMALL)
    monkeypatch.setattr(kernels, "_PROVEN", {})
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)


def warned(caplog):
    return [record.getMessage() for record in caplog.records if record.name == proof.logger.name]


def replaced(monkeypatch, room, name, spoil):
    """Let the wrapper be followed by `spoil`, of its last result, or of what it wrote in place."""
    right = getattr(room, name)

    def wrong(*args, **kwargs):
        found = right(*args, **kwargs)
        target = args[5] if name == "add_rows" else args[0] if name in IN_PLACE else found
        spoil(target[-1] if isinstance(target, tuple) else target)
        return found

    monkeypatch.setattr(room, name, wrong)


@pytest.mark.parametrize("family", SMALL)
def test_kernels_that_are_right_serve_without_a_word(family, caplog):
    assert kernels.serve(ON_GPU, family)
    assert warned(caplog) == []


def test_the_kinds_that_are_tried_on_a_gpu_pass():
    tried = [proof.Norm(576), proof.Turned(8, 2, 128, 96), proof.Gate(1536, "gelu_tanh"), proof.Attention(9, 3, 64)]
    assert proof.is_right("pieces", CPU, tried, [torch.bfloat16])


@EACH_WRAPPER
@pytest.mark.parametrize(
    "spoil",
    [lambda out: out.mul_(1.05), lambda out: out.view(-1)[-1:].fill_(torch.nan)],
    ids=["a little off", "one number not written"],
)
def test_a_wrong_kernel_is_found_out(family, room, name, spoil, monkeypatch, caplog):
    replaced(monkeypatch, room, name, spoil)

    assert not kernels.serve(ON_GPU, family)

    (said,) = warned(caplog)
    assert family in said
    assert "off by" in said
    assert "plain operations" in said


@EACH_WRAPPER
def test_a_kernel_that_cannot_run_is_not_used(family, room, name, monkeypatch, caplog):
    def broken(*_args, **_kwargs):
        raise RuntimeError("ptxas was killed")

    monkeypatch.setattr(room, name, broken)

    assert not kernels.serve(ON_GPU, family)
    assert not kernels.serve(ON_GPU, family)

    (said,) = warned(caplog)
    assert "ptxas was killed" in said


def test_what_a_kernel_leaves_unwritten_is_found_out(monkeypatch, caplog):
    monkeypatch.setattr(gating, "gated", lambda _kind, both_TF: torch.empty_like(both_TF[:, : both_TF.shape[1] // 2]))

    assert not kernels.serve(ON_GPU, "pieces")

    assert "off by nan" in warned(caplog)[0]
    assert not torch.are_deterministic_algorithms_enabled()


def test_one_family_that_fails_leaves_the_others(monkeypatch):
    replaced(monkeypatch, norms, "rms_norm", lambda out: out.mul_(2))

    assert [kernels.serve(ON_GPU, family) for family in SMALL] == [False, True, True]


def test_nothing_is_tried_while_a_graph_is_captured(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    assert not kernels.serve(ON_GPU, "pieces")

    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)
    assert kernels.serve(ON_GPU, "pieces")


def test_without_triton_nothing_is_tried(monkeypatch, caplog):
    monkeypatch.setattr(kernels, "_installed", lambda: False)

    assert not kernels.serve(ON_GPU, "adapters")
    assert caplog.records == []


def test_a_cpus_tensors_are_never_served():
    assert not kernels.serve(torch.ones(2), "pieces")


def test_a_result_of_another_shape_is_found_out(monkeypatch, caplog):
    right = paged_attention.attend_rows
    monkeypatch.setattr(paged_attention, "attend_rows", lambda *args, **kwargs: right(*args, **kwargs)[:, :1])

    assert not proof.is_right("attention", CPU, [dataclasses.replace(SMALL["attention"][0], stretches=1)])
    assert "shape" in warned(caplog)[0]
