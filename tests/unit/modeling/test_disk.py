import errno
import resource
import signal

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from tuningfork.modeling.disk import as_os_error


@pytest.fixture
def small_files_only():
    """No file of this process may be longer than a hundred bytes."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    signal.signal(signal.SIGXFSZ, ignored)


def test_what_could_not_be_written_has_the_systems_number(small_files_only, tmp_path):
    with pytest.raises(SafetensorError) as caught:
        save_file({"a": torch.zeros(10_000)}, tmp_path / "weights")
    error = as_os_error(caught.value)

    assert error.errno == errno.EFBIG
    assert "File too large" in str(error)


def test_words_without_a_number_are_passed_on():
    error = as_os_error(SafetensorError("something else"))
    assert (error.errno, str(error)) == (None, "something else")
