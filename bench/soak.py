"""A real server under mixed load for an hour, while it is killed, stopped, backed up and held by idle connections.

    python bench/soak.py [--minutes 60] [--idle 300] [--seed 1] [--to .soak/soak] [--record]

Three polite owners tune, poll, ask and delete, one request at a time. Two impolite ones flood the server with streams,
long prompts, schemas, token counts, lists, jobs, cancels and deletes (`soak_crowd.py`). At first one polite owner is
alone: that is what "quiet" means. The last third of the load has no kills, so that growth of memory can be seen.
Everything is on the loopback interface and in a temporary directory.

Prints a verdict, and writes `NAME.json` (all records) and `NAME.md` (tables); with `--record` the tables are put into
docs/reliability.md too. Exit code 1 if a promise was broken.
"""

import argparse
import itertools
import json
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import report
import soak_faults
import soak_owners
from soak_faults import Faults, LiveServer
from soak_records import Records
from soak_verdict import Line, latency_rows, verdict

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

from idle_clients import allow_files, keep_large_model
from surroundings import forget_settings
from tuningfork.server.data_directory import make_private

POLITE, IMPOLITE = ("ada", "ben", "cyd"), ("mob", "rex")
SILENCE_SECONDS = 10
_AFTER_SECONDS = 20.0
_BEGIN, _END = "<!-- recorded by `make soak`: begin -->", "<!-- recorded by `make soak`: end -->"
_LAST_JOBS_SECONDS = 600.0


def main() -> None:
    forget_settings()
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--minutes", type=float, default=60.0, help="of load and quiet together; at least 3")
    options.add_argument("--idle", type=int, default=300, help="idle connections of all kinds")
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--to", type=Path, default=report.ROOT / ".soak" / "soak", help="results, without an ending")
    options.add_argument("--record", action="store_true", help="put the tables into docs/reliability.md")
    options.add_argument("--keep", type=Path, help="keep the data directory and the server's log here")
    chosen = options.parse_args()
    if chosen.minutes < 3:
        options.error("--minutes: at least 3")
    allow_files(chosen.idle + 500)
    with tempfile.TemporaryDirectory() as temporary:
        sys.exit(Soak(chosen, chosen.keep or Path(temporary)).run())


