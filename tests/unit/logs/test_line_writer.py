"""The lines of the log are written without anybody's waiting; what nobody reads is lost in the end, and counted."""

import io
import os
import select
import subprocess
import sys
import threading

import pytest

from patience import PATIENCE_SECONDS, wait_until
from tuningfork.logs.configuration import _Handler
from tuningfork.logs.line_writer import LineWriter

_LINE = "x" * 99


def lost_line(count):
    return f"{count} lost"


@pytest.fixture
def pipe():
    """A reader's descriptor, and a stream that writes to it."""
    reader, writer = os.pipe()
    with os.fdopen(writer, "w") as stream:
        yield reader, stream
        os.close(reader)


def read_lines(reader, until):
    """What the pipe holds, up to a line that contains this."""
    data = b""
    while until.encode() not in data:
        data += os.read(reader, 65_536)
    return data.decode().splitlines()


def test_every_line_is_written_in_order(pipe):
    reader, stream = pipe
    writer = LineWriter(stream, lost_line)
    for number in range(1_000):
        writer.put(f"line {number}.")

    assert read_lines(reader, "line 999.") == [f"line {number}." for number in range(1_000)]
    assert writer.flush(PATIENCE_SECONDS)


def test_a_stream_without_a_file_is_written_too():
    stream = io.StringIO()
    writer = LineWriter(stream, lost_line)
    writer.put("one")
    writer.put("two")

    assert writer.flush(PATIENCE_SECONDS)
    assert stream.getvalue() == "one\ntwo\n"


def test_nobody_waits_for_a_pipe_that_nobody_reads_and_what_is_lost_is_told(pipe):
    reader, stream = pipe
    writer = LineWriter(stream, lost_line, most_bytes=100_000)
    for _ in range(5_000):
        writer.put(_LINE)
    assert not writer.flush(0)

    data = b""
    while (written := data.count(_LINE.encode())) + lost_in(data) < 5_000:
        data += os.read(reader, 65_536)
    # What the pipe itself holds, and what may wait.
    assert 1_000 <= written < 5_000
    assert written + lost_in(data) == 5_000


def lost_in(data):
    """How many lines are lost, by what the lines about that say."""
    return sum(int(line.split()[0]) for line in data.split(b"\n")[:-1] if line.endswith(b" lost"))


def test_after_a_loss_lines_are_taken_again_once_half_of_those_that_wait_are_written(pipe):
    reader, stream = pipe
    writer = LineWriter(stream, lost_line, most_bytes=100_000)
    for _ in range(5_000):
        writer.put(_LINE)
    read_lines(reader, "lost\n")
    while not writer.flush(0):
        if select.select([reader], [], [], 0.01)[0]:
            os.read(reader, 65_536)
    writer.put("again")

    assert "again" in read_lines(reader, "again")


def test_a_reader_that_is_gone_holds_up_nobody():
    reader, end = os.pipe()
    os.close(reader)
    with os.fdopen(end, "w") as stream:
        writer = LineWriter(stream, lost_line)
        writer.put("nobody reads this")
        assert writer.flush(PATIENCE_SECONDS)


def test_a_pipe_that_does_not_wait_gets_every_line(pipe):
    reader, stream = pipe
    os.set_blocking(stream.fileno(), False)
    writer = LineWriter(stream, lost_line)
    for _ in range(2_000):
        writer.put(_LINE)
    writer.put("the last")

    assert len(read_lines(reader, "the last")) == 2_001


def test_lines_of_two_processes_do_not_mix(pipe):
    reader, stream = pipe
    writers = [LineWriter(stream, lost_line), LineWriter(stream, lost_line)]
    read: list[str] = []

    def read_all():
        data = b""
        while data.count(b"\n") < 4_000:
            data += os.read(reader, 1_000)
        read.extend(data.decode().splitlines())

    thread = threading.Thread(target=read_all)
    thread.start()
    for _ in range(2_000):
        for letter, writer in zip("ab", writers, strict=True):
            writer.put(letter * 99)
    thread.join(PATIENCE_SECONDS)

    assert sorted(set(read)) == ["a" * 99, "b" * 99]


_PROGRAM = """
import logging, sys
from tuningfork.logs.configuration import configure
from tuningfork.logs.formats import LogFormat
configure("info", LogFormat.TEXT, "server")
for number in range(int(sys.argv[1])):
    logging.getLogger(f"of {number}").info("told")
print("done", flush=True)
"""


