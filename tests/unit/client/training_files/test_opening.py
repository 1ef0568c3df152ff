"""Files from the disk are read within their bound, whatever the file system says of them."""

import os
import threading

import pytest

from tuningfork.client.errors import TrainingFileError
from tuningfork.client.training_files.bounds import Bound
from tuningfork.client.training_files.opening import open_source

CSV = b"text_input,output\n1,2\n"


def test_a_file_of_exactly_the_bound_is_read_and_one_byte_more_is_not(written):
    path = written("p.csv", CSV)

    assert open_source(path, Bound(max_bytes=len(CSV)), None).content == CSV
    with pytest.raises(TrainingFileError, match=r"has at least 22 bytes; .* at most 21 "):
        open_source(path, Bound(max_bytes=len(CSV) - 1), None)


def test_a_pipe_is_read_to_its_end(tmp_path):
    path = tmp_path / "pipe.csv"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_bytes, args=(CSV,))
    writer.start()

    assert open_source(path, Bound(max_bytes=1_000), None).content == CSV
    writer.join()


def test_an_endless_file_is_read_no_further_than_the_bound(tmp_path):
    path = tmp_path / "endless.csv"
    path.symlink_to("/dev/zero")

    with pytest.raises(TrainingFileError, match="has at least 1,001 bytes"):
        open_source(path, Bound(max_bytes=1_000), None)
