"""A soak's verdict says of each promise whether it was held, from the records alone."""

from pathlib import Path

import pytest

from soak import page, recorded
from soak_records import Fault, Job, Records, Request, Sample
from soak_verdict import is_excused, latency_rows, slope_an_hour, verdict

ROOT = Path(__file__).parents[3]
QUIET_UNTIL, LOAD_UNTIL = 100.0, 1_000.0


def asked(began, seconds, kind="get", outcome="ok"):
    return Request(began=began, seconds=seconds, owner="ada", kind=kind, outcome=outcome)


def sample(time, uss, *, files=20, pid=1, role="server"):
    return Sample(time=time, role=role, pid=pid, uss_mb=uss, pss_mb=uss, files=files, threads=5)


@pytest.fixture
def records():
    """A run in which every promise was held."""
    made = Records()
    made.requests += [asked(each, 0.04) for each in range(10)]
    made.requests += [asked(200 + each, 0.1) for each in range(10)]
    made.jobs.append(Job(name="one", owner="ada", began=200, end="ACTIVE"))
    made.samples += [sample(each, 100.0) for each in range(0, 1_010, 10)]
    return made


def broken(records):
    return [line.promise for line in verdict(records, QUIET_UNTIL, LOAD_UNTIL) if line.held is False]


def test_a_run_in_which_all_went_well_breaks_no_promise(records):
    assert broken(records) == []


def test_a_slow_request_breaks_its_promise_unless_a_fault_that_concerns_it_lasted(records):
    records.requests.append(asked(500, 0.41))
    slow = broken(records)
    records.faults.append(Fault(kind="generator killed", began=499, ended=505))
    not_concerned = broken(records)
    records.faults.append(Fault(kind="server killed", began=499, ended=500.2))

    assert slow == not_concerned == ["no get takes more than 10 x its quiet median"]
    assert broken(records) == []


def test_a_request_that_fails_breaks_a_promise(records):
    records.requests.append(asked(500, 0.01, outcome="500"))

    assert broken(records) == ["no request of a polite owner fails, unless a fault concerns it"]


@pytest.mark.parametrize("end", ["LOST", "FAILED", "UNFINISHED", ""])
def test_a_job_that_does_not_end_well_breaks_a_promise(records, end):
    records.jobs.append(Job(name="two", owner="ada", began=300, end=end))

    assert broken(records) == ["no job of a polite owner is lost or fails"]


def test_memory_that_grows_breaks_a_promise_and_a_short_life_tells_nothing(records):
    records.samples += [sample(each, 100 + each / 60, pid=2, role="trainer") for each in range(0, 900, 10)]
    records.samples += [sample(each, 100 + each, pid=3, role="generator") for each in range(0, 200, 10)]
    lines = {line.promise: line.held for line in verdict(records, QUIET_UNTIL, LOAD_UNTIL)}

    assert lines["the trainer's private memory is level"] is False
    assert lines["the generator's private memory is level"] is None
    assert lines["the server's private memory is level"] is True


def test_files_that_stay_open_break_a_promise(records):
    records.samples.append(sample(LOAD_UNTIL + 20, 100.0, files=60))

    assert broken(records) == ["the server's open files come down again"]


def test_a_backup_that_fails_breaks_a_promise(records):
    records.faults.append(Fault(kind="backup", began=500, ended=510, note="failed: it is damaged"))

    assert broken(records) == ["every backup beside the load is whole"]


def test_the_slope_is_that_of_the_line():
    assert slope_an_hour([(0.0, 5.0), (1800.0, 6.0), (3600.0, 7.0)]) == pytest.approx(2.0)


def test_a_fault_that_lasts_excuses_what_comes():
    assert is_excused(asked(50, 1), [Fault(kind="server killed", began=10)])
    assert not is_excused(asked(5, 1), [Fault(kind="server killed", began=10)])


def test_the_page_has_a_row_for_each_promise_and_kind(records):
    lines = verdict(records, QUIET_UNTIL, LOAD_UNTIL)
    text = page(records, lines, {"list": {"200": 3}}, QUIET_UNTIL, LOAD_UNTIL)

    assert all(f"| {line.promise} |" in text for line in lines)
    assert "| get | 10 | 40 | 40 | 100 | 100 | 100 |" in text
    assert "| list | 3 x 200 |" in text
    assert [row["kind"] for row in latency_rows(records, QUIET_UNTIL)] == ["get"]


def test_the_tables_take_the_place_of_those_before(tmp_path):
    path = tmp_path / "page.md"
    marks = "<!-- recorded by `make soak`: begin -->\n\n{}\n<!-- recorded by `make soak`: end -->\n"
    path.write_text("# Title\n\n" + marks.format("old\n") + "\nMore.\n")
    recorded(path, "new\n")
    recorded(path, "newer\n")

    assert path.read_text() == "# Title\n\n" + marks.format("newer\n") + "\nMore.\n"


def test_the_page_of_the_documentation_has_the_marks(tmp_path):
    path = tmp_path / "reliability.md"
    path.write_text((ROOT / "docs" / "reliability.md").read_text(encoding="utf-8"), encoding="utf-8")
    recorded(path, "tables\n")

    assert "\n\ntables\n\n" in path.read_text(encoding="utf-8")
