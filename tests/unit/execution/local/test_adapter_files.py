"""Adapters are compared with what was written once, and again after each change; what cannot be read is not damaged."""

import errno
import os
from contextlib import contextmanager

import pytest

from tuningfork.artifacts.base import ArtifactDamaged, ArtifactMissing
from tuningfork.artifacts.known_damage import KnownDamage
from tuningfork.artifacts.local import LocalArtifactStore
from tuningfork.domain.artifact import ArtifactRef
from tuningfork.domain.base_model import AdapterShape
from tuningfork.domain.errors import InvalidArgument, Unavailable
from tuningfork.execution.local.adapter_files import AdapterFiles
from tuningfork.modeling.adapters import format as adapter_format
from tuningfork.modeling.loading import load_base

ADAPTER = ArtifactRef("adapters/abc")


class Watched(LocalArtifactStore):
    """A store that counts how often content was compared, and that can be out of order."""

    def __init__(self, root):
        super().__init__(root)
        self.compared = 0
        self.error = None
        self.after_comparing = lambda: None

    @contextmanager
    def reading(self, ref, *, verified=False):
        if self.error is not None:
            raise self.error
        self.compared += verified
        try:
            with super().reading(ref, verified=verified) as path:
                if verified:
                    self.after_comparing()
                yield path
        except ArtifactDamaged:
            self.after_comparing()
            raise


@pytest.fixture
def store(tmp_path, tiny_llama):
    store = Watched(tmp_path)
    with store.writing(ADAPTER) as directory:
        weights = load_base(tiny_llama).slots.fresh(AdapterShape(rank=4, alpha=8.0), seed=1)
        adapter_format.save(directory, weights, tiny_llama.location)
    return store


@pytest.fixture
def files(store):
    return AdapterFiles(store)


def test_the_content_is_compared_once(files, store):
    first, second = files.read(ADAPTER), files.read(ADAPTER)
    assert first.tensors.keys() == second.tensors.keys()
    assert store.compared == 1


def test_it_is_compared_before_a_request_is_prepared(files, store):
    seen = []
    assert files.comparing(ADAPTER, lambda: seen.append(store.compared) or "prompt")() == "prompt"
    files.read(ADAPTER)
    assert (seen, store.compared) == ([1], 1)
    assert files.comparing(None, lambda: "prompt")() == "prompt"


def damage(store, moment=1):
    file = store.path(ADAPTER) / adapter_format.WEIGHTS
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    # Also where the clock of the file system is a coarse one.
    os.utime(file, ns=(moment, moment))


def test_damage_is_found_once_until_a_file_changes(files, store):
    damage(store)
    for _ in range(3):
        with pytest.raises(ArtifactDamaged):
            files.read(ADAPTER)
    assert store.compared == 1
    damage(store, moment=2)
    assert files.read(ADAPTER).shape == AdapterShape(rank=4, alpha=8.0)
    assert store.compared == 2


def test_a_large_one_takes_long_until_it_was_compared(store):
    files = AdapterFiles(store, quick_bytes=100)
    assert not files.is_quick(ADAPTER)
    assert AdapterFiles(store).is_quick(ADAPTER)
    files.compare(ADAPTER)
    assert files.is_quick(ADAPTER)
    assert store.compared == 1
    damage(store)
    assert not files.is_quick(ADAPTER)
    with pytest.raises(ArtifactDamaged):
        files.compare(ADAPTER)
    assert files.is_quick(ADAPTER)
    assert files.is_quick(ArtifactRef("not/there"))


def test_it_is_compared_again_after_a_change(files, store):
    files.read(ADAPTER)
    damage(store)
    assert files.comparing(ADAPTER, lambda: "prompt")() == "prompt"
    with pytest.raises(ArtifactDamaged):
        files.read(ADAPTER)


def test_a_deleted_one_is_forgotten(files, store):
    files.read(ADAPTER)
    store.delete(ADAPTER)
    files.forget([ADAPTER, ArtifactRef("never/read")])
    assert files._compared == KnownDamage()
    assert files.comparing(ADAPTER, lambda: "prompt")() == "prompt"
    with pytest.raises(ArtifactMissing):
        files.read(ADAPTER)


@pytest.mark.parametrize("is_damaged", [False, True])
def test_one_that_is_deleted_while_it_is_compared_is_forgotten_too(files, store, is_damaged):
    if is_damaged:
        damage(store)

    def delete():
        store.delete(ADAPTER)
        files.forget([ADAPTER])

    store.after_comparing = delete
    files.comparing(ADAPTER, lambda: "prompt")()

    assert store.compared == 1
    assert files._compared == KnownDamage()


def test_one_that_the_system_cannot_read_is_not_damaged(files, store):
    store.error = OSError(errno.EMFILE, "Too many open files", "/secret/path")
    assert files.comparing(ADAPTER, lambda: "prompt")() == "prompt"
    with pytest.raises(Unavailable) as caught:
        files.read(ADAPTER)
    assert caught.value.message == "the tuned model's adapter cannot be read at the moment; please try again"
    store.error = None
    assert files.read(ADAPTER).shape == AdapterShape(rank=4, alpha=8.0)


def test_one_that_was_written_without_a_file_is_no_adapter(files, store):
    with store.writing(ADAPTER) as directory:
        directory.mkdir()
        (directory / adapter_format.CONFIG).write_text("{}")
    with pytest.raises(InvalidArgument, match="holds no adapter that can be read"):
        files.read(ADAPTER)
