"""What is said of a worker's end."""

import signal

import pytest

from tuningfork.execution.local.endings import Ending, memory_kills


@pytest.mark.parametrize(
    ("ending", "said"),
    [
        (Ending(exit_code=3), "exit code 3"),
        (Ending(exit_code=1, last_words="RuntimeError: no"), "exit code 1, RuntimeError: no"),
        (Ending(exit_code=-signal.SIGSEGV), "signal 11"),
        (Ending(exit_code=127), "exit code 127, of the system's program loader, most often for lack of memory"),
        (
            Ending(exit_code=-signal.SIGABRT),
            "signal 6, by which programs end themselves, most often for lack of memory",
        ),
        (Ending(exit_code=-signal.SIGSEGV, memory_kills=1), "signal 11"),
        (Ending(exit_code=-signal.SIGKILL), "signal 9"),
        (Ending(exit_code=-signal.SIGKILL, memory_kills=1), "signal 9, from the system, which had no memory left"),
        (Ending(exit_code=-signal.SIGKILL, silent_seconds=30.0, memory_kills=1), "no sign of life for 30 seconds"),
    ],
)
def test_an_end_is_told_by_its_exit_code_or_signal_and_what_led_to_it(ending, said):
    assert str(ending) == said
    assert not ending.from_outside


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_that_asks_comes_from_outside(number):
    assert Ending(exit_code=-number).from_outside


def test_kills_for_memory_are_counted_for_the_machine_and_the_control_group(tmp_path):
    none = memory_kills(tmp_path)
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/vmstat").write_text("nr_free_pages 1\noom_kill 2\n")
    (tmp_path / "sys/fs/cgroup").mkdir(parents=True)
    (tmp_path / "sys/fs/cgroup/memory.events").write_text("low 0\noom 9\noom_kill 3\noom_group_kill 4\n")

    assert (none, memory_kills(tmp_path)) == (0, 5)
