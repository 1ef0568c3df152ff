"""A worker without torch: answers each message, and dies in the way it is told to."""

import os
import signal
import sys
from multiprocessing.connection import Connection

from tuningfork.execution.worker import Inbox

if __name__ == "__main__":
    pipe = Connection(int(sys.argv[1]))
    inbox: Inbox[object] = Inbox(pipe)
    while True:
        for message in inbox.waiting(block=True):
            if message == "exit":
                sys.exit(3)
            if message == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            pipe.send(("echo", message, os.environ.get("COLOUR")))
