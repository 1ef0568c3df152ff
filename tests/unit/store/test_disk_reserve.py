"""Space that is kept for deleting, on disks of a few MiB that are really full."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tuningfork.store.disk_reserve import FILE, DiskReserve

MIB = 2**20
SUPPORT = Path(__file__).parents[2] / "support"

FULL_DISK = """
import errno, sys
from pathlib import Path
from caller import caller_of
from fakes import Clock, InMemoryExecutor
from tuningfork.store.artifacts import Artifacts
from tuningfork.store.database import Database
from tuningfork.store.disk_reserve import DiskReserve
from workshop import ADA, build_workshop, number_request

root, mebibytes = Path(sys.argv[1]), int(sys.argv[2])
reserve = DiskReserve(root, mebibytes * 2**20)
database = Database.open(f"sqlite:///{root / 'tuningfork.db'}")
workshop = build_workshop(database, Artifacts(root), Clock(), InMemoryExecutor(Clock()), reserve=reserve)
caller = caller_of(workshop)
made = [workshop.tuning.create(ADA, number_request()) for _ in range(40)]
print("reserve", reserve.refill())
# As after a checkpoint: the next write needs new room.
with database._engine.connect() as connection:
    connection.exec_driver_sql("COMMIT")
    connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.exec_driver_sql("BEGIN")
with (root / "filler").open("wb", buffering=0) as filler:
    try:
        while True:
            filler.write(bytes(4096))
    except OSError as error:
        assert error.errno == errno.ENOSPC
statuses = [caller.call("DELETE", f"/v1beta/tunedModels/{tuned.model.id}").status_code for tuned in made]
print("answers", *sorted(set(statuses)))
print("left", len(workshop.tuning.list(ADA, page_size=1000).items), len(workshop.artifacts.job_ids()))
(root / "filler").unlink()
print("reserve", reserve.refill())
"""


def on_a_full_disk(mount, mebibytes):
    """What a program says that deletes models on a full file system of its own, of 16 MiB."""
    program = f'mount -t tmpfs -o size=16m tmpfs "$1" && PYTHONPATH="$2" exec "$3" -c "$4" "$1" {mebibytes}'
    paths = [str(mount), ":".join([str(SUPPORT), *sys.path]), sys.executable, FULL_DISK]
    ended = subprocess.run(
        ["unshare", "-rm", "sh", "-c", program, "sh", *paths], capture_output=True, text=True, check=False, timeout=300
    )
    if "unshare" in ended.stderr or "mount:" in ended.stderr:
        pytest.skip(f"no file system of one's own can be mounted here: {ended.stderr}")
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.splitlines()


@pytest.fixture
def mount(tmp_path):
    if shutil.which("unshare") is None:
        pytest.skip("there is no unshare")
    (tmp_path / "disk").mkdir()
    return tmp_path / "disk"


def test_on_a_full_disk_models_can_be_deleted_from_the_reserve_which_is_refilled_afterwards(mount):
    assert on_a_full_disk(mount, 4) == ["reserve True", "answers 200", "left 0 0", "reserve True"]


def test_without_a_reserve_a_full_disk_lets_nothing_be_deleted(mount):
    """So that the test above is known to fill the disk."""
    kept, answers, left, after = on_a_full_disk(mount, 0)

    assert (kept, answers, after) == ("reserve False", "answers 429", "reserve False")
    assert left == "left 40 40"


def test_the_reserve_takes_its_space_once_and_gives_it_back(tmp_path):
    reserve = DiskReserve(tmp_path, 2 * MIB)

    assert reserve.refill()
    assert reserve.refill()
    file = tmp_path / FILE
    assert (file.stat().st_size, file.stat().st_mode & 0o777) == (2 * MIB, 0o600)
    assert file.stat().st_blocks * 512 >= 2 * MIB
    assert reserve.release()
    assert not reserve.release()
    assert [*tmp_path.iterdir()] == []


def test_a_disk_without_room_for_the_reserve_is_told_once(tmp_path, caplog):
    reserve = DiskReserve(tmp_path, shutil.disk_usage(tmp_path).total)

    assert [reserve.refill() for _ in range(3)] == [False] * 3

    assert len([each for each in caplog.records if getattr(each, "action", "") == "no_disk_reserve"]) == 1
    assert [*tmp_path.iterdir()] == []


def test_a_reserve_of_another_size_is_made_anew(tmp_path):
    DiskReserve(tmp_path, MIB).refill()
    assert DiskReserve(tmp_path, 2 * MIB).refill()
    assert (tmp_path / FILE).stat().st_size == 2 * MIB
