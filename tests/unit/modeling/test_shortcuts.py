import torch

from tuningfork.modeling import kernels, shortcuts
from tuningfork.modeling.capture import CudaCapture, capture_of


class OnGpu:
    """As much of a tensor as is asked."""

    is_cuda = True
    device = torch.device("cuda", 0)


def test_a_process_can_forgo_what_makes_gpus_fast(monkeypatch):
    monkeypatch.setattr(shortcuts, "_STATE", {"taken": True})
    monkeypatch.setattr(kernels, "_is_right", lambda family, device: True)
    assert kernels.serve(OnGpu(), "pieces")
    assert isinstance(capture_of(OnGpu.device), CudaCapture)
    shortcuts.forgo()
    assert not kernels.serve(OnGpu(), "pieces")
    assert capture_of(OnGpu.device) is None


def test_a_cpu_has_none():
    assert capture_of(torch.device("cpu")) is None
    assert not kernels.serve(torch.zeros(1), "pieces")
