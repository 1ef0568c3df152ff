"""The tutorial as it is told: start, post, watch, ask. Everything goes through the public HTTP API."""

import math
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from types import FrameType

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from tuningfork.client import Client, PlotUnavailable, loss_plot, progress
from tuningfork.client.dialect import Operation
from tuningfork.tutorial import child_server, lesson
from tuningfork.tutorial.child_server import ChildServer
from tuningfork.tutorial.lesson import EXAMPLES, Question

_INDENT = 3
_WIDEST = 76
"""The curve and the text are no wider than this, however wide the terminal is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """One question, and what each model said to it."""

    question: Question
    base: str
    tuned: str


def run(console: Console, directory: Path, *, keep: bool) -> ChildServer:
    """Tell the whole story.

    Args:
        console: where it is told.
        directory: gets the server's data and log and the image of the loss curve; older ones are replaced.
        keep: leave the server running.

    Returns:
        The server, which has ended unless it was kept.

    Raises:
        ClientError: the story cannot go on; the server has been stopped.

    """
    began = time.monotonic()
    console.print("\n[bold]Teach a language model to count on, with fifteen examples[/bold]")
    with _terminated_like_interrupted():
        _chapter(console, 1, "Start a server of its own")
        with child_server.serving(directory) as server, server.connect() as client:
            _say(console, f"{server.url}, ready after {time.monotonic() - began:.1f} s; its log: {_short(server.log)}")
            _chapter(console, 2, "Post the examples")
            begun = _post(console, client)
            _chapter(console, 3, "Watch the loss")
            done = _watch(console, client, begun, directory)
            _chapter(console, 4, "Ask for the next number, the base model and the tuned one")
            _ask(console, client, done.tuned_model)
            if keep:
                server.keep()
    console.print(f"\nDone in {time.monotonic() - began:.0f} s.")
    return server


def _post(console: Console, client: Client) -> Operation:
    pairs = ", ".join(f'"{text_input}" → "{output}"' for text_input, output in EXAMPLES)
    _say(console, pairs)
    request = lesson.request()
    chosen = request.hyperparameters
    _say(
        console,
        f"base model {request.base_model}, batch size {chosen.batch_size}, "
        f"learning rate {chosen.learning_rate}, {chosen.epoch_count} epochs",
    )
    return client.create_tuned_model(request)


def _watch(console: Console, client: Client, begun: Operation, directory: Path) -> Operation:
    began = time.monotonic()
    done = progress.follow(console, chain([begun], client.watch(begun)))
    _say(console, f"{done.tuned_model} is ready after {time.monotonic() - began:.1f} s.")
    console.print()
    width = min(console.width, _WIDEST) - _INDENT
    _say(console, "mean loss of each step, nats per token")
    for line in loss_plot.terminal_lines(done.losses, width=width):
        console.print(Padding(Text(line, style="cyan", no_wrap=True), (0, 0, 0, _INDENT)))
    steps_per_epoch = len(EXAMPLES) / (lesson.request().hyperparameters.batch_size or math.nan)
    try:
        image = loss_plot.save_image(done.losses, steps_per_epoch, "number generator", directory / "loss.png")
    except PlotUnavailable as missing:
        _say(console, f"{missing.message} {missing.advice}")
    else:
        _say(console, f"The same as an image: {_short(image)}")
    return done


def _ask(console: Console, client: Client, tuned_model: str) -> None:
    answers = [
        Answered(
            question=question,
            base=client.generate(lesson.BASE_MODEL, question.prompt),
            tuned=client.generate(tuned_model, question.prompt),
        )
        for question in lesson.QUESTIONS
    ]
    console.print(Padding(_table(answers), (0, 0, 0, _INDENT - 1)))
    base, tuned = (sum(map(right, answers)) for right in (_base_is_right, _tuned_is_right))
    _say(console, f"Right: the base model {base} of {len(answers)}, the tuned model {tuned} of {len(answers)}.")
    known = ", ".join(lesson.shown_before())
    shown = f"the examples show {known}" if known else "the examples show none"
    _say(console, f"Of these prompts {shown}, and no Roman and no Japanese numeral at all.")


def _base_is_right(answered: Answered) -> bool:
    return answered.base.strip() == answered.question.successor


def _tuned_is_right(answered: Answered) -> bool:
    return answered.tuned.strip() == answered.question.successor


def _table(answers: list[Answered]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=True)
    for title in ("prompt", "base model", "tuned model", ""):
        table.add_column(title, overflow="fold")
    for answered in answers:
        verdict = Text("✓", "green") if _tuned_is_right(answered) else Text(f"✗ {answered.question.successor}", "red")
        style = "bold green" if _tuned_is_right(answered) else "red"
        table.add_row(Text(answered.question.prompt), Text(answered.base, "dim"), Text(answered.tuned, style), verdict)
    return table


def _chapter(console: Console, number: int, title: str) -> None:
    console.print(f"\n[bold]{number}  {title}[/bold]", highlight=False)


def _say(console: Console, text: str) -> None:
    console.print(Padding(Text(text), (0, 0, 0, _INDENT)), width=min(console.width, _WIDEST))


def _short(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


@contextmanager
def _terminated_like_interrupted() -> Iterator[None]:
    """SIGTERM unwinds as Ctrl-C does, so that the server is not left behind."""

    def unwind(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, unwind)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