class Soak:
    """One run."""

    def __init__(self, chosen: argparse.Namespace, folder: Path) -> None:
        self._chosen = chosen
        self._folder = folder
        self._records = Records()
        self._over = threading.Event()
        self._server = LiveServer(folder, variables={"TUNINGFORK_WORKER_SILENCE_SECONDS": str(SILENCE_SECONDS)})
        self._faults = Faults(self._server, self._records, folder)
        self._crowd: dict[str, dict[str, int]] = {}

    def run(self) -> int:
        """All phases; the exit code."""
        total = 60 * self._chosen.minutes
        quiet = min(120.0, total / 5)
        load = total - quiet
        make_private(self._server.data_directory)
        keep_large_model(self._server.data_directory)
        self._server.start()
        try:
            keys = {name: self._key(name) for name in (*POLITE, *IMPOLITE)}
            self._warm_up(keys[POLITE[0]])
            watching = self._watch()
            quiet_until = self._quiet(quiet, keys[POLITE[0]])
            self._say(f"quiet for {quiet:.0f} s; now {load:.0f} s of load")
            self._load(load, keys)
            load_until = self._records.now()
            self._say("the load is over")
            time.sleep(_AFTER_SECONDS)
            soak_faults.sample_once(self._server, self._records)
            self._over.set()
            for thread in watching:
                thread.join(60)
        finally:
            exit_code = self._server.stop(signal.SIGTERM)
        if exit_code:
            self._records.notes.append(f"SIGTERM ended the server with exit code {exit_code}")
        return self._judge(quiet_until, load_until)

    def _key(self, owner: str) -> str:
        command = [sys.executable, "-m", "tuningfork", "keys", "create", "--email", f"{owner}@example.com"]
        made = subprocess.run(command, env=self._server.environment, check=True, capture_output=True, text=True)
        return made.stdout.strip().split()[-1]

    def _warm_up(self, key: str) -> None:
        """Both workers loaded, and one job trained, before anything is measured."""
        self._live("warm", key, Records(), 1.0)

    def _live(self, name: str, key: str, records: Records, seconds: float) -> None:
        """One owner alone, for so long and until its job has ended."""
        over = threading.Event()
        owner = soak_owners.Owner(name, self._server.url, key, records, over, self._chosen.seed)
        thread = soak_owners.start(owner.live, name)
        time.sleep(seconds)
        over.set()
        thread.join(_LAST_JOBS_SECONDS)

    def _watch(self) -> list[threading.Thread]:
        server, records, over = self._server, self._records, self._over
        return [
            soak_owners.start(lambda: soak_faults.sample(server, records, over), "samples"),
            soak_owners.start(lambda: soak_owners.look_at_health(server.url, records, over), "health"),
        ]

    def _quiet(self, seconds: float, key: str) -> float:
        self._live("quiet", key, self._records, seconds)
        return self._records.now()

    def _load(self, seconds: float, keys: dict[str, str]) -> None:
        """Everybody and everything, for so long; then polite owners' last jobs are waited for."""
        until = self._records.now() + seconds
        over = threading.Event()
        owners = [
            soak_owners.Owner(name, self._server.url, keys[name], self._records, over, self._chosen.seed + place)
            for place, name in enumerate(POLITE, start=1)
        ]
        threads = [soak_owners.start(owner.live, name) for owner, name in zip(owners, POLITE, strict=True)]
        holding = soak_owners.start(
            lambda: soak_faults.hold_connections(self._server, self._chosen.idle, over), "idle connections"
        )
        with self._crowded([keys[name] for name in IMPOLITE]):
            self._disturb(seconds, until)
        over.set()
        for thread in (*threads, holding):
            thread.join(_LAST_JOBS_SECONDS)

    @contextmanager
    def _crowded(self, keys: list[str]) -> Iterator[None]:
        setup = {"url": self._server.url, "keys": keys, "streams": 12, "jobs": 10, "seed": self._chosen.seed}
        command = [sys.executable, str(Path(__file__).with_name("soak_crowd.py")), json.dumps(setup)]
        crowd = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            yield
        finally:
            if crowd.poll() is not None:
                self._records.notes.append("the impolite owners' process ended before its time")
            said, _ = crowd.communicate("", timeout=60)
            self._crowd = json.loads(said) if said else {}

    def _disturb(self, seconds: float, until: float) -> None:
        """Faults by turns, evenly over the first two thirds of the load; in the last third backups alone."""
        calm_from = until - seconds / 3
        every = max(10.0, min(120.0, (seconds * 2 / 3) / 8))
        for act in self._acts():
            if self._pause(min(every, calm_from - self._records.now())):
                break
            self._say(act.__name__.replace("_", " "))
            try:
                act()
            except AssertionError as error:
                # The server did not come back: there is nothing more to disturb.
                self._records.notes.append(str(error)[-300:])
                return
        while not self._pause_until(min(until, self._records.now() + max(every, 60.0)), until):
            self._faults.back_up()

    def _acts(self) -> Iterator[Callable[[], None]]:
        faults = self._faults
        acts = [
            faults.stop_generator,
            faults.kill_trainer,
            faults.back_up,
            faults.kill_server,
            faults.stop_trainer,
            faults.kill_generator,
        ]
        chance = random.Random(self._chosen.seed)
        yield from acts
        for _ in itertools.count():
            yield from chance.sample(acts, len(acts))

    def _pause(self, seconds: float) -> bool:
        """Wait; whether it was less than a second, so that no time is left for faults."""
        if seconds < 1:
            return True
        time.sleep(seconds)
        return False

    def _pause_until(self, moment: float, end: float) -> bool:
        """Wait; whether the end has come."""
        time.sleep(max(0.0, moment - self._records.now()))
        return self._records.now() >= end

    def _judge(self, quiet_until: float, load_until: float) -> int:
        broken = {kind: counts for kind, counts in self._crowd.items() if set(counts) & {"500", "501", "502"}}
        if broken:
            self._records.notes.append(f"impolite owners got server errors: {broken}")
        lines = verdict(self._records, quiet_until, load_until)
        text = page(self._records, lines, self._crowd, quiet_until, load_until)
        print(text)
        log = self._server.log.read_text(encoding="utf-8", errors="replace")
        print(f"log: {len(log)} characters, {log.count('Traceback')} tracebacks")
        self._chosen.to.parent.mkdir(parents=True, exist_ok=True)
        self._chosen.to.with_suffix(".md").write_text(text, encoding="utf-8")
        if self._chosen.record:
            recorded(report.ROOT / "docs" / "reliability.md", text)
        whole = {
            "command": report.command_line(),
            "machine": report.machine(),
            "commit": report.commit(),
            "verdict": [asdict(line) for line in lines],
            "latencies": latency_rows(self._records, quiet_until),
            "crowd": self._crowd,
            "jobs": [asdict(each) for each in self._records.jobs],
            "faults": [asdict(each) for each in self._records.faults],
            "samples": [asdict(each) for each in self._records.samples],
            "sizes": self._records.sizes,
            "slowest": [asdict(each) for each in sorted(self._records.requests, key=lambda r: -r.seconds)[:200]],
            "log tracebacks": log.count("Traceback"),
        }
        self._chosen.to.with_suffix(".json").write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")
        return int(any(line.held is False for line in lines))

    def _say(self, what: str) -> None:
        print(f"{self._records.now():7.0f} s  {what}", flush=True)


