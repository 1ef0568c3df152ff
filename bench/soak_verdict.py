"""Judges a soak: one line for each promise, with its figures. Pure functions of the records."""

import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from soak_records import OK, Fault, Records, Request, Sample

TIMES = 10.0
"""How many times its quiet latency a polite request may take."""

LEAST_QUIET_SECONDS = 0.025
"""A quiet median below this counts as this: ten times a few milliseconds are within a busy machine's noise."""

WARM_UP_SECONDS = 60.0
"""The first part of a process's life, in which it loads and fills its caches, is not judged."""

LEAST_LIFE_SECONDS = 240.0
"""A process that lived for less after its warm-up says nothing about growth."""

MOST_GROWTH = 0.25
"""How much of its median memory a process may grow by in an hour."""

MOST_FILES = 20
"""How many more files the server may have open after the load than before it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One promise. `held` None: the run was too short to tell."""

    promise: str
    held: bool | None
    found: str


def verdict(records: Records, quiet_until: float, load_until: float) -> list[Line]:
    """The lines; the load began at `quiet_until` and ended at `load_until`."""
    quiet = [each for each in records.requests if each.began + each.seconds < quiet_until and each.outcome == OK]
    load = [each for each in records.requests if each.began >= quiet_until]
    return [
        _jobs(records),
        _failures(load, records.faults),
        *_latencies(quiet, load, records.faults),
        _backups(records.faults),
        *(_memory(records.samples, role) for role in ("server", "trainer", "generator")),
        _files(records.samples, quiet_until, load_until),
        Line(promise="nothing else went wrong", held=not records.notes, found="; ".join(records.notes) or "nothing"),
    ]


def latency_rows(records: Records, quiet_until: float) -> list[dict[str, object]]:
    """Of each kind of polite requests: quiet median, and median, 99th percentile and worst beside the load, in ms."""
    rows = []
    for kind in sorted({each.kind for each in records.requests}):
        of_kind = [each for each in records.requests if each.kind == kind and each.outcome == OK]
        quiet = [each.seconds for each in of_kind if each.began + each.seconds < quiet_until]
        load = [each.seconds for each in of_kind if each.began >= quiet_until and not is_excused(each, records.faults)]
        if quiet and load:
            rows.append(
                {
                    "kind": kind,
                    "requests": len(load),
                    "quiet median": 1e3 * statistics.median(quiet),
                    "quiet worst": 1e3 * max(quiet),
                    "median": 1e3 * statistics.median(load),
                    "99th": 1e3 * sorted(load)[int(0.99 * (len(load) - 1))],
                    "worst": 1e3 * max(load),
                }
            )
    return rows


def is_excused(request: Request, faults: Iterable[Fault]) -> bool:
    """Whether some fault may be the reason for what happened to the request."""
    return any(fault.excuses(request) for fault in faults)


def slope_an_hour(points: Sequence[tuple[float, float]]) -> float:
    """The slope of the least-squares line through (seconds, value), per hour."""
    return 3600 * statistics.linear_regression(*zip(*points, strict=True)).slope


def _jobs(records: Records) -> Line:
    ends = Counter(job.end or "UNFINISHED" for job in records.jobs)
    bad = [f"{job.name} {job.end or 'UNFINISHED'} {job.error}".strip() for job in records.jobs if job.end != "ACTIVE"]
    found = ", ".join(f"{count} {end}" for end, count in sorted(ends.items()))
    return Line(
        promise="no job of a polite owner is lost or fails",
        held=not bad and bool(records.jobs),
        found="; ".join([found or "no jobs", *bad]),
    )


def _failures(load: Sequence[Request], faults: Sequence[Fault]) -> Line:
    failed = [each for each in load if each.outcome != OK]
    unexcused = Counter(f"{each.kind}: {each.outcome}" for each in failed if not is_excused(each, faults))
    counted = ", ".join(f"{count} x {what}" for what, count in sorted(unexcused.items()))
    return Line(
        promise="no request of a polite owner fails, unless a fault concerns it",
        held=not unexcused,
        found=f"{len(load)} requests; {len(failed)} failed during faults that concern them"
        if not unexcused
        else f"{len(load)} requests; {counted}",
    )


def _latencies(quiet: Sequence[Request], load: Sequence[Request], faults: Sequence[Fault]) -> list[Line]:
    lines = []
    for kind in sorted({each.kind for each in load}):
        before = [each.seconds for each in quiet if each.kind == kind]
        beside = [
            each.seconds for each in load if each.kind == kind and each.outcome == OK and not is_excused(each, faults)
        ]
        promise = f"no {kind} takes more than {TIMES:g} x its quiet median"
        if not before or not beside:
            lines.append(Line(promise=promise, held=None, found="too few requests"))
            continue
        limit = TIMES * max(statistics.median(before), LEAST_QUIET_SECONDS)
        over = sum(each > limit for each in beside)
        found = f"worst {1e3 * max(beside):.0f} ms, limit {1e3 * limit:.0f} ms; {over} of {len(beside)} above"
        lines.append(Line(promise=promise, held=not over, found=found))
    return lines


def _backups(faults: Sequence[Fault]) -> Line:
    made = [each for each in faults if each.kind == "backup"]
    failed = [each.note for each in made if each.note]
    return Line(
        promise="every backup beside the load is whole",
        held=not failed if made else None,
        found=f"{len(made)} made" + "".join(f"; {note}" for note in failed),
    )


def _memory(samples: Sequence[Sample], role: str) -> Line:
    """By the longest life of a process of this role, after its warm-up."""
    lives: dict[int, list[Sample]] = {}
    for each in samples:
        if each.role == role:
            lives.setdefault(each.pid, []).append(each)
    warm = [[each for each in life if each.time >= life[0].time + WARM_UP_SECONDS] for life in lives.values()]
    longest = max((life for life in warm if len(life) > 2), key=lambda life: life[-1].time - life[0].time, default=[])
    promise = f"the {role}'s private memory is level"
    if not longest or longest[-1].time - longest[0].time < LEAST_LIFE_SECONDS:
        return Line(promise=promise, held=None, found=f"none of {len(lives)} lived long enough to tell")
    median = statistics.median(each.uss_mb for each in longest)
    growth = slope_an_hour([(each.time, each.uss_mb) for each in longest])
    minutes = (longest[-1].time - longest[0].time) / 60
    found = f"{median:.0f} MB, {growth:+.0f} MB an hour over {minutes:.0f} min (limit {MOST_GROWTH * median:+.0f})"
    return Line(promise=promise, held=growth <= MOST_GROWTH * median, found=found)


def _files(samples: Sequence[Sample], quiet_until: float, load_until: float) -> Line:
    of_server = [each for each in samples if each.role == "server"]
    before = [each.files for each in of_server if each.time < quiet_until]
    after = [each.files for each in of_server if each.time > load_until]
    most = max((each.files for each in of_server), default=0)
    if not before or not after:
        return Line(promise="the server's open files come down again", held=None, found="no samples")
    found = f"{before[-1]} before the load, up to {most}, {after[-1]} after it"
    return Line(
        promise="the server's open files come down again", held=after[-1] <= before[-1] + MOST_FILES, found=found
    )
