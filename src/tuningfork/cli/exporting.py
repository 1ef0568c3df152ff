"""`tuningfork export`: downloads a tuned model, as an adapter or merged into its base."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tuningfork.cli import output
from tuningfork.cli.connection import DEFAULT_URL, ApiKey, Url, connect
from tuningfork.cli.listing import TunedModelName, tuned_model_name
from tuningfork.client.errors import ClientError
from tuningfork.domain.errors import NotFound, TuningforkError
from tuningfork.domain.user_directories import NoHomeDirectory

if TYPE_CHECKING:
    from rich.progress import Progress

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
        show_default="the Hub id that the adapter names, or the embedded model",
        help="For --merged: the base model on this machine, a directory, a Hub id or a GGUF file.",
    ),
]
BaseName = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        show_default="its Hub id, or without one its public name",
        help="For --to: what the adapter's configuration calls its base, a Hub id or a directory.",
    ),
]


AsJson = Annotated[bool, output.as_json_option('{"adapter": DIR, "merged": DIR}, of which only what was made is there')]


def export(
    model: TunedModelName,
    *,
    to: To = None,
    merged: Merged = None,
    base: Base = None,
    base_name: BaseName = None,
    as_json: AsJson = False,
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
    if to is None and base_name is not None:
        raise typer.BadParameter("The base is only named in an adapter of its own: --to DIR.", param_hint="--base-name")
    if merged is not None:
        _refuse_taken(merged)
        _import_merging()
    with connect(url, api_key) as client, tempfile.TemporaryDirectory(prefix="tuningfork-export-") as aside:
        place = to if to is not None else Path(aside, "adapter")
        adapter = client.export(tuned_model_name(model), place, base_name)
        made: dict[str, str] = {}
        if to is not None:
            made["adapter"] = str(adapter)
            _print_path(adapter, as_json=as_json)
        if merged is not None:
            made["merged"] = str(_merge(adapter, merged.absolute(), base))
            _print_path(merged.absolute(), as_json=as_json)
    if as_json:
        output.result_json(made)


def _print_path(path: Path, *, as_json: bool) -> None:
    if not as_json:
        output.result(str(path))


def _refuse_taken(directory: Path) -> None:
    """Refuse a target directory that is in use, before anything is downloaded. Merging checks it again."""
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise ClientError(f"{directory} is there already.", advice="Name a new or an empty directory with --merged.")


def _import_merging() -> None:
    """Import what merges a model, before anything is downloaded: an installation of a client alone does not have it."""
    from tuningfork.modeling import merging  # noqa: F401, PLC0415


def _merge(adapter: Path, target: Path, base: str | None) -> Path:
    # These imports take seconds, and no other client command needs them.
    from tuningfork.modeling.files.base_files import base_directory_of  # noqa: PLC0415
    from tuningfork.modeling.merging import merge  # noqa: PLC0415

    try:
        directory = _directory_of(base) if base else base_directory_of(adapter)
        with _progress() as progress:
            task = progress.add_task("", total=None)
            merge(
                directory,
                adapter,
                target,
                on_progress=lambda done, total: progress.update(task, completed=done, total=total),
            )
    except NotFound as error:
        advice = "Name a directory of this machine that holds a copy of it: --base DIR."
        raise ClientError(_sentence(error.message), advice=advice) from error
    except TuningforkError as error:
        raise ClientError(_sentence(error.message)) from error
    except OSError as error:
        raise ClientError(f"{target} cannot be written: {error}.") from error
    return target


def _directory_of(base: str) -> Path:
    """The directory of a base; a GGUF file is converted first, or was for a server of this user.

    Raises:
        NotFound, BaseUnusable: there is no such base, or the file cannot be converted.
        ClientError: there is no place for what it is converted into.

    """
    from tuningfork.modeling.files.base_files import base_directory  # noqa: PLC0415 - as above
    from tuningfork.modeling.files.gguf.kept import converted, gguf_file_of  # noqa: PLC0415

    file = gguf_file_of(base)
    if file is None:
        return base_directory(base)
    try:
        return converted(file)
    except (OSError, NoHomeDirectory) as error:
        raise ClientError(f"{file} cannot be converted: {error}.") from error


def _progress() -> "Progress":
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn  # noqa: PLC0415 - as above

    console = output.errors()
    columns = (BarColumn(), DownloadColumn(binary_units=True), TimeRemainingColumn())
    return Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal or console.is_dumb_terminal
    )


def _sentence(message: str) -> str:
    return f"{message[:1].upper()}{message[1:]}."
