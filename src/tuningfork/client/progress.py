"""A tuning run shown while it goes on: a live bar on a terminal, plain lines elsewhere."""

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from tuningfork.client import findings
from tuningfork.client.dialect import Operation
from tuningfork.client.durations import duration
from tuningfork.client.errors import ClientError

_PLAIN_LINES = 10
"""About so many lines are written where there is no terminal, or one that cannot move its cursor."""

_MEASURED_STEPS = 20
"""The time that is left follows from so many of the last steps, or, in a long run, of the last steps with snapshots."""
_LEAST_SECONDS = 10.0
"""A shorter time that is left is not told."""

# In cells, each with the blank in front of it or behind it. Times are written as in 0:12:34.
_SPINNER_WIDTH = 2
_ELAPSED_WIDTH = len(" · 0:00:00")
_LEFT_WIDTH = len(" · left 0:00:00")
_LEAST_BAR_WIDTH = 6
_MOST_BAR_WIDTH = 24

Show = Callable[[Operation], None]


def follow(console: Console, states: Iterable[Operation], *, indent: int = 0) -> Operation:
    """Show the run's states as they come, and return the last one.

    Args:
        console: where the bar or the lines go.
        states: at least one: what the creation was answered with, then what `Client.watch` yields.
        indent: in characters, of the bar or the lines.

    Raises:
        ClientError: the run failed or was cancelled.

    """
    has_cursor = console.is_terminal and not console.is_dumb_terminal
    shown: AbstractContextManager[Show] = _bar(console, indent) if has_cursor else nullcontext(_lines(console, indent))
    warned = ""
    with shown as show:
        for operation in states:
            show(operation)
            warning = findings.so_far(operation)
            if warning not in ("", warned):
                # Above the bar, which has no room for it.
                console.print(f"{'':{indent}}So far: {warning}", markup=False, highlight=False, soft_wrap=True)
                warned = warning
    if operation.error is not None:
        progress = f"{operation.completed_steps} of {operation.total_steps} steps"
        raise ClientError(f"The tuning of {operation.tuned_model} ended after {progress}: {operation.error}")
    return operation


def in_words(operation: Operation) -> str:
    """Step, epoch and mean loss in one line, and the last validation loss if there is one."""
    if operation.is_import:
        return "no steps to take: the adapter was imported"
    if not operation.snapshots:
        known = f"waiting to begin {operation.total_steps} steps" if operation.total_steps else "no steps yet"
        return operation.waits_for or known
    newest = operation.snapshots[-1]
    words = f"step {newest.step}/{operation.total_steps} · epoch {newest.epoch} · mean loss {newest.mean_loss:.3f}"
    validation = operation.results.in_words if operation.results else ""
    return f"{words} · {validation}" if validation else words


def _time_left(operation: Operation) -> str:
    """How long the remaining steps take, at the pace of the last ones; "": a short time, or it is not known."""
    last = operation.snapshots[-_MEASURED_STEPS - 1 :]
    if operation.done or len(last) < 2:
        return ""
    # A long run has no snapshot of most of its steps.
    steps = last[-1].step - last[0].step
    seconds = (last[-1].compute_time - last[0].compute_time).total_seconds() / steps
    left = seconds * (operation.total_steps - operation.completed_steps)
    return f" · about {duration(left)} left" if left >= _LEAST_SECONDS else ""


@contextmanager
def _bar(console: Console, indent: int) -> Iterator[Show]:
    shown: Progress | None = None
    task = TaskID(0)
    width = 0

    def show(operation: Operation) -> None:
        nonlocal shown, task, width
        if shown is None:
            # Only now is it known how long the words will be.
            width = len(_longest_words(operation))
            columns = _columns(console.width - indent, width)
            # The table of a progress bar puts one blank after each column, so this column is one blank narrower.
            indentation = [TextColumn(" " * (indent - 1))] if indent else []
            shown = Progress(*indentation, *columns, console=console)
            shown.start()
            task = shown.add_task("", total=None)
        words = in_words(operation)
        words = words if len(words) <= width else f"{words[: width - 1]}…"
        # A run that has stopped early is complete.
        is_complete = operation.done and operation.error is None and operation.completed_steps > 0
        total = operation.completed_steps if is_complete else operation.total_steps
        shown.update(task, total=total, completed=operation.completed_steps, description=words)

    try:
        yield show
    finally:
        if shown is not None:
            shown.stop()


def _longest_words(operation: Operation) -> str:
    most = "9" * len(str(operation.total_steps))
    words = f"step {most}/{most} · epoch 999 · mean loss 99.999"
    has_validation = operation.validation_count or (operation.results and operation.results.validation_count)
    return f"{words} · validation 99.999" if has_validation else words


def _columns(width: int, words: int) -> list[ProgressColumn]:
    """The columns for which there is room: first the words, then a bar, the time so far, and the time that is left."""
    elapsed = [TextColumn("[dim]·[/dim]"), TimeElapsedColumn()]
    left = [TextColumn("[dim]· left[/dim]"), TimeRemainingColumn()]
    room = width - _SPINNER_WIDTH - words
    times: list[ProgressColumn] = []
    for more, needed in ((elapsed, _ELAPSED_WIDTH), (left, _LEFT_WIDTH)):
        if room >= needed + _LEAST_BAR_WIDTH:
            times += more
            room -= needed
    # One cell is the blank behind the bar.
    bar = [BarColumn(bar_width=min(_MOST_BAR_WIDTH, room - 1))] if room >= _LEAST_BAR_WIDTH else []
    spinner = SpinnerColumn(finished_text="[green]✓[/green]")
    return [spinner, *bar, TextColumn("{task.description}", markup=False), *times]


def _lines(console: Console, indent: int) -> Show:
    written_step: int | None = None
    waited_for = ""

    def show(operation: Operation) -> None:
        nonlocal written_step, waited_for
        step = operation.completed_steps
        every_steps = max(1, math.ceil(operation.total_steps / _PLAIN_LINES))
        is_due = written_step is None or step - written_step >= every_steps or (operation.done and step > written_step)
        if is_due or operation.waits_for not in ("", waited_for):
            console.print(
                " " * indent + in_words(operation) + _time_left(operation),
                markup=False,
                highlight=False,
                soft_wrap=True,
            )
            written_step, waited_for = step, operation.waits_for

    return show
