"""What is done to the service during a soak: kills, stopped children, idle connections, backups. And samples of it."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psutil

from soak_owners import BASE
from soak_records import Records, Sample

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

from idle_clients import KINDS
from live_server import LiveServer

_AGAIN_SECONDS = 180.0
_SAMPLE_EVERY_SECONDS = 5.0
_HOLD_SECONDS = 10.0


class Faults:
    """Carries them out one at a time, and waits until the service answers as before."""

    def __init__(self, server: LiveServer, records: Records, folder: Path) -> None:
        self._server = server
        self._records = records
        self._folder = folder
        self._steps_at_last_death = -1
        self._backups = 0

    def kill_server(self) -> None:
        """Kill -9 the server, and start it again."""
        with self._records.fault("server killed"):
            self._server.kill("server")
            self._server.start()
            self._wait_for_answers()

    def kill_generator(self) -> None:
        """Kill -9 the generator."""
        with self._records.fault("generator killed") as fault:
            if not self._server.kill("generator"):
                fault.note = "none ran"
            self._wait_for_answers()

    def kill_trainer(self) -> None:
        """Kill -9 the trainer, unless no step was made since the last time: then its jobs would be blamed, rightly."""
        if not self._has_progressed():
            return
        with self._records.fault("trainer killed") as fault:
            if not self._server.kill("trainer"):
                fault.note = "none ran"
            self._wait_for_steps()

    def stop_generator(self) -> None:
        """SIGSTOP the generator; the server has to notice and to replace it."""
        with self._records.fault("generator stopped") as fault:
            self._stop("generator", fault)
            self._wait_for_answers()

    def stop_trainer(self) -> None:
        """SIGSTOP the trainer."""
        if not self._has_progressed():
            return
        with self._records.fault("trainer stopped") as fault:
            self._stop("trainer", fault)
            self._wait_for_steps()

    def back_up(self) -> None:
        """Make a backup while the server runs, and check every file of it."""
        self._backups += 1
        to = self._folder / f"backup-{self._backups}"
        with self._records.fault("backup") as fault:
            for options in (["--to", str(to)], ["--check", str(to)]):
                command = [sys.executable, "-m", "tuningfork", "backup", *options]
                done = subprocess.run(
                    command, env=self._server.environment, capture_output=True, text=True, check=False
                )
                if done.returncode:
                    fault.note = f"failed: {(done.stderr or done.stdout).strip()[-300:]}"
        shutil.rmtree(to, ignore_errors=True)

    def _stop(self, role: str, fault) -> None:
        child = self._child(role)
        if child is None:
            fault.note = "none ran"
            return
        child.send_signal(signal.SIGSTOP)
        deadline = time.monotonic() + _AGAIN_SECONDS
        while child.is_running() and child.status() != psutil.STATUS_ZOMBIE:
            if time.monotonic() > deadline:
                fault.note = "it was not replaced"
                child.send_signal(signal.SIGCONT)
                return
            time.sleep(0.2)

    def _child(self, role: str) -> psutil.Process | None:
        for child in self._server.workers():
            with suppress(psutil.Error):
                if f"{role}_process" in " ".join(child.cmdline()):
                    return child
        return None

    def _has_progressed(self) -> bool:
        """Whether polite owners' jobs made a step since the last death; a job that kills three trainers is given up."""
        steps = self._records.steps()
        progressed, self._steps_at_last_death = steps > self._steps_at_last_death, steps
        return progressed

    def _wait_for_steps(self) -> None:
        before, deadline = self._records.steps(), time.monotonic() + _AGAIN_SECONDS
        while self._records.steps() <= before:
            if time.monotonic() > deadline:
                self._records.notes.append(f"no step within {_AGAIN_SECONDS:g} s after a trainer's death")
                return
            time.sleep(0.2)

    def _wait_for_answers(self) -> None:
        """Wait until a new caller gets an answer."""
        body = {"contents": [{"parts": [{"text": "one"}]}], "generationConfig": {"maxOutputTokens": 4}}
        deadline = time.monotonic() + _AGAIN_SECONDS
        with self._server.client() as client:
            while time.monotonic() < deadline:
                with suppress(httpx.TransportError):
                    if client.post(f"/v1beta/{BASE}:generateContent", json=body).is_success:
                        return
                time.sleep(0.2)
        self._records.notes.append(f"no answer within {_AGAIN_SECONDS:g} s after a fault")


def hold_connections(server: LiveServer, count: int, over: threading.Event) -> None:
    """Keep so many connections open and idle, of all kinds; those that the server has closed are opened again."""
    kinds = list(KINDS.values())
    held: list = []
    where = urlsplit(server.url)
    while not over.is_set():
        for client in held:
            client.close()
        held = []
        for number in range(count):
            if over.is_set():
                break
            with suppress(OSError):
                held.append(kinds[number % len(kinds)](where.hostname, where.port, server.key))
        over.wait(_HOLD_SECONDS)
    for client in held:
        client.close()


def sample(server: LiveServer, records: Records, over: threading.Event) -> None:
    """Note what the server and its workers use, and how large the data are, every few seconds."""
    while not over.wait(_SAMPLE_EVERY_SECONDS):
        sample_once(server, records)


def sample_once(server: LiveServer, records: Records) -> None:
    """Note it now."""
    with suppress(psutil.Error):
        parent = server.process
        records.samples.append(_sample(parent, "server", records.now()))
        for process in parent.children():
            with suppress(psutil.Error):
                if role := _role(process):
                    records.samples.append(_sample(process, role, records.now()))
    records.sizes.append({"time": records.now(), **_sizes(server.data_directory)})


def _role(process: psutil.Process) -> str:
    """A worker's role; "" for a child that tries out a schema, or a base."""
    words = " ".join(process.cmdline())
    return next((role for role in ("generator", "trainer") if f"{role}_process" in words), "")


def _sample(process: psutil.Process, role: str, now: float) -> Sample:
    memory = process.memory_full_info()
    return Sample(
        time=now,
        role=role,
        pid=process.pid,
        uss_mb=memory.uss / 1e6,
        pss_mb=memory.pss / 1e6,
        files=process.num_fds(),
        threads=process.num_threads(),
    )


def _sizes(data: Path) -> dict[str, float]:
    total = files = 0
    for folder, _, names in os.walk(data):
        for name in names:
            with suppress(OSError):
                total += Path(folder, name).stat().st_size
                files += 1
    database = sum(path.stat().st_size for path in data.glob("tuningfork.db*"))
    return {"data_mb": total / 1e6, "files": files, "database_mb": database / 1e6}
