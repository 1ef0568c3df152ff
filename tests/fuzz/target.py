"""The application over the executor in memory, as a process of its own: `python target.py DIRECTORY` prints where."""

import json
import socket
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import uvicorn

from caller import caller_of
from fakes import Clock, InMemoryExecutor
from fuzz.samples import ACTIVE, BASE, CREATING, FAILED
from tuningfork.domain.errors import TuningforkError
from tuningfork.store.artifacts import Artifacts
from tuningfork.store.database import Database
from workshop import ADA, Workshop, build_workshop, number_request

JOBS_KEPT = 50
"""Models that requests have made are deleted beyond this many: what grows should be a leak, not the data."""


def main(directory: Path) -> None:
    clock = Clock()
    database = Database.open(f"sqlite:///{directory / 'tuningfork.db'}")
    workshop = build_workshop(database, Artifacts(directory / "artifacts"), clock, InMemoryExecutor(clock))
    caller = caller_of(workshop)
    operations = {name: _made(workshop, name) for name in (ACTIVE, FAILED, CREATING)}
    threading.Thread(target=_tidy, args=(workshop,), daemon=True).start()
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    permission = caller.post(
        f"/v1beta/tunedModels/{ACTIVE}/permissions",
        {"granteeType": "USER", "emailAddress": "dan@example.com", "role": "READER"},
    )
    facts = {
        "port": listener.getsockname()[1],
        "keys": {"ada": caller.key, "bob": caller.bobs_key},
        "operations": operations,
        "permission": permission.json().get("name", "none").rpartition("/")[2],
    }
    print(json.dumps(facts), flush=True)
    # Whoever sends requests keeps one connection, and may be slow to send the next.
    config = uvicorn.Config(caller.app, log_level="warning", access_log=False, timeout_keep_alive=600)
    uvicorn.Server(config).run(sockets=[listener])


def _made(workshop: Workshop, name: str) -> str:
    if name == FAILED:
        workshop.executor.fail_before(1)
    # Under its own name the base takes what it would refuse under one of Gemini's: more to break.
    tuned = workshop.tuning.create(ADA, number_request(tuned_model_id=name, base_model=f"models/{BASE}"))
    if name != CREATING:
        workshop.advance()
    return str(tuned.job.id)


def _tidy(workshop: Workshop) -> None:
    while True:
        time.sleep(0.2)
        # The executor in memory remembers all that it was asked, for tests that look.
        for asked in (workshop.executor.generations, workshop.executor.previews, workshop.executor.assignments):
            asked.clear()
        listed = workshop.tuning.list(ADA, page_size=1_000).items
        for tuned in [each for each in listed if each.model.id not in (ACTIVE, CREATING, FAILED)][JOBS_KEPT:]:
            with suppress(TuningforkError):
                workshop.tuning.delete(ADA, tuned.model.id)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
