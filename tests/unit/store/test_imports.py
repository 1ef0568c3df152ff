"""An adapter that arrives, killed between any two of its steps: the next start has all of it, or nothing."""

import tarfile

import pytest

import peft_adapters
from tuningfork.dialect.own.unpacking import Unpacking
from tuningfork.domain.errors import ResourceExhausted
from tuningfork.domain.tuning_job import JobId
from tuningfork.service.tuning.tidying import sweep
from tuningfork.store.artifacts import Artifacts
from tuningfork.store.imports import SPARE_BYTES, STEP_BYTES, ArrivingAdapter, Reservations
from tuningfork.store.strangers import Strangers, strangers
from tuningfork.wire.peft import WEIGHTS
from workshop import ADA, importing_of, number_request

JOB = JobId("arrivingjob1")


class Killed(BaseException):
    """Ends a test's import as `kill -9` does: nothing is tidied."""


@pytest.fixture
def arriving(artifacts):
    """An adapter that arrives; its lock is released at the end, as the system does for a process that is killed."""
    arriving = artifacts.arriving_adapter(JOB)
    peft_adapters.written(arriving.directory)
    yield arriving
    arriving._opened.close()


def restarted(workshop):
    """The files as the next start has them."""
    artifacts = Artifacts(workshop.artifacts.store.root, workshop.clock)
    found = strangers(workshop.database, artifacts)
    sweep(workshop.database, artifacts)
    return found, artifacts


def keeping(arriving, adapter, work):
    """What this work returns while the adapter is in its place, where it is followed by an error."""
    keeping = arriving.kept_as(adapter)
    keeping.__enter__()
    done = work()
    assert not keeping.__exit__(Killed, Killed(), None)
    return done


def kept(root):
    return [path.name for kind in ("imports", "adapters", "manifests/imports") for path in (root / kind).glob("*")]


class Disk:
    """A disk with room for so many bytes, of which files take what their blocks take on the real one."""

    def __init__(self, root, size):
        self.root, self.size = root, size

    def free(self, _directory):
        return self.size - sum(512 * path.stat().st_blocks for path in self.root.rglob("*") if path.is_file())


