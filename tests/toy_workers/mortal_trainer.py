"""The trainer, whose process kills itself where a test has ordered it, so that no kill comes too late.

`mortality.Deaths` writes the orders. With a port in `REMOTE_PORT`, the artifacts are behind a loopback socket, with a
cache of its own.
"""

import os
import signal
import time
from pathlib import Path

from loopback_objects import LoopbackObjects
from mortality import FILE_VARIABLE, Order
from tuningfork.artifacts.base import ArtifactStore
from tuningfork.artifacts.cached import CachedArtifactStore
from tuningfork.execution.base import LAST_EVENTS, Stepped
from tuningfork.execution.local import worker
from tuningfork.execution.local.environment import artifacts_in
from tuningfork.execution.local.messages import Admit, JobEvent
from tuningfork.execution.local.trainer_process import Trainer


class MortalTrainer:
    def __init__(self, store: ArtifactStore) -> None:
        self._store = store
        self._trainer = Trainer(store)
        self._work = {}
        self._steps = {}

    @property
    def idle(self):
        return self._trainer.idle

    def obey(self, command):
        if isinstance(command, Admit):
            self._work[command.assignment.job_id] = command.assignment.work
        yield from self._trainer.obey(command)

    def advance(self):
        """What was reported before has been sent."""
        self._die_if_ordered()
        for said in self._trainer.advance():
            if isinstance(said, JobEvent) and isinstance(said.event, Stepped):
                self._steps[said.job_id] = said.event.snapshot.step
            if isinstance(said, JobEvent) and isinstance(said.event, LAST_EVENTS):
                self._steps.pop(said.job_id, None)
            yield said

    def _die_if_ordered(self):
        file = Path(os.environ[FILE_VARIABLE])
        order = Order.read(file)
        for job_id, step in self._steps.items():
            if order is not None and step >= order.after_step:
                # Savepoints are written beside the steps.
                while order.saved and not self._store.refs_below(self._work[job_id].below("savepoints")):
                    time.sleep(0.01)
                file.unlink()
                os.kill(os.getpid(), signal.SIGKILL)


def store() -> ArtifactStore:
    if "REMOTE_PORT" not in os.environ:
        return artifacts_in(os.environ)
    objects = LoopbackObjects(int(os.environ["REMOTE_PORT"]))
    return CachedArtifactStore(objects, Path(os.environ["REMOTE_CACHE"]) / "trainer", 10**8)


if __name__ == "__main__":
    worker.run(MortalTrainer(store()))
