"""A tuning run shown while it goes on."""

import io
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console

from tuningfork.client import ClientError, progress
from tuningfork.client.dialect import Operation
from tuningfork.domain.tuning_job import Snapshot


def state(step, *, total=19, done=False, error=None):
    snapshots = tuple(
        Snapshot(step=n, epoch=n // 4, mean_loss=2.0 / n, compute_time=datetime(2024, 3, 14, tzinfo=UTC))
        for n in range(1, step + 1)
    )
    return Operation(
        name="o", tuned_model="tunedModels/m", total_steps=total, snapshots=snapshots, done=done, error=error
    )


def shown(states, *, terminal):
    output = io.StringIO()
    console = Console(file=output, force_terminal=terminal, width=100, color_system=None)
    last = progress.follow(console, iter(states))
    return last, output.getvalue()


def test_a_terminal_sees_a_bar_that_ends_full():
    last, text = shown([state(0), state(7), state(19, done=True)], terminal=True)

    assert last.done
    assert "step 19/19 · epoch 4 · mean loss 0.105" in text
    assert "✓" in text


def test_elsewhere_about_ten_plain_lines_are_written():
    _, text = shown([state(step, total=200, done=step == 200) for step in range(201)], terminal=False)

    assert text.splitlines()[0] == "waiting to begin 200 steps"
    assert text.splitlines()[-1] == "step 200/200 · epoch 50 · mean loss 0.010"
    assert len(text.splitlines()) == 11
    assert "\x1b" not in text


def stepping(step, *, seconds, total=100):
    """A run with a step each so many seconds."""
    begun = datetime(2024, 3, 14, tzinfo=UTC)
    taken = [
        replace(each, compute_time=begun + each.step * timedelta(seconds=seconds)) for each in state(step).snapshots
    ]
    return replace(state(step, total=total, done=step == total), snapshots=tuple(taken))


def test_plain_lines_tell_how_long_the_rest_takes_where_it_is_long():
    _, long = shown([stepping(step, seconds=2) for step in (1, 40, 97, 100)], terminal=False)

    assert long.splitlines() == [
        "step 1/100 · epoch 0 · mean loss 2.000",
        "step 40/100 · epoch 10 · mean loss 0.050 · about 2.0 min left",
        "step 97/100 · epoch 24 · mean loss 0.021",
        "step 100/100 · epoch 25 · mean loss 0.020",
    ]


def test_the_time_left_of_a_long_run_does_not_depend_on_how_many_snapshots_are_kept():
    every_tenth = stepping(1_000, seconds=2, total=2_000)
    thinned = replace(every_tenth, snapshots=every_tenth.snapshots[9::10])

    _, text = shown([thinned], terminal=False)

    assert text.splitlines()[0].endswith(" · about 33 min left")


def test_a_wait_in_the_queue_is_one_line_not_many():
    _, text = shown([state(0)] * 50 + [state(1, total=1, done=True)], terminal=False)

    assert text.splitlines() == ["waiting to begin 19 steps", "step 1/1 · epoch 0 · mean loss 2.000"]


def test_only_a_run_that_is_done_without_a_step_was_imported():
    imported = progress.in_words(state(0, total=0, done=True))
    assert imported == "no steps to take: the adapter was imported"
    # Its examples are being read, or could not be.
    assert progress.in_words(state(0, total=0)) == "no steps yet"
    assert progress.in_words(state(0, total=0, done=True, error="Row: 3.")) == "no steps yet"


def rising(step, *, done=False, of=40):
    """A run whose loss is far above its beginning."""
    taken = [replace(each, mean_loss=1.0 if each.step == 1 else 9.0) for each in state(step).snapshots]
    return replace(state(step, total=of, done=done), snapshots=tuple(taken))


def level(step, *, of=40):
    return replace(
        state(step, total=of), snapshots=tuple(replace(each, mean_loss=2.0) for each in state(step).snapshots)
    )


@pytest.mark.parametrize("terminal", [True, False])
def test_a_loss_above_its_beginning_is_told_once_while_the_run_goes_on(terminal):
    states = [rising(4), rising(12), rising(13), rising(40, done=True)]

    _, text = shown(states, terminal=terminal)

    assert text.count("So far: loss rose") == 1
    assert "So far" not in shown([rising(4), rising(40, done=True)], terminal=terminal)[1]


def test_a_loss_is_not_called_level_before_half_of_the_steps():
    assert "So far" not in shown([level(19)], terminal=False)[1]
    assert "So far: loss level" in shown([level(20)], terminal=False)[1]


@pytest.mark.parametrize("terminal", [True, False])
def test_a_run_that_failed_is_an_error_with_the_reason(terminal):
    with pytest.raises(ClientError, match="ended after 3 of 19 steps: the loss is not finite"):
        shown([state(0), state(3, done=True, error="the loss is not finite")], terminal=terminal)


@pytest.mark.parametrize("indent", [0, 3])
@pytest.mark.parametrize("width", [40, 60, 80, 100, 120])
@pytest.mark.parametrize("total", [19, 12_345, 1_234_567])
def test_a_bar_fits_its_terminal_with_all_of_its_words(width, total, indent):
    output = io.StringIO()
    console = Console(file=output, force_terminal=True, width=width, color_system=None, legacy_windows=False)
    last = state(1, total=total)
    newest = replace(last.snapshots[0], step=total, epoch=999, mean_loss=12.345)
    done = replace(last, snapshots=(newest,), done=True)

    progress.follow(console, iter([state(0, total=total), done]), indent=indent)

    lines = re.sub(r"\x1b\[[0-9?]*[a-zA-Z]", "\r", output.getvalue()).replace("\r", "\n").splitlines()
    words = f"step {total}/{total} · epoch 999 · mean loss 12.345"
    assert max(map(len, lines)) <= width
    assert (words in lines[-1] + lines[-2]) is (len(words) + 2 + indent <= width)


def test_a_terminal_without_a_cursor_sees_lines(monkeypatch):
    monkeypatch.setenv("TERM", "dumb")

    _, text = shown([state(0), state(19, done=True)], terminal=True)

    assert text.splitlines() == ["waiting to begin 19 steps", "step 19/19 · epoch 4 · mean loss 0.105"]
