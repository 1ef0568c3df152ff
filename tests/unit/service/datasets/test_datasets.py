"""What holds for datasets beyond one exchange: limits, crashes, many edits, and sizes."""

import json
import threading
import time
from unittest.mock import patch

import pytest
from sqlalchemy import select

from tuningfork.domain.data_findings import CheckPurpose
from tuningfork.domain.errors import FailedPrecondition, InvalidArgument, ResourceExhausted
from tuningfork.domain.staged_dataset import LIFETIME, DatasetChange, StagedDatasetNotFound, StagedRow
from tuningfork.domain.tuning_job import TuningRequest
from tuningfork.service.datasets.editing import Editing
from tuningfork.store.staged_rows import StagedFiles
from tuningfork.store.staging_tables import staged_datasets
from workshop import ADA, BOB, datasets_of

CSV = b"text_input,output\n" + b"".join(b"question %d,answer %d\n" % (n, n) for n in range(30))


def upload(datasets, content=CSV, owner=ADA, name="a.csv"):
    arriving = datasets.arrivals.begin(owner, name, "", None)
    try:
        arriving.add(content)
        return datasets.arrivals.finish(arriving)
    finally:
        arriving.close()


@pytest.fixture
def datasets(workshop):
    return datasets_of(workshop)


def texts(datasets, dataset_id):
    return [row.cells for _, row in datasets.editing.window(ADA, dataset_id, 0, 1000).rows]


def test_an_owner_has_so_many_datasets_and_bytes_and_others_as_many(workshop):
    few = datasets_of(workshop, most_datasets=2)
    upload(few), upload(few)
    with pytest.raises(ResourceExhausted, match="You have 2 datasets, and 2 is the most"):
        upload(few)
    assert upload(few, owner=BOB).row_count == 30
    small = datasets_of(workshop, most_bytes=2_000)
    with pytest.raises(ResourceExhausted, match="Your datasets would take"):
        upload(small, owner=BOB)
    assert not list((workshop.artifacts.store.root / "staged" / "arriving").iterdir())


def test_uploads_at_the_same_time_do_not_come_to_more_than_an_owner_may_have(workshop):
    few = datasets_of(workshop, most_datasets=2, most_bytes=5_000)
    arriving = [few.arrivals.begin(ADA, "a.csv", "", None) for _ in range(2)]
    with pytest.raises(ResourceExhausted, match="You have 2 datasets"):
        few.arrivals.begin(ADA, "a.csv", "", None)
    assert few.arrivals.begin(BOB, "a.csv", "", None).owner == BOB.email
    for each in arriving:
        each.add(CSV + b"%s,b\n" % (2_000 * b"x"))
    few.arrivals.finish(arriving[0])

    with pytest.raises(ResourceExhausted, match="Your datasets would take"):
        few.arrivals.finish(arriving[1])
    for each in arriving:
        each.close(), each.close()
    assert upload(few, content=b"text_input,output\na,b\n").row_count == 1
    kept = [path.name for path in few.shelf.files.root.iterdir() if path.name != "arriving"]
    assert len(kept) == 2


def test_edits_count_as_what_an_owner_has_and_one_that_is_refused_leaves_nothing(datasets):
    dataset = upload(datasets)
    editing = Editing(datasets.shelf, most_bytes=dataset.size_bytes + 100)
    editing.remove(ADA, dataset.id, [3])
    with pytest.raises(ResourceExhausted, match="Your datasets would take"):
        editing.add(ADA, dataset.id, [StagedRow(id=0, cells=("x" * 100, "y"))])
    now = datasets.keeping.get(ADA, dataset.id)
    assert (now.revision, now.row_count) == (1, 29)
    assert datasets.shelf.files.edit_bytes(dataset.id, 0, now.next_edit) == 0


def test_no_name_and_no_prefix_has_a_character_that_no_model_takes(datasets):
    arriving = datasets.arrivals.begin(ADA, "a\0b.csv", "\0", None)
    arriving.add(CSV)
    dataset = datasets.arrivals.finish(arriving)
    assert (dataset.source_name, dataset.display_name) == ("ab.csv", "ab")

    columns = [{"role": "INPUT", "prefix": "\0"}, {"role": "OUTPUT"}]
    with pytest.raises(InvalidArgument) as refused:
        datasets.keeping.change(ADA, dataset.id, DatasetChange(display_name="a\0", columns=columns))
    assert [each.field for each in refused.value.violations] == ["display_name", "columns[0].prefix"]


def test_edits_leave_the_disk_some_room_as_uploads_do(datasets):
    dataset = upload(datasets)
    # Why: a disk that is nearly full. The test has no disk of its own to fill.
    with patch.object(StagedFiles, "free_bytes", lambda _files: 2**20), pytest.raises(ResourceExhausted, match="disk"):
        datasets.editing.remove(ADA, dataset.id, [3])
    assert datasets.keeping.get(ADA, dataset.id).revision == 0


def test_edits_of_datasets_that_are_not_there_leave_nothing_in_memory(datasets):
    for number in range(20):
        with pytest.raises(StagedDatasetNotFound):
            datasets.editing.undo(ADA, f"none{number}")
    assert not datasets.shelf._editing


def test_a_crash_between_an_edits_file_and_its_row_loses_the_edit_alone(datasets, workshop):
    dataset = upload(datasets)
    datasets.shelf.files.write_edit(dataset.id, 0, 1, [StagedRow(id=0, cells=("lost", "lost"))], [])
    again = datasets_of(workshop)
    again.shelf.tidy()
    assert texts(again, dataset.id)[0] == ("question 0", "answer 0")
    again.editing.remove(ADA, dataset.id, [0])
    assert texts(again, dataset.id)[0] == ("question 1", "answer 1")


