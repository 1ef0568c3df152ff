"""Which kernels a base gets, and that an operator can do without what makes GPUs fast."""

import sys

import pytest
import torch

from tuningfork.modeling.device.capture import CudaCapture, capture_of
from tuningfork.modeling.kernels import proof
from tuningfork.modeling.kernels.choice import kernels_for
from tuningfork.modeling.kernels.plain import PLAIN
from tuningfork.modeling.loading import load_base

GPU = torch.device("cuda", 0)


def was_tried(kernels, caplog):
    """Where there is no GPU each family's trial ends in a warning; where there is one, kernels pass."""
    return kernels is not PLAIN and (kernels != PLAIN or any(each.name == proof.logger.name for each in caplog.records))


def test_on_a_gpu_kernels_are_tried_when_they_are_chosen(caplog):
    assert was_tried(kernels_for(GPU, gpu_shortcuts=True), caplog)
    assert isinstance(capture_of(GPU, gpu_shortcuts=True), CudaCapture)


def test_an_operator_can_forgo_what_makes_gpus_fast(caplog):
    assert kernels_for(GPU, gpu_shortcuts=False) is PLAIN
    assert capture_of(GPU, gpu_shortcuts=False) is None
    assert caplog.records == []


def test_without_triton_nothing_is_tried(monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "triton", None)

    assert kernels_for(GPU, gpu_shortcuts=True) is PLAIN
    assert caplog.records == []


@pytest.mark.parametrize("gpu_shortcuts", [True, False])
def test_a_cpu_has_none(gpu_shortcuts):
    assert kernels_for(torch.device("cpu"), gpu_shortcuts=gpu_shortcuts) is PLAIN
    assert capture_of(torch.device("cpu"), gpu_shortcuts=gpu_shortcuts) is None


def test_a_loaded_base_hands_its_kernels_down(tiny_llama):
    base = load_base(tiny_llama, gpu_shortcuts=False)
    assert base.kernels is PLAIN
    assert not base.gpu_shortcuts
    assert base.decoder.kernels is base.kernels.layers
    assert {layer.kernels for layer in base.decoder.layers} == {base.kernels.layers}
    assert base.slots.kernels is base.kernels.adapters