def test_adapters_that_arrive_at_the_same_time_do_not_reserve_the_same_room(artifacts):
    store, reservations = artifacts.store, Reservations()
    disk = Disk(store.root / "imports", SPARE_BYTES + STEP_BYTES + STEP_BYTES // 2)
    first, second = (
        ArrivingAdapter(store, JobId(name), reservations, free=disk.free) for name in ("firstjob0001", "secondjob001")
    )
    assert first.reserve(STEP_BYTES) == STEP_BYTES
    with pytest.raises(ResourceExhausted, match=f"has room for {STEP_BYTES // 2:,}"):
        second.reserve(STEP_BYTES)
    assert second.reserve(STEP_BYTES // 4) == STEP_BYTES // 4
    assert first.reserve(STEP_BYTES) == STEP_BYTES
    first.close()
    assert second.reserve(STEP_BYTES) == STEP_BYTES
    second.close()


def test_a_complete_adapter_has_nothing_reserved(artifacts):
    store, reservations = artifacts.store, Reservations()
    disk = Disk(store.root / "imports", SPARE_BYTES + STEP_BYTES + 2**16)
    first, second = (
        ArrivingAdapter(store, JobId(name), reservations, free=disk.free) for name in ("firstjob0001", "secondjob001")
    )
    assert first.reserve(STEP_BYTES) == STEP_BYTES
    peft_adapters.written(first.directory)
    first.complete()
    assert second.reserve(STEP_BYTES) == STEP_BYTES
    first.close()
    second.close()


def test_a_file_that_has_not_arrived_takes_no_room_from_others(artifacts):
    """Of 256 MiB that a header promises, nothing has come yet."""
    weights = tarfile.TarInfo(WEIGHTS)
    weights.size = 2**28
    disk = Disk(artifacts.store.root / "imports", 2 * 2**28)
    first, second = (artifacts.arriving_adapter(JobId(name)) for name in ("firstjob0001", "secondjob001"))
    first._free = second._free = disk.free
    with Unpacking(first.directory, first) as unpacking, Unpacking(second.directory, second) as other:
        unpacking.add(weights.tobuf())
        other.add(weights.tobuf())
        assert disk.free(None) > disk.size - 2**20
    first.close()
    second.close()


def test_of_two_adapters_that_have_no_room_together_one_arrives(artifacts):
    """Each announces more than half of the room. The one whose rest has no room any more is refused."""
    size = 5 * STEP_BYTES
    disk = Disk(artifacts.store.root / "imports", SPARE_BYTES + 8 * STEP_BYTES + STEP_BYTES // 2)
    first, second = (artifacts.arriving_adapter(JobId(name)) for name in ("firstjob0001", "secondjob001"))
    first._free = second._free = disk.free
    with (first.directory / WEIGHTS).open("xb") as one, (second.directory / WEIGHTS).open("xb") as other:
        for begin in range(0, 3 * STEP_BYTES, STEP_BYTES):
            one.write(bytes(first.reserve(size - begin)))
            one.flush()
            if begin < 2 * STEP_BYTES:
                other.write(bytes(second.reserve(size - begin)))
                other.flush()
        with pytest.raises(ResourceExhausted):
            second.reserve(size - 2 * STEP_BYTES)
    second.close()
    assert first.reserve(size - 3 * STEP_BYTES) == STEP_BYTES
    first.close()


@pytest.mark.parametrize("completed", [False, True])
def test_files_that_were_still_arriving_are_removed(workshop, arriving, completed):
    if completed:
        arriving.complete()
    arriving._opened.close()

    found, artifacts = restarted(workshop)

    assert found == Strangers()
    assert kept(artifacts.store.root) == []


def test_an_adapter_whose_row_was_not_written_is_set_aside_and_stops_no_start(workshop, arriving):
    arriving.complete()
    artifacts = workshop.artifacts
    artifacts.store.move(arriving.ref, artifacts.adapter(JOB))
    arriving._opened.close()

    found, artifacts = restarted(workshop)

    assert found == Strangers(begun=(JOB,))
    assert found.weights == ()
    assert kept(artifacts.store.root) == []
    assert [path.parent.name for path in artifacts.store.root.glob("set-aside/*/adapters/*")] == ["adapters"]


def test_an_adapter_that_cannot_be_set_aside_yet_stops_no_start_either(workshop, arriving):
    arriving.complete()
    root, adapter = workshop.artifacts.store.root, workshop.artifacts.adapter(JOB)
    workshop.artifacts.store.move(arriving.ref, adapter)
    arriving._opened.close()
    in_the_way = root / "set-aside"
    in_the_way.write_text("")

    for _ in range(2):
        found, artifacts = restarted(workshop)
        assert found == Strangers(begun=(JOB,))
        assert artifacts.store.has(adapter)

    in_the_way.unlink()
    restarted(workshop)
    assert kept(root) == []
    assert len([*root.glob("set-aside/*/adapters/*")]) == 1


def test_an_adapter_whose_row_was_written_stays(workshop, monkeypatch):
    importing = importing_of(workshop)
    arrival = importing.begin(ADA, number_request(base_model="echo-001", examples=(), tuned_model_id="mine"))
    peft_adapters.written(arrival.adapter.directory)
    seed = arrival.adapter.complete()
    made = importing.accept(arrival, workshop.tuning._catalog.models[0].adapter, seed)
    # Killed before its directory was removed.
    arrival.adapter._opened.close()

    found, artifacts = restarted(workshop)

    assert found == Strangers()
    assert kept(artifacts.store.root) == [made.job.id]
    assert artifacts.store.has(artifacts.adapter(made.job.id))


def test_a_start_beside_an_import_leaves_it_alone(workshop, arriving):
    _, artifacts = restarted(workshop)

    assert kept(artifacts.store.root) == [JOB]


def test_an_error_undoes_the_move(workshop, arriving):
    arriving.complete()
    adapter = workshop.artifacts.adapter(JOB)

    assert keeping(arriving, adapter, lambda: workshop.artifacts.store.has(adapter))
    arriving.close()

    assert kept(workshop.artifacts.store.root) == []


def test_where_the_row_may_be_written_the_next_start_decides(workshop, arriving):
    arriving.complete()

    keeping(arriving, workshop.artifacts.adapter(JOB), arriving.be_unsure)
    arriving.close()

    assert sorted(kept(workshop.artifacts.store.root)) == [JOB, JOB, JOB]
    found, artifacts = restarted(workshop)
    assert found.weights == ()
    assert kept(artifacts.store.root) == []


def test_equal_files_have_equal_seeds_and_others_do_not(artifacts):
    def seed(job_id, contents):
        arriving = artifacts.arriving_adapter(JobId(job_id))
        peft_adapters.written(arriving.directory, contents)
        made = arriving.complete()
        arriving.close()
        return made

    files = peft_adapters.files()
    others = files | {"adapter_model.safetensors": peft_adapters.weights(seed=1)}

    assert seed("one", files) == seed("two", files) != seed("three", others)
