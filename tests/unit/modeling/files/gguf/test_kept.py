import os
import shutil

import pytest

from gguf_writing import small_llama
from tuningfork.domain.errors import NotFound
from tuningfork.modeling.files.gguf.kept import converted, gguf_file_of


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "tuningfork" / "gguf"


def empty(path):
    path.write_bytes(b"GGUF")
    return path


def test_a_file_is_known_by_its_name_or_by_its_beginning(tmp_path):
    named, unnamed = empty(tmp_path / "A.GGUF"), empty(tmp_path / "blob")

    assert gguf_file_of(str(named)) == named
    assert gguf_file_of(str(unnamed)) == unnamed


def test_a_directory_names_its_only_file(tmp_path):
    file = empty(tmp_path / "a.gguf")
    empty(tmp_path / "mmproj-a.gguf")

    assert gguf_file_of(str(tmp_path)) == file


def test_a_directory_with_a_configuration_is_no_gguf_file(tmp_path):
    empty(tmp_path / "a.gguf")
    (tmp_path / "config.json").write_text("{}")

    assert gguf_file_of(str(tmp_path)) is None


def test_of_several_files_one_must_be_named(tmp_path):
    empty(tmp_path / "a.gguf")
    empty(tmp_path / "b.gguf")

    with pytest.raises(NotFound, match=r"2 GGUF files; say which one: .*a\.gguf, .*b\.gguf"):
        gguf_file_of(str(tmp_path))


@pytest.mark.parametrize("location", ["embedded", "org/repository", "/no/such/directory", "name"])
def test_other_locations_name_none(location):
    assert gguf_file_of(location) is None


def test_a_file_on_the_hub_is_named_after_its_repository(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    kept = tmp_path / "models--org--repository"
    snapshot = kept / "snapshots" / ("a" * 40)
    (snapshot / "deep").mkdir(parents=True)
    (kept / "refs").mkdir()
    (kept / "refs" / "main").write_text("a" * 40)
    file = empty(snapshot / "deep" / "file.gguf")

    assert gguf_file_of("org/repository/deep/file.gguf") == file
    with pytest.raises(NotFound, match=r"no file org/repository/other\.gguf on this machine"):
        gguf_file_of("org/repository/other.gguf")


def test_a_file_is_converted_once_and_again_when_it_was_replaced(cache, tmp_path):
    (tmp_path / "made").mkdir()
    file = small_llama(tmp_path / "made")

    first, second = converted(file), converted(file)
    os.utime(file, ns=(1, 1))
    third = converted(file)

    assert first == second != third
    assert sorted(path for path in cache.iterdir() if path.is_dir()) == sorted([first, third])
    assert first.name.startswith("small-")


def test_what_was_removed_is_made_again(cache, tmp_path):
    (tmp_path / "made").mkdir()
    file = small_llama(tmp_path / "made")
    directory = converted(file)

    shutil.rmtree(cache)

    assert converted(file) == directory
    assert (directory / "config.json").is_file()
