"""A worker without torch: answers each message, and dies in the way it is told to."""

import os
import signal
import sys
import time
from multiprocessing.connection import Connection

from tuningfork.execution.local.worker import Line

if __name__ == "__main__":
    line: Line[object] = Line(Connection(int(sys.argv[1])))
    while True:
        for message in line.waiting(block=True):
            if message == "exit":
                sys.exit(3)
            if message == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            if message == "busy":
                # Longer than the silence that the test bears.
                time.sleep(5)
            line.send(("echo", message, os.environ.get("COLOUR")))
