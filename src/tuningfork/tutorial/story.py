"""Runs the tutorial by the public HTTP API: starts a server, posts the examples, shows the loss, asks questions."""

import math
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from types import FrameType

from rich import box
from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from tuningfork.client import Client, PlotUnavailable, loss_plot, progress
from tuningfork.client.dialect import Operation
from tuningfork.tutorial import child_server, lesson
from tuningfork.tutorial.child_server import ChildServer
from tuningfork.tutorial.lesson import EXAMPLES, Question

_INDENT = 3
_PAIRS_A_COLUMN = 5
_WIDEST = 76
"""The most columns of the curve and the text, on a terminal of any width."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """One question, and each model's answer."""

    question: Question
    base: str
    tuned: str


def run(console: Console, directory: Path, *, keep: bool) -> ChildServer:
    """Run the whole tutorial.

    Args:
        console: where its text is printed.
        directory: gets the server's data and log and the image of the loss curve; older ones are replaced.
        keep: leave the server running.

    Returns:
        The server, which has ended unless `keep`.

    Raises:
        ClientError: the tutorial cannot go on; the server has been stopped.

    """
    began = time.monotonic()
    console.print("\n[bold]Teach a language model to count on, with fifteen examples[/bold]")
    with _terminated_like_interrupted():
        _chapter(console, 1, "Start a server of its own")
        with child_server.serving(directory) as server, server.connect() as client:
            _say(console, f"{server.url}, ready after {time.monotonic() - began:.1f} s; its log: {_short(server.log)}")
            tell(console, client, directory)
            if keep:
                server.keep()
    console.print(f"\nDone in {time.monotonic() - began:.0f} s.")
    return server


def tell(console: Console, client: Client, directory: Path) -> tuple[Answered, ...]:
    """Run the tutorial on a server that is running, and return the models' answers.

    Args:
        console: where its text is printed.
        client: a client of a server that has the tutorial's base model.
        directory: gets the image of the loss curve.

    Raises:
        ClientError: the tutorial cannot go on.

    """
    _chapter(console, 2, "Post the examples")
    begun = _post(console, client)
    _chapter(console, 3, "Watch the loss")
    done = _watch(console, client, begun, directory)
    _chapter(console, 4, "Ask for the next number, the base model and the tuned one")
    return _ask(console, client, done.tuned_model)


def _post(console: Console, client: Client) -> Operation:
    pairs = Table.grid(padding=(0, 2))
    for first in range(_PAIRS_A_COLUMN):
        pairs.add_row(*(Text(" → ".join(pair)) for pair in EXAMPLES[first::_PAIRS_A_COLUMN]))
    console.print(_indented(pairs))
    console.print()
    request = lesson.request()
    chosen = request.hyperparameters
    _say(console, f"base model {request.base_model}")
    _say(console, f"batch size {chosen.batch_size}, learning rate {chosen.learning_rate}, {chosen.epoch_count} epochs")
    return client.create_tuned_model(request)


def _watch(console: Console, client: Client, begun: Operation, directory: Path) -> Operation:
    began = time.monotonic()
    done = progress.follow(console, chain([begun], client.watch(begun)), indent=_INDENT)
    _say(console, f"{done.tuned_model} is ready after {time.monotonic() - began:.1f} s.")
    console.print()
    width = min(console.width, _WIDEST) - _INDENT
    _say(console, "mean loss of each step, nats per token")
    for line in loss_plot.terminal_lines(done.losses, width=width):
        console.print(_indented(Text(line, style="cyan", no_wrap=True)))
    steps_per_epoch = len(EXAMPLES) / (lesson.request().hyperparameters.batch_size or math.nan)
    try:
        image = loss_plot.save_image(done.losses, steps_per_epoch, "number generator", directory / "loss.png")
    except PlotUnavailable as missing:
        _say(console, f"{missing.message} {missing.advice}")
    else:
        _say(console, f"The same as an image: {_short(image)}")
    return done


def _ask(console: Console, client: Client, tuned_model: str) -> tuple[Answered, ...]:
    answers: tuple[Answered, ...] = ()
    with Live(console=console, auto_refresh=False, transient=True) as live:
        for question in lesson.QUESTIONS:
            base = client.generate(lesson.BASE_MODEL, question.prompt)
            tuned = client.generate(tuned_model, question.prompt)
            answers = (*answers, Answered(question=question, base=base, tuned=tuned))
            live.update(_indented(_table(answers)), refresh=True)
    console.print(_indented(_table(answers)))
    console.print()
    base_right = sum(_is_right(answered.base, answered.question) for answered in answers)
    tuned_right = sum(_is_right(answered.tuned, answered.question) for answered in answers)
    _say(console, f"Right: the base model {base_right} of {len(answers)}, the tuned model {tuned_right}.")
    known = ", ".join(lesson.shown_before())
    _say(
        console,
        f"Among the examples are these prompts: {known}."
        if known
        else "None of these prompts is among the examples, which hold no Roman and no Japanese numeral.",
    )
    return answers


def _is_right(answer: str, question: Question) -> bool:
    return answer.strip() == question.successor


def _table(answers: Sequence[Answered]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    # The columns have their final width from the start, so that the table does not change while it grows.
    for title, texts in (
        ("prompt", [question.prompt for question in lesson.QUESTIONS]),
        ("base model", [question.prompt for question in lesson.QUESTIONS]),
        ("tuned model", [f"✓ {question.successor}" for question in lesson.QUESTIONS]),
    ):
        table.add_column(title, overflow="fold", min_width=max(map(cell_len, texts)))
    for answered in answers:
        verdict = (
            Text(f"✓ {answered.tuned}", "bold green")
            if _is_right(answered.tuned, answered.question)
            else Text(f"✗ {answered.tuned}, not {answered.question.successor}", "red")
        )
        table.add_row(Text(answered.question.prompt), Text(answered.base, "dim"), verdict)
    return table


def _chapter(console: Console, number: int, title: str) -> None:
    console.print(f"\n[bold]{number}  {title}[/bold]", highlight=False)


def _say(console: Console, text: str) -> None:
    console.print(_indented(Text(text)), width=min(console.width, _WIDEST))


def _indented(content: RenderableType) -> Padding:
    return Padding(content, (0, 0, 0, _INDENT), expand=False)


def _short(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


@contextmanager
def _terminated_like_interrupted() -> Iterator[None]:
    """Treat SIGTERM like Ctrl-C within the `with` block, so that the server is stopped."""

    def unwind(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, unwind)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