def test_what_was_logged_is_written_before_a_process_ends():
    ended = subprocess.run(
        [sys.executable, "-c", _PROGRAM, "500"], capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=True
    )
    assert [line.split()[-2:] for line in ended.stderr.splitlines()] == [[f"{n}:", "told"] for n in range(500)]


def test_a_process_ends_though_nobody_reads_its_log():
    process = subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, "50000"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with process:
        # Standard error is not read before the process has ended.
        assert process.stdout.readline() == "done\n"
        wait_until(lambda: process.poll() is not None, what="the process has ended")
        assert process.returncode == 0


def test_a_record_that_cannot_be_formatted_is_named_without_its_text(capfd):
    program = _PROGRAM.split("for number", maxsplit=1)[0] + 'logging.getLogger("a").info("%d", "secret")'
    subprocess.run([sys.executable, "-c", program], timeout=PATIENCE_SECONDS, check=True)
    told = capfd.readouterr().err

    assert "a record could not be written" in told
    assert "secret" not in told


def test_a_line_may_be_logged_while_another_is_queued(pipe):
    """As when an object is collected meanwhile, whose end is logged."""
    _, stream = pipe
    writer = LineWriter(stream, lost_line)
    with writer._changed:
        writer.put("within")
    assert writer.flush(PATIENCE_SECONDS)


def test_a_line_that_is_too_long_is_told_at_once(pipe):
    reader, stream = pipe
    writer = LineWriter(stream, lost_line, most_bytes=1_000)
    writer.put("x" * 2_000)

    assert writer.flush(PATIENCE_SECONDS)
    assert read_lines(reader, "lost") == ["1 lost"]


def test_lines_wait_while_the_system_has_no_thread(pipe, monkeypatch):
    def refuse(thread):
        raise RuntimeError("can't start new thread")

    reader, stream = pipe
    writer = LineWriter(stream, lost_line)
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        writer.put("one")
        assert not writer.flush(PATIENCE_SECONDS)
    writer.put("two")

    assert read_lines(reader, "two") == ["one", "two"]


def test_without_a_stream_nobody_waits():
    writer = LineWriter(None, lost_line)
    writer.put("one")
    assert writer.flush(PATIENCE_SECONDS)
    writer.put("two")
    assert writer.flush(PATIENCE_SECONDS)
    assert writer._thread.is_alive()


def test_a_closed_writer_writes_what_waits_and_ends_its_thread(pipe):
    reader, stream = pipe
    writer = LineWriter(stream, lost_line)
    writer.put("one")
    thread = writer._thread
    writer.close()
    thread.join(PATIENCE_SECONDS)
    assert not thread.is_alive()
    writer.put("two")

    assert read_lines(reader, "two") == ["one", "two"]


_FORKING = """
import logging, os
from tuningfork.logs.configuration import configure
from tuningfork.logs.formats import LogFormat
configure("info", LogFormat.TEXT, "server")
logging.info("before")
logging.getLogger().handlers[0].flush()
child = os.fork()
if not child:
    logging.info("in the child")
    logging.shutdown()
    os._exit(0)
os.waitpid(child, 0)
logging.info("after")
"""

_AGAIN = """
import logging, threading
from tuningfork.logs.configuration import configure
from tuningfork.logs.formats import LogFormat
for number in range(20):
    configure("info", LogFormat.TEXT, "server")
    logging.info("as %d", number)
old = [each for each in threading.enumerate() if each.name == "log"][:-1]
for each in old:
    each.join(60)
logging.info("%d threads", sum(each.name == "log" for each in threading.enumerate()))
"""


def messages_of(program):
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=True
    )
    return [line.partition("root: ")[2] for line in ended.stderr.splitlines()]


def test_a_process_that_is_forked_writes_its_lines():
    assert messages_of(_FORKING) == ["before", "in the child", "after"]


def test_a_log_that_is_set_up_again_loses_no_line_and_keeps_no_thread():
    assert messages_of(_AGAIN) == [*(f"as {number}" for number in range(20)), "1 threads"]


def test_what_waits_is_guarded_by_the_lock_of_the_handler():
    """Else the thread that writes and one that logs could wait for each other, if a record is logged meanwhile."""
    handler = _Handler(io.StringIO())
    taken = []

    def take():
        taken.append(handler._writer._changed.acquire(blocking=False))
        if taken[-1]:
            handler._writer._changed.release()

    with handler.lock:
        other = threading.Thread(target=take)
        other.start()
        other.join(PATIENCE_SECONDS)

    assert taken == [False]
