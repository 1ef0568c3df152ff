"""A preparer without a base, which ends as the id of its job says."""

import os
import signal
import time
from pathlib import Path

from tuningfork.domain.errors import ResourceExhausted
from tuningfork.domain.training_rows import RowFault
from tuningfork.execution.local import worker
from tuningfork.execution.local.preparer_messages import DataRefused, RowsRead
from tuningfork.execution.local.reading_limit import KEPT_WAITING

SIGNALS = {"killed": signal.SIGKILL, "overtime": signal.SIGXCPU}


class Rogue:
    def __reduce__(self):
        return os.system, ("true",)


class ToyPreparer:
    idle = True

    def obey(self, command):
        job = command.request.job_id
        Path(os.environ["TOY_PIDS"]).joinpath(job).write_text(str(os.getpid()), encoding="ascii")
        if job.startswith("base"):
            job = job.removeprefix("base")
        else:
            yield RowsRead(0)
            yield RowsRead(1_000)
        if job == "waiting":
            os._exit(KEPT_WAITING)
        if job in SIGNALS:
            os.kill(os.getpid(), SIGNALS[job])
        if job == "rogue":
            yield Rogue()
            time.sleep(600)
        if job == "full":
            yield DataRefused(ResourceExhausted("full"))
        if job == "faulty":
            yield DataRefused(RowFault(7, "It is empty.", is_validation=True))
        if job == "mute":
            yield LookupError()
        time.sleep(600)


if __name__ == "__main__":
    worker.run(ToyPreparer(), with_torch=False)
