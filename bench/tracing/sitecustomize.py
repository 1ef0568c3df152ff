"""Loaded by every Python process below a benchmark: in a generator it notes when the engine takes and gives.

Writes binary records to the file in `TUNINGFORK_BENCH_TRACE`: kind, number, monotonic seconds. The monotonic clock is
one for all processes of a machine, so that the times can be set against those of a client. Requests are told apart by
their sampling seed, which a client chooses.
"""

import os
import struct
import sys
import time

RECORD = struct.Struct("=cqd")
TAKEN, ADDED, BEGUN, ENDED, GIVEN = b"t", b"a", b"b", b"e", b"g"


def trace_generator(path: str) -> None:
    # Only where it is asked for: every Python process below a benchmark comes by here.
    from tuningfork.execution.local import worker  # noqa: PLC0415
    from tuningfork.execution.local.messages import Generate  # noqa: PLC0415
    from tuningfork.inference.engine import InferenceEngine  # noqa: PLC0415

    file = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
    seeds: dict[str, int] = {}

    def note(*records: tuple[bytes, int, float]) -> None:
        os.write(file, b"".join(RECORD.pack(*record) for record in records))

    class Watched:
        """The pipe, of which it is noted when a request has come out."""

        def __init__(self, pipe: object) -> None:
            self._pipe = pipe

        def recv(self) -> object:
            message = self._pipe.recv()
            if isinstance(message, Generate):
                note((TAKEN, message.assignment.sampling.seed or 0, time.monotonic()))
            return message

        def send(self, message: object) -> None:
            self._pipe.send(message)

    taking = worker.Line.__init__
    adding, stepping = InferenceEngine.add, InferenceEngine.step

    def take(self, pipe) -> None:
        taking(self, Watched(pipe))

    def add(self, request) -> None:
        note((ADDED, request.sampling.seed or 0, time.monotonic()))
        seeds[request.id] = request.sampling.seed or 0
        adding(self, request)

    def step(self):
        began = time.monotonic()
        outputs = stepping(self)
        ended = time.monotonic()
        given = [(GIVEN, seeds.get(output.request_id, 0), ended) for output in outputs]
        note((BEGUN, len(outputs), began), (ENDED, len(outputs), ended), *given)
        return outputs

    worker.Line.__init__ = take
    InferenceEngine.add, InferenceEngine.step = add, step


if "TUNINGFORK_BENCH_TRACE" in os.environ and "tuningfork.execution.local.generator_process" in sys.orig_argv:
    trace_generator(os.environ["TUNINGFORK_BENCH_TRACE"])
