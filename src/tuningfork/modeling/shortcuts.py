"""What makes GPUs fast and is not plain operations of torch: CUDA graphs, kernels of ours, torch's fused attention.

All prove themselves before they are used, but a fault that breaks a device's context takes its process with it, proof
or no proof. Then an operator does without them.
"""

_STATE = {"taken": True}


def forgo() -> None:
    """Take none in this process from now on; to be called before a base is loaded."""
    _STATE["taken"] = False


def are_taken() -> bool:
    """Whether they may be used."""
    return _STATE["taken"]
