import errno

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from small_files import no_file_longer_than
from tuningfork.modeling.files.disk import as_os_error


def test_what_could_not_be_written_has_the_systems_number(tmp_path):
    with no_file_longer_than(100), pytest.raises(SafetensorError) as caught:
        save_file({"a": torch.zeros(10_000)}, tmp_path / "weights")
    error = as_os_error(caught.value)

    assert error.errno == errno.EFBIG
    assert "File too large" in str(error)


def test_words_without_a_number_are_passed_on():
    error = as_os_error(SafetensorError("something else"))
    assert (error.errno, str(error)) == (None, "something else")
