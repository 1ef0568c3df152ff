import gc
import hashlib
from contextlib import suppress
from pathlib import Path

import pytest

from tuningfork.domain.conversation import Conversation, Speaker, Turn
from tuningfork.domain.dataset_lines import line_of
from tuningfork.execution.dataset_file import DatasetFile

TALK = Conversation(turns=tuple(Turn.said(Speaker.USER, text) for text in ("a", "b\n", "七")), system_instruction="s")
EXAMPLES = (
    Conversation.pair("1", "2"),
    TALK,
    Conversation.pair("a\u2028b\r\nc", "七\x85\0"),
    Conversation.pair("", "🍴"),
)


def is_open(path):
    """Whether this process has the file open."""
    opened = []
    for descriptor in Path("/proc/self/fd").iterdir():
        # That of the listing itself is closed by then.
        with suppress(OSError):
            opened.append(descriptor.readlink())
    return path in opened


@pytest.fixture
def path(tmp_path):
    written = tmp_path / "dataset.jsonl"
    written.write_bytes(b"".join(map(line_of, EXAMPLES)))
    return written


def test_examples_are_read_in_any_order(path):
    file = DatasetFile(path)
    assert len(file) == 4
    assert [file[index] for index in (3, 0, 2, 1)] == [EXAMPLES[index] for index in (3, 0, 2, 1)]
    assert tuple(file) == EXAMPLES


@pytest.mark.parametrize("index", [-1, 4])
def test_there_is_nothing_before_and_after_them(path, index):
    with pytest.raises(IndexError):
        DatasetFile(path)[index]


def test_files_of_version_0_1_are_read(tmp_path):
    path = tmp_path / "old.jsonl"
    path.write_text('{"text_input": "1", "output": "\\u4e03"}\n{"text_input": "", "output": "b"}\n', encoding="ascii")
    assert tuple(DatasetFile(path)) == (Conversation.pair("1", "七"), Conversation.pair("", "b"))


def test_the_digest_is_that_of_the_content(path):
    assert DatasetFile(path).digest == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_file_whose_job_was_deleted_can_be_read_to_the_end(path):
    file = DatasetFile(path)
    path.unlink()
    assert tuple(file) == EXAMPLES


def test_the_file_is_closed_with_its_last_user(path):
    file = DatasetFile(path)
    assert is_open(path)
    del file
    gc.collect()
    assert not is_open(path)
