"""`tuningfork export`: a tuned model to take home, as an adapter or merged into its base."""

import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn

from tuningfork.cli.connection import DEFAULT_URL, ApiKey, Url, connect
from tuningfork.cli.listing import TunedModelName, tuned_model_name
from tuningfork.client import ClientError
from tuningfork.domain.errors import NotFound, TuningforkError

To = Annotated[
    Path | None,
    typer.Option(metavar="DIR", show_default=False, help="The adapter's directory to make; it must be new or empty."),
]
Merged = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR", show_default=False, help="The whole model's directory to make; it must be new or empty."
    ),
]
Base = Annotated[
    str | None,
    typer.Option(
        metavar="DIR",
        show_default="where the server has it",
        help="For --merged: the base model on this machine, a directory or a Hub id.",
    ),
]


def export(
    model: TunedModelName,
    *,
    to: To = None,
    merged: Merged = None,
    base: Base = None,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
) -> None:
    """Fetch a tuned model's adapter as a PEFT directory, or the whole model, or both.

    With --to, `peft.PeftModel.from_pretrained` loads the adapter on the model's base. With --merged the adapter is
    merged into a copy of the base, which has to be readable here: a directory that transformers' `from_pretrained`
    loads like any other model. Prints the paths of what it made.
    """
    if to is None and merged is None:
        raise typer.BadParameter("Say what to make: --to DIR for the adapter, --merged DIR for the whole model.")
    if merged is None and base is not None:
        raise typer.BadParameter("A base is only needed for --merged.", param_hint="--base")
    if merged is not None:
        _refuse_taken(merged)
    with connect(url, api_key) as client, tempfile.TemporaryDirectory(prefix="tuningfork-export-") as aside:
        adapter = client.export(tuned_model_name(model), to if to is not None else Path(aside, "adapter"))
        if to is not None:
            typer.echo(adapter)
        if merged is not None:
            typer.echo(_merge(adapter, merged.absolute(), base))


def _refuse_taken(directory: Path) -> None:
    """Before anything is fetched; merging looks again."""
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise ClientError(f"{directory} is there already.", advice="Name a new or an empty directory with --merged.")


def _merge(adapter: Path, target: Path, base: str | None) -> Path:
    # Seconds to import, and no other command of clients computes anything.
    from tuningfork.modeling.base_files import base_directory, base_directory_of  # noqa: PLC0415
    from tuningfork.modeling.merging import merge  # noqa: PLC0415

    try:
        directory = base_directory(base) if base else base_directory_of(adapter)
        with _progress() as progress:
            task = progress.add_task("", total=None)
            merge(
                directory,
                adapter,
                target,
                told=lambda done, total: progress.update(task, completed=done, total=total),
            )
    except NotFound as error:
        advice = "Name a directory of this machine that holds a copy of it: --base DIR."
        raise ClientError(_sentence(error.message), advice=advice) from error
    except TuningforkError as error:
        raise ClientError(_sentence(error.message)) from error
    except OSError as error:
        raise ClientError(f"{target} cannot be written: {error}.") from error
    return target


def _progress() -> Progress:
    console = Console(stderr=True, highlight=False, markup=False)
    columns = (BarColumn(), DownloadColumn(binary_units=True), TimeRemainingColumn())
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


def _sentence(message: str) -> str:
    return f"{message[:1].upper()}{message[1:]}."
