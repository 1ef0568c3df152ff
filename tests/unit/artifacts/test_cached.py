"""The cache of a worker: whole artifacts only, bounded, and never without what is in use."""

import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from loopback_objects import LoopbackObjects, ObjectServer
from tuningfork.artifacts.base import ArtifactDamaged, ArtifactMissing
from tuningfork.artifacts.cached import CachedArtifactStore
from tuningfork.artifacts.local import LocalArtifactStore
from tuningfork.domain.artifact import ArtifactRef

REFS = [ArtifactRef(f"adapters/{number}") for number in range(4)]
BYTES = 1_000


@pytest.fixture
def server(tmp_path):
    server = ObjectServer(tmp_path / "server")
    yield server
    server.close()


@pytest.fixture
def origin(tmp_path):
    return LocalArtifactStore(tmp_path / "server")


@pytest.fixture
def cache(server, tmp_path):
    """Has room for two of the artifacts."""
    return CachedArtifactStore(LoopbackObjects(server.port), tmp_path / "cache", max_bytes=2 * BYTES)


def write(store, ref, content="x"):
    with store.writing(ref) as directory:
        directory.mkdir()
        (directory / "weights").write_text(content * BYTES)


def read(store, ref):
    with store.reading(ref) as directory:
        return (directory / "weights").read_text()[0]


def fetches(server):
    """The artifacts whose files were fetched."""
    return [ArtifactRef(key.removesuffix("/weights")) for method, key in server.calls if key.endswith("/weights")]


def test_what_the_server_wrote_is_read_and_fetched_once(server, origin, cache):
    write(origin, REFS[0])
    assert [read(cache, REFS[0]) for _ in range(3)] == ["x"] * 3
    assert fetches(server) == [REFS[0]]


def test_what_a_worker_wrote_is_the_servers_with_the_manifest_last(server, origin, cache):
    write(cache, REFS[0], "y")
    assert read(origin, REFS[0]) == "y"
    assert [key for method, key in server.calls if method == "put"][-1] == "manifests/adapters/0.json"


def test_a_single_file_crosses_too(origin, cache):
    with cache.writing(REFS[0]) as path:
        path.write_text("lines")
    for store in (origin, cache):
        with store.reading(REFS[0]) as path:
            assert path.read_text() == "lines"


def test_the_least_recently_used_leaves_first(server, origin, cache):
    for ref in REFS[:3]:
        write(origin, ref)
    for ref in (REFS[0], REFS[1], REFS[0], REFS[2]):
        read(cache, ref)
    assert cache.cached_bytes == 2 * BYTES
    server.calls.clear()
    for ref in (REFS[0], REFS[2], REFS[1]):
        read(cache, ref)
    assert fetches(server) == [REFS[1]]


def test_what_is_in_use_never_leaves(origin, cache, tmp_path):
    for ref in REFS:
        write(origin, ref)
    with cache.reading(REFS[0]) as first, cache.reading(REFS[1]) as second, cache.reading(REFS[2]) as third:
        read(cache, REFS[3])
        assert all((path / "weights").stat().st_size == BYTES for path in (first, second, third))
        assert cache.cached_bytes == 3 * BYTES
    assert cache.cached_bytes == 2 * BYTES
    assert len([path for path in (tmp_path / "cache").iterdir() if path.is_dir()]) == 2


def test_readers_at_one_time_share_one_fetch(server, origin, cache):
    write(origin, REFS[0])
    together = threading.Barrier(8)

    def read_together(_number):
        together.wait()
        return read(cache, REFS[0])

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(read_together, range(8))) == ["x"] * 8
    assert fetches(server) == [REFS[0]]


def test_an_artifact_that_was_replaced_is_fetched_anew(origin, cache):
    write(origin, REFS[0], "x")
    with cache.reading(REFS[0]) as before:
        write(origin, REFS[0], "y")
        assert read(cache, REFS[0]) == "y"
        assert (before / "weights").read_text()[0] == "x"
    assert cache.cached_bytes == BYTES


def test_one_without_a_manifest_does_not_exist(origin, cache, tmp_path):
    write(origin, REFS[0])
    assert cache.has(REFS[0])
    (tmp_path / "server/manifests/adapters/0.json").unlink()
    assert not cache.has(REFS[0])
    with pytest.raises(ArtifactMissing), cache.reading(REFS[0]):
        pass


@pytest.mark.parametrize("content", ["y" * BYTES, "x" * (BYTES - 1), None])
def test_a_file_that_is_not_what_was_written_is_never_seen(origin, cache, tmp_path, content):
    write(origin, REFS[0])
    file = tmp_path / "server/adapters/0/weights"
    file.unlink() if content is None else file.write_text(content)
    with pytest.raises(ArtifactDamaged), cache.reading(REFS[0]):
        pass
    assert [path for path in (tmp_path / "cache").iterdir() if path.name != "cache-of-artifacts"] == []


def test_a_fetch_that_breaks_off_leaves_nothing_and_may_be_repeated(origin, server, tmp_path):
    class Breaking(LoopbackObjects):
        broken = True

        def get(self, key):
            for piece in super().get(key):
                yield piece[:10]
                if self.broken and key.endswith("weights"):
                    raise ConnectionResetError
                yield piece[10:]

    objects = Breaking(server.port)
    cache = CachedArtifactStore(objects, tmp_path / "cache", max_bytes=BYTES)
    write(origin, REFS[0])
    with pytest.raises(ConnectionResetError), cache.reading(REFS[0]):
        pass
    assert [path for path in (tmp_path / "cache").iterdir() if path.name != "cache-of-artifacts"] == []
    objects.broken = False
    assert read(cache, REFS[0]) == "x"


def test_deleting_takes_all_below_with_it_and_names_that_only_begin_so_stay(origin, cache):
    work = ArtifactRef("adapters/0")
    write(origin, work.below("savepoint"))
    write(origin, ArtifactRef("adapters/01"))
    cache.delete(work)
    assert list(cache.refs_below(work)) == []
    assert list(cache.refs_below(ArtifactRef("adapters"))) == [ArtifactRef("adapters/01")]


def test_a_directory_with_files_that_no_cache_left_is_refused_and_stays(server, tmp_path):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "precious").write_text("mine")

    with pytest.raises(FileExistsError, match="is no cache of artifacts"):
        CachedArtifactStore(LoopbackObjects(server.port), tmp_path / "cache", max_bytes=BYTES)

    assert (tmp_path / "cache" / "precious").read_text() == "mine"


def test_what_an_earlier_cache_left_is_removed(server, origin, cache, tmp_path):
    write(origin, REFS[0])
    read(cache, REFS[0])

    again = CachedArtifactStore(LoopbackObjects(server.port), tmp_path / "cache", max_bytes=BYTES)

    assert again.cached_bytes == 0
    assert [path for path in (tmp_path / "cache").rglob("*") if path.name == "weights"] == []


def test_a_worker_that_dies_while_it_connects_holds_up_no_other(server, origin, cache):
    write(origin, REFS[0])
    socket.create_connection(("127.0.0.1", server.port)).close()
    with socket.create_connection(("127.0.0.1", server.port)):
        assert read(cache, REFS[0]) == "x"
