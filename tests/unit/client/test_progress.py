"""A tuning run shown while it goes on."""

import io
from datetime import UTC, datetime

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


def test_a_wait_in_the_queue_is_one_line_not_many():
    _, text = shown([state(0)] * 50 + [state(1, total=1, done=True)], terminal=False)

    assert text.splitlines() == ["waiting to begin 19 steps", "step 1/1 · epoch 0 · mean loss 2.000"]


@pytest.mark.parametrize("terminal", [True, False])
def test_a_run_that_failed_is_an_error_with_the_reason(terminal):
    with pytest.raises(ClientError, match="ended after 3 of 19 steps: the loss is not finite"):
        shown([state(0), state(3, done=True, error="the loss is not finite")], terminal=terminal)
