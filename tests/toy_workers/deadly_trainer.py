"""The trainer, which a job kills whenever it has taken its third step, before the step is reported.

Jobs with a batch size of `DEADLY_BATCH_SIZE` do so, by the signal `DEADLY_SIGNAL`, or by an error if that is 0.
"""

import os

from tuningfork.execution.base import Stepped
from tuningfork.execution.local import worker
from tuningfork.execution.local.environment import artifacts_in
from tuningfork.execution.local.messages import Admit
from tuningfork.execution.local.trainer_process import Trainer


class DeadlyTrainer:
    def __init__(self) -> None:
        self._trainer = Trainer(artifacts_in(os.environ))
        self._deadly = set()

    @property
    def idle(self):
        return self._trainer.idle

    def obey(self, command):
        if isinstance(command, Admit):
            assignment = command.assignment
            if assignment.hyperparameters.batch_size == int(os.environ["DEADLY_BATCH_SIZE"]):
                self._deadly.add(assignment.job_id)
        yield from self._trainer.obey(command)

    def advance(self):
        for event in self._trainer.advance():
            is_third = isinstance(event.event, Stepped) and event.event.snapshot.step == 3
            if is_third and event.job_id in self._deadly:
                self._die()
            yield event

    def _die(self):
        number = int(os.environ["DEADLY_SIGNAL"])
        if number:
            os.kill(os.getpid(), number)
        raise RuntimeError("not enough memory: you tried to allocate 1099511627776 bytes")


if __name__ == "__main__":
    worker.run(DeadlyTrainer())
