"""How the runs of a sweep go on: a live bar on a terminal, a line for each run that ends elsewhere."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from tuningfork.client.sweep import Trial, ranked

Show = Callable[[Sequence[Trial]], None]


@contextmanager
def following() -> Iterator[Show]:
    """Yields a function that is called with the runs as they stand, again and again."""
    console = Console(stderr=True, highlight=False, markup=False)
    told: set[str] = set()

    def tell(trials: Sequence[Trial]) -> None:
        for each in trials:
            if each.is_done and each.name not in told:
                told.add(each.name)
                console.print(f"  {each.setting.in_words}: {_outcome(each)}", soft_wrap=True)

    if not console.is_terminal or console.is_dumb_terminal:
        yield tell
        return
    columns = (SpinnerColumn(), BarColumn(bar_width=24), TextColumn("{task.description}", markup=False))
    with Progress(*columns, TimeElapsedColumn(), console=console, transient=True) as shown:
        task = shown.add_task("", total=None)

        def show(trials: Sequence[Trial]) -> None:
            tell(trials)
            total = sum(each.run.total_steps for each in trials if each.run is not None)
            taken = sum(_taken(each) for each in trials)
            shown.update(task, total=total or None, completed=taken, description=_in_words(trials))

        yield show


def _taken(trial: Trial) -> int:
    """The steps of a run that need not be waited for any longer."""
    if trial.run is None:
        return 0
    return trial.run.total_steps if trial.run.done else trial.run.completed_steps


def _in_words(trials: Sequence[Trial]) -> str:
    done = sum(each.is_done for each in trials)
    first = ranked(trials)[0]
    best = "" if first.best is None else f" · best so far {first.best.mean_loss:.3f}, {first.setting.in_words}"
    return f"{done} of {len(trials)} done{best}"


def _outcome(trial: Trial) -> str:
    if trial.run is not None and trial.run.error is not None:
        return trial.run.error
    if trial.best is None or trial.run is None:
        return "no validation loss"
    early = " (stopped early)" if trial.run.completed_steps < trial.run.total_steps else ""
    return f"validation loss {trial.best.mean_loss:.4f} after step {trial.best.step:,}{early}"
