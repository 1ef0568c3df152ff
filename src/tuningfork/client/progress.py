"""A tuning run shown while it goes on: a live bar on a terminal, plain lines elsewhere."""

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from tuningfork.client.dialect import Operation
from tuningfork.client.errors import ClientError

_PLAIN_LINES = 10
"""About so many lines are written where there is no terminal."""

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
    shown: AbstractContextManager[Show] = (
        _bar(console, indent) if console.is_terminal else nullcontext(_lines(console, indent))
    )
    with shown as show:
        for operation in states:
            show(operation)
    if operation.error is not None:
        progress = f"{operation.completed_steps} of {operation.total_steps} steps"
        raise ClientError(f"The tuning of {operation.tuned_model} ended after {progress}: {operation.error}")
    return operation


def in_words(operation: Operation) -> str:
    """Step, epoch and mean loss in one line."""
    if not operation.snapshots:
        return f"waiting to begin {operation.total_steps} steps"
    newest = operation.snapshots[-1]
    return f"step {newest.step}/{operation.total_steps} · epoch {newest.epoch} · mean loss {newest.mean_loss:.3f}"


@contextmanager
def _bar(console: Console, indent: int) -> Iterator[Show]:
    columns = (
        # The grid puts one blank behind each column.
        *([TextColumn(" " * (indent - 1))] if indent else []),
        SpinnerColumn(finished_text="[green]✓[/green]"),
        BarColumn(bar_width=24),
        TextColumn("{task.description}", markup=False),
        TextColumn("[dim]·[/dim]"),
        TimeElapsedColumn(),
        TextColumn("[dim]· left[/dim]"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("", total=None)

        def show(operation: Operation) -> None:
            bar.update(
                task,
                total=operation.total_steps,
                completed=operation.completed_steps,
                description=in_words(operation),
            )

        yield show


def _lines(console: Console, indent: int) -> Show:
    written_step: int | None = None

    def show(operation: Operation) -> None:
        nonlocal written_step
        step = operation.completed_steps
        every_steps = max(1, math.ceil(operation.total_steps / _PLAIN_LINES))
        if written_step is None or step - written_step >= every_steps or (operation.done and step > written_step):
            console.print(" " * indent + in_words(operation), markup=False, highlight=False, soft_wrap=True)
            written_step = step

    return show