def test_what_has_expired_is_swept_with_its_files(datasets, workshop):
    dataset = upload(datasets)
    datasets.shelf.sweep_hourly()
    assert datasets.shelf.files.root.joinpath(dataset.id).exists()
    workshop.clock.advance(seconds=LIFETIME.total_seconds() + 1)
    datasets.shelf.sweep_hourly()
    assert not datasets.shelf.files.root.joinpath(dataset.id).exists()
    with pytest.raises(StagedDatasetNotFound):
        datasets.keeping.get(ADA, dataset.id)


def test_after_many_edits_rows_are_written_anew_and_nothing_but_undoing_is_lost(datasets, workshop):
    dataset, editing = upload(datasets), Editing(datasets.shelf, most_edits=3)
    for number in range(8):
        editing.set(ADA, dataset.id, number, lambda row: StagedRow(id=row.id, cells=("x", str(row.id))))
    editing.remove(ADA, dataset.id, [29])
    _, ids = editing.add(ADA, dataset.id, [StagedRow(id=0, cells=("new", "row"))])
    assert ids == (30,)
    found = texts(datasets_of(workshop), dataset.id)
    assert found[:8] == [("x", str(number)) for number in range(8)]
    assert (len(found), found[-1]) == (30, ("new", "row"))
    now = datasets.keeping.get(ADA, dataset.id)
    assert (now.generation, len(now.edits)) == (3, 1)


def test_edits_of_one_dataset_at_once_are_all_kept(datasets):
    dataset = upload(datasets)
    threads = [threading.Thread(target=datasets.editing.remove, args=(ADA, dataset.id, [n])) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    now = datasets.keeping.get(ADA, dataset.id)
    assert (now.row_count, now.revision) == (22, 8)
    assert texts(datasets, dataset.id)[0] == ("question 8", "answer 8")


def test_who_reads_rows_whose_edit_is_undone_meanwhile_gets_no_row_of_the_next_edit(datasets):
    dataset, editing = upload(datasets), datasets.editing
    first, _, _ = editing.set(ADA, dataset.id, 0, lambda row: StagedRow(id=row.id, cells=("checked", "as such")))
    places = datasets.shelf.places(first)

    editing.undo(ADA, dataset.id)
    editing.set(ADA, dataset.id, 0, lambda row: StagedRow(id=row.id, cells=("other", "text")))

    with pytest.raises(FailedPrecondition, match="changed or deleted meanwhile"):
        next(places.read([0]))


def test_edits_that_are_undone_again_and_again_take_no_room(datasets):
    dataset, editing = upload(datasets), Editing(datasets.shelf, most_edits=3)
    for _ in range(4):
        editing.add(ADA, dataset.id, [StagedRow(id=0, cells=("new", "row"))])
        assert editing.undo(ADA, dataset.id).size_bytes == dataset.size_bytes
    for _ in range(4):
        now, _, _ = editing.set(ADA, dataset.id, 0, lambda row: StagedRow(id=row.id, cells=row.cells))
    files = datasets.shelf.files.root / dataset.id
    rows = (files / f"rows-{now.generation}" / "rows.jsonl").stat().st_size
    assert (now.generation, len(now.edits)) == (1, 1)
    assert now.size_bytes == rows + datasets.shelf.files.edit_bytes(dataset.id, 1, now.edits[0].number)


def test_edits_that_an_earlier_version_numbered_by_their_place_are_found(datasets, workshop):
    dataset = upload(datasets)
    edited, _, _ = datasets.editing.set(ADA, dataset.id, 0, lambda row: StagedRow(id=row.id, cells=("x", "y")))
    with workshop.database.write() as connection:
        about = connection.execute(select(staged_datasets.c.about)).scalar_one()
        connection.execute(staged_datasets.update().values(about={**about, "edits": ["Changed row 1"]}))
    assert edited.edits[0].number == 1

    assert datasets.keeping.get(ADA, dataset.id).edits == edited.edits
    assert texts(datasets_of(workshop), dataset.id)[0] == ("x", "y")


def test_a_dataset_that_is_deleted_while_it_is_edited_is_gone(datasets):
    dataset = upload(datasets)

    def deleting(row):
        datasets.shelf.forget(dataset.id)
        return row

    with pytest.raises((FailedPrecondition, StagedDatasetNotFound)):
        datasets.editing.set(ADA, dataset.id, 0, deleting)


def test_two_requests_with_one_id_at_the_same_moment_make_one_job(datasets, workshop):
    dataset = upload(datasets)
    request = TuningRequest(base_model="models/gemini-1.0-pro-001", request_id="once")
    made, start = [], threading.Barrier(4)

    def create():
        start.wait()
        made.append(datasets.creating.create(ADA, request, dataset.id).job.id)

    threads = [threading.Thread(target=create) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 4
    assert len(set(made)) == 1
    assert len(workshop.tuning.list(ADA).items) == 1


@pytest.mark.slow
def test_the_last_rows_of_a_hundred_thousand_come_at_once(datasets):
    lines = (
        json.dumps({"text_input": f"question {n} of a usual length", "output": f"answer {n}"}) for n in range(100_000)
    )
    dataset = upload(datasets, "\n".join(lines).encode(), name="a.jsonl")
    begin = time.perf_counter()
    window = datasets.editing.window(ADA, dataset.id, 99_900, 100)
    first = time.perf_counter() - begin
    assert window.rows[-1][1].cells == ("question 99999 of a usual length", "answer 99999")
    assert first < 1
    datasets.editing.remove(ADA, dataset.id, range(0, 100_000, 2))
    begin = time.perf_counter()
    datasets.editing.window(ADA, dataset.id, 49_900, 100)
    assert time.perf_counter() - begin < 1
    assert datasets.checking.check(ADA, dataset.id, CheckPurpose()).report.findings == ()
