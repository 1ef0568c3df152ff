"""The generator, which takes one step for each command while a file exists; `holding.Hold` makes the file.

The order to drop a candidate removes it.
"""

import os
import sys
import time
from pathlib import Path

from holding import FILE_VARIABLE
from tuningfork.execution.local import worker
from tuningfork.execution.local.environment import adapter_limits_in, artifacts_in
from tuningfork.execution.local.generator_process import GeneratorWorker
from tuningfork.execution.local.messages import Abandon, Reports
from tuningfork.execution.local.renderers import Renderers


class HeldGenerator:
    def __init__(self, generator: GeneratorWorker, file: Path) -> None:
        self._generator = generator
        self._file = file
        self._owes_step = False

    @property
    def idle(self):
        return self._generator.idle

    def obey(self, command):
        self._owes_step = True
        yield from self._generator.obey(command)
        if isinstance(command, Abandon) and command.candidate is not None:
            self._file.unlink(missing_ok=True)

    def advance(self):
        """What was reported before has been sent."""
        if not self._owes_step and self._file.exists():
            time.sleep(0.01)
            return
        for said in self._generator.advance():
            if isinstance(said, Reports):
                self._owes_step = False
            yield said


if __name__ == "__main__":
    # The fork server has to be started before this process has other threads.
    of_bases = Renderers.of_this_process(int(sys.argv[1]), os.environ)
    generator = GeneratorWorker(artifacts_in(os.environ), adapter_limits_in(os.environ), of_bases)
    worker.run(HeldGenerator(generator, Path(os.environ[FILE_VARIABLE])))
