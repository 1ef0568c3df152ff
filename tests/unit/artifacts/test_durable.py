"""Listing files of directories that others change meanwhile."""

import shutil
import threading
from pathlib import Path

import pytest

from tuningfork.artifacts.durable import entries_of, files_below, remove


@pytest.fixture(name="busy")
def _busy(tmp_path):
    """A directory with one file that stays, where another thread makes and removes directories all the time."""
    root = tmp_path / "busy"
    (root / "stays").mkdir(parents=True)
    (root / "stays" / "file.json").touch()
    ended = threading.Event()

    def disturb() -> None:
        while not ended.is_set():
            for number in range(30):
                (root / f"goes{number}" / "deep").mkdir(parents=True)
            for number in range(30):
                shutil.rmtree(root / f"goes{number}")

    other = threading.Thread(target=disturb)
    other.start()
    yield root
    ended.set()
    other.join()


def test_directories_that_go_away_while_files_are_listed_are_no_error(busy):
    for _ in range(300):
        assert files_below(busy) == [busy / "stays" / "file.json"]


def test_what_cannot_be_read_is_an_error_and_not_an_empty_list(tmp_path):
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    for listing in (files_below, entries_of):
        with pytest.raises(OSError, match="symbolic links"):
            listing(loop)


def test_what_is_not_there_has_no_files(tmp_path):
    (tmp_path / "file").touch()
    for absent in (tmp_path / "absent", tmp_path / "file"):
        assert files_below(absent) == entries_of(absent) == []


def test_a_directory_that_was_moved_there_while_a_file_was_looked_for_is_removed_too(tmp_path, monkeypatch):
    place = tmp_path / "adapter"
    place.mkdir()
    (place / "weights").write_text("")
    is_directory, asked = Path.is_dir, []

    def not_yet(path):
        asked.append(path)
        return len(asked) > 1 and is_directory(path)

    monkeypatch.setattr(Path, "is_dir", not_yet)

    remove(place)

    assert not is_directory(place)
