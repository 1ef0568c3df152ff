"""Artifacts on the local disk: whole or absent, and read in place."""

import os

import pytest

from tuningfork.artifacts.base import ArtifactDamaged, ArtifactMissing
from tuningfork.artifacts.local import LocalArtifactStore
from tuningfork.artifacts.manifest import FileEntry, Manifest
from tuningfork.domain.artifact import ArtifactRef

ADAPTER, OTHER = ArtifactRef("adapters/abc"), ArtifactRef("adapters/def")


@pytest.fixture
def store(tmp_path):
    return LocalArtifactStore(tmp_path)


def write(store, ref, **files):
    with store.writing(ref) as directory:
        directory.mkdir()
        for name, content in files.items():
            (directory / name).write_text(content)


def read(store, ref):
    with store.reading(ref) as directory:
        return {path.name: path.read_text() for path in directory.iterdir()}


def assert_missing(store, ref):
    with pytest.raises(ArtifactMissing), store.reading(ref):
        pass
    assert not store.has(ref)


def test_a_directory_is_read_in_place_as_it_was_written(store, tmp_path):
    write(store, ADAPTER, config="{}", weights="abc")
    assert read(store, ADAPTER) == {"config": "{}", "weights": "abc"}
    with store.reading(ADAPTER) as path:
        assert path == tmp_path / "adapters/abc"


def test_an_artifact_may_be_a_single_file(store):
    with store.writing(ADAPTER) as path:
        path.write_text("lines")
    with store.reading(ADAPTER) as path:
        assert path.read_text() == "lines"


def test_a_later_one_takes_the_place_of_an_earlier_one(store):
    write(store, ADAPTER, weights="first", more="x")
    write(store, ADAPTER, weights="second")
    assert read(store, ADAPTER) == {"weights": "second"}


def test_a_write_that_fails_leaves_the_earlier_one_and_nothing_else(store, tmp_path):
    write(store, ADAPTER, weights="first")
    with pytest.raises(FileNotFoundError), store.writing(ADAPTER) as directory:
        (directory / "never made" / "weights").write_text("second")
    assert read(store, ADAPTER) == {"weights": "first"}
    assert [path.name for path in (tmp_path / "adapters").iterdir()] == ["abc"]


def test_without_its_manifest_an_artifact_does_not_exist(store, tmp_path):
    write(store, ADAPTER, weights="abc")
    (tmp_path / "manifests/adapters/abc.json").unlink()
    assert_missing(store, ADAPTER)
    assert list(store.refs_below(ArtifactRef("adapters"))) == []


def test_the_manifest_comes_last(store, tmp_path, monkeypatch):
    # A crash is stood in for by a rename that never comes; there is no seam below the file system.
    rename = os.rename

    def crash(source, target):
        if "manifests" in str(target):
            raise KeyboardInterrupt
        rename(source, target)

    monkeypatch.setattr(os, "rename", crash)
    with pytest.raises(KeyboardInterrupt):
        write(store, ADAPTER, weights="abc")
    assert (tmp_path / "adapters/abc/weights").read_text() == "abc"
    assert_missing(store, ADAPTER)


@pytest.mark.parametrize("content", [None, "abcd"])
def test_a_file_that_is_gone_or_of_another_size_is_damage(store, tmp_path, content):
    write(store, ADAPTER, weights="abc")
    file = tmp_path / "adapters/abc/weights"
    file.unlink() if content is None else file.write_text(content)
    with pytest.raises(ArtifactDamaged, match="its manifest says 3 bytes"), store.reading(ADAPTER):
        pass


def test_a_file_that_the_system_cannot_read_is_not_damaged_for_that(store, tmp_path):
    write(store, ADAPTER, weights="")
    file = tmp_path / "adapters/abc/weights"
    file.unlink()
    # Its size is 0, and reading it is an input/output error.
    file.symlink_to("/proc/self/mem")
    with pytest.raises(OSError, match="Input/output error"), store.reading(ADAPTER, verified=True):
        pass
    with pytest.raises(OSError, match="Input/output error"):
        store.verify(ADAPTER)


def test_a_manifest_names_files_by_size_and_digest_and_never_outside(store, tmp_path):
    write(store, ADAPTER, weights="abc")
    manifest = Manifest.parse((tmp_path / "manifests/adapters/abc.json").read_text())
    [entry] = manifest.files
    assert (entry.name, entry.size) == ("weights", 3)
    assert entry.digest == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    for name in ("../secret", "/etc/passwd"):
        with pytest.raises(ArtifactDamaged, match="outside"):
            Manifest.parse(Manifest((FileEntry(name, 1, None),)).render())


def test_moving_replaces_what_is_there(store):
    write(store, ADAPTER, weights="first")
    write(store, OTHER, weights="second")
    store.move(OTHER, ADAPTER)
    assert read(store, ADAPTER) == {"weights": "second"}
    assert_missing(store, OTHER)


def test_deleting_takes_all_below_with_it(store, tmp_path):
    work = ArtifactRef("work/abc")
    write(store, work.below("savepoints").below("00000003"), state="x")
    write(store, work.below("adapter"), weights="x")
    store.delete(work)
    store.delete(work)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_artifacts_below_a_reference_come_in_order(store):
    place = ArtifactRef("work/abc/savepoints")
    for step in ("00000012", "00000003"):
        write(store, place.below(step), state="x")
    assert list(store.refs_below(place)) == [place.below("00000003"), place.below("00000012")]


@pytest.mark.parametrize("key", ["", "/abc", "a//b", "a/../b", "./a", "a/"])
def test_a_reference_never_leaves_its_store(key):
    with pytest.raises(ValueError, match="no artifact's key"):
        ArtifactRef(key)