def page(
    records: Records, lines: list[Line], crowd: dict[str, dict[str, int]], quiet_until: float, load_until: float
) -> str:
    """The tables as Markdown."""
    marks = {True: "held", False: "**broken**", None: "not told"}
    faults = Counter(each.kind for each in records.faults if not each.note.startswith("none"))
    sizes = records.sizes[-1] if records.sizes else {}
    most = {key: max(each[key] for each in records.sizes) for key in sizes if key != "time"}
    commit, machine = report.commit(), report.machine()
    parts = [
        f"`{report.command_line()}`, commit {commit}, {machine['cpu']}, "
        f"{machine['cores']} cores, load {machine.get('load', '?')} at the end. "
        f"{(load_until - quiet_until) / 60:.0f} minutes of load after {quiet_until / 60:.1f} quiet ones. Faults: "
        + (", ".join(f"{count} x {kind}" for kind, count in sorted(faults.items())) or "none")
        + ".",
        _table(["promise", "", "found"], [[line.promise, marks[line.held], line.found] for line in lines]),
        "Latencies of polite owners, in ms; requests that a fault concerns are left out:",
        _table(
            ["kind", "requests", "quiet median", "quiet worst", "median", "99th", "worst"],
            [
                [str(value) if isinstance(value, str | int) else f"{value:.0f}" for value in row.values()]
                for row in latency_rows(records, quiet_until)
            ],
        ),
        "What the impolite owners were answered:",
        _table(
            ["kind", "answers"],
            [
                [kind, ", ".join(f"{count} x {outcome}" for outcome, count in sorted(counts.items()))]
                for kind, counts in sorted(crowd.items())
            ],
        ),
        "Data: " + ", ".join(f"{key} {sizes[key]:.0f} at the end, {most[key]:.0f} at most" for key in most) + ".",
    ]
    return "\n\n".join(parts) + "\n"


def recorded(path: Path, text: str) -> None:
    """Put the text between the two marks of a page, in place of what is there."""
    before, mark, rest = path.read_text(encoding="utf-8").partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not (mark and end):
        raise SystemExit(f"{path} has no place for the tables, which begins with {_BEGIN} and ends with {_END}")
    path.write_text(f"{before}{mark}\n\n{text}\n{end}{after}", encoding="utf-8")


def _table(head: list[str], rows: list[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [head, ["---"] * len(head), *rows])


if __name__ == "__main__":
    main()
