"""Fixtures that every room's tests may ask for."""

from pathlib import Path

import pytest

from tuningfork.domain.base_model import BaseModel


@pytest.fixture(scope="session")
def tiny_directories(tmp_path_factory) -> dict[str, Path]:
    """Architecture name (llama, qwen3, gemma3) -> the directory of a small random model."""
    # Imported here, so that tests of the torch-free rooms do not wait seconds for torch.
    from tiny_models import Architecture, save_tiny_model  # noqa: PLC0415

    root = tmp_path_factory.mktemp("bases")
    return {architecture.value: save_tiny_model(architecture, root / architecture) for architecture in Architecture}


@pytest.fixture(params=["llama", "qwen3", "gemma3"])
def tiny_base(request, tiny_directories) -> BaseModel:
    """Each of the three small bases in turn."""
    from tiny_models import Architecture, tiny_base_model  # noqa: PLC0415

    return tiny_base_model(Architecture(request.param), tiny_directories[request.param])


@pytest.fixture
def tiny_llama(tiny_directories) -> BaseModel:
    """The small Llama, for what does not depend on the architecture."""
    from tiny_models import Architecture, tiny_base_model  # noqa: PLC0415

    return tiny_base_model(Architecture.LLAMA, tiny_directories["llama"])
