"""What a server keeps on its disk, by kind."""

from prometheus_client import CollectorRegistry

from tuningfork.server.disk_use import MEASURED_EVERY_SECONDS, DiskUses, size_below
from tuningfork.store.database import Database
from tuningfork.store.database_size import size_of


class Stopwatch:
    seconds = 0.0

    def __call__(self):
        return self.seconds


def written(path, size):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size)


def measured(directory, **options):
    registry = CollectorRegistry()
    options = {"database_bytes": lambda: 500, "registry": registry, **options}
    return DiskUses(directory, options.pop("database_bytes"), **options), registry


def test_files_are_counted_by_what_they_are(tmp_path):
    written(tmp_path / "adapters" / "a" / "weights", 100)
    written(tmp_path / "checkpoints" / "a" / "7" / "weights", 20)
    written(tmp_path / "datasets" / "a.jsonl", 3)
    written(tmp_path / "manifests" / "a", 7)
    disk, registry = measured(tmp_path)

    found = disk.now()

    assert {kind: size for kind, size in found.kinds.items() if size} == {
        "adapters": 120,
        "datasets": 3,
        "database": 500,
        "other": 7,
    }
    assert found.free_bytes > 0
    # The same numbers are in the metrics.
    assert registry.get_sample_value("tuningfork_disk_bytes", {"kind": "adapters"}) == 120
    assert registry.get_sample_value("tuningfork_disk_free_bytes") == found.free_bytes


def test_the_disk_is_looked_at_once_a_minute(tmp_path):
    clock = Stopwatch()
    disk, _ = measured(tmp_path, monotonic=clock)
    before = disk.now()
    written(tmp_path / "adapters" / "a" / "weights", 100)

    assert disk.now() is before
    clock.seconds = MEASURED_EVERY_SECONDS
    assert disk.now().kinds["adapters"] == 100


def test_links_lead_nowhere_but_to_the_files_of_a_location(tmp_path):
    away, root = tmp_path / "away", tmp_path / "root"
    written(away / "file", 10)
    (root / "elsewhere").mkdir(parents=True)
    (root / "elsewhere" / "job").symlink_to(away)
    (root / "adapters").mkdir()
    (root / "adapters" / "loop").symlink_to(root)
    disk, _ = measured(root)

    found = disk.now()

    assert found.kinds["elsewhere"] == 10
    assert size_below(tmp_path / "none") == 0


def test_a_database_that_does_not_tell_its_size_is_left_out(tmp_path):
    disk, _ = measured(tmp_path, database_bytes=lambda: None)
    assert "database" not in disk.now().kinds


def test_the_size_of_a_database_grows_with_it(tmp_path):
    url = f"sqlite:///{tmp_path / 'tuningfork.db'}"
    database = Database.open(url)
    try:
        assert size_of(database, url) >= (tmp_path / "tuningfork.db").stat().st_size > 0
    finally:
        database.close()
