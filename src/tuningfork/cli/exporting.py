"""`tuningfork export`: downloads a tuned model, as an adapter or merged into its base, for PEFT or for llama.cpp."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tuningfork.cli import output
from tuningfork.cli.connection import DEFAULT_URL, ApiKey, Url, connect
from tuningfork.cli.listing import TunedModelName, tuned_model_name
from tuningfork.client.errors import ClientError
from tuningfork.domain.errors import NotFound, TuningforkError
from tuningfork.domain.file_types import FileType
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
Gguf = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", show_default=False, help="The whole model as a GGUF file to make, for llama.cpp and Ollama."
    ),
]
GgufType = Annotated[
    FileType, typer.Option(metavar="TYPE", help="For --gguf: the type of the weights: f32, f16, bf16 or q8_0.")
]
GgufAdapter = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        show_default=False,
        help="The adapter as a GGUF file to make, for a GGUF file of the same base in llama.cpp or Ollama.",
    ),
]
Base = Annotated[
    str | None,
    typer.Option(
        metavar="DIR",
        show_default="the Hub id that the adapter names, or the embedded model",
        help="For all but --to: the base model on this machine, a directory, a Hub id or a GGUF file.",
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


AsJson = Annotated[
    bool,
    output.as_json_option(
        '{"adapter": DIR, "merged": DIR, "gguf": FILE, "gguf_adapter": FILE}, of which only what was made is there'
    ),
]


def export(
    model: TunedModelName,
    *,
    to: To = None,
    merged: Merged = None,
    gguf: Gguf = None,
    gguf_type: GgufType = FileType.F16,
    gguf_adapter: GgufAdapter = None,
    base: Base = None,
    base_name: BaseName = None,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
) -> None:
    """Fetch a tuned model's adapter, or the whole model, for PEFT and transformers or for llama.cpp.

    With --to, `peft.PeftModel.from_pretrained` loads the adapter on the model's base. With --merged the adapter is
    merged into a copy of the base, which has to be readable here: a directory that transformers' `from_pretrained`
    loads like any other model. With --gguf the merged model is one file for llama.cpp and Ollama; with --gguf-adapter
    the adapter is one, for a GGUF file of its base. Prints the paths of what it made.
    """
    given = {"merged": merged, "gguf": gguf, "gguf_adapter": gguf_adapter}
    wanted = {form: path.absolute() for form, path in given.items() if path is not None}
    _check_options(to, wanted, base, base_name)
    if wanted:
        _import_torch()
    name = tuned_model_name(model)
    with connect(url, api_key) as client, tempfile.TemporaryDirectory(prefix="tuningfork-export-") as aside:
        adapter = client.export(name, to if to is not None else Path(aside, "adapter"), base_name)
        made: dict[str, str] = {}
        if to is not None:
            made["adapter"] = str(adapter)
            _print_path(adapter, as_json=as_json)
        for form, target in wanted.items():
            _make(form, adapter, target, base, name.rpartition("/")[2], gguf_type)
            made[form] = str(target)
            _print_path(target, as_json=as_json)
    if as_json:
        output.result_json(made)


def _check_options(to: Path | None, wanted: dict[str, Path], base: str | None, base_name: str | None) -> None:
    if to is None and not wanted:
        raise typer.BadParameter(
            "Say what to make: --to DIR for the adapter, --merged DIR for the whole model, --gguf FILE or "
            "--gguf-adapter FILE for llama.cpp and Ollama."
        )
    if not wanted and base is not None:
        raise typer.BadParameter("A base is only needed for --merged, --gguf and --gguf-adapter.", param_hint="--base")
    if to is None and base_name is not None:
        raise typer.BadParameter("The base is only named in an adapter of its own: --to DIR.", param_hint="--base-name")
    for form, target in wanted.items():
        _refuse_taken(form, target)


def _print_path(path: Path, *, as_json: bool) -> None:
    if not as_json:
        output.result(str(path))


def _refuse_taken(form: str, target: Path) -> None:
    """Refuse a target that is in use, before anything is downloaded. What makes it checks it again."""
    kind = "a new or an empty directory" if form == "merged" else "a new file"
    if target.exists() and (form != "merged" or not target.is_dir() or any(target.iterdir())):
        advice = f"Name {kind} with --{form.replace('_', '-')}."
        raise ClientError(f"{target} is there already.", advice=advice)


def _import_torch() -> None:
    """Import what merges a model, before anything is downloaded: an installation of a client alone does not have it."""
    from tuningfork.modeling import merging  # noqa: F401, PLC0415


def _make(form: str, adapter: Path, target: Path, base: str | None, name: str, file_type: FileType) -> None:
    # These imports take seconds, and no other client command needs them.
    from tuningfork.modeling.files.base_files import base_directory_of  # noqa: PLC0415
    from tuningfork.modeling.files.gguf.kept import gguf_file_of  # noqa: PLC0415
    from tuningfork.modeling.gguf_export.adapter_file import write_adapter  # noqa: PLC0415
    from tuningfork.modeling.gguf_export.model_file import write_model  # noqa: PLC0415
    from tuningfork.modeling.merging import merge  # noqa: PLC0415

    try:
        directory = _directory_of(base) if base else base_directory_of(adapter)
        with _progress() as progress:
            task = progress.add_task("", total=None)

            def on_progress(done: int, total: int) -> None:
                progress.update(task, completed=done, total=total)

            notes: tuple[str, ...] = ()
            match form:
                case "merged":
                    merge(directory, adapter, target, on_progress=on_progress)
                case "gguf":
                    notes = write_model(
                        directory, adapter, target, name=name, file_type=file_type, on_progress=on_progress
                    )
                case _:
                    notes = write_adapter(
                        directory, adapter, target, name=name, file=gguf_file_of(base) if base else None
                    )
        for note in notes:
            output.say(note)
    except NotFound as error:
        advice = "Name a directory of this machine that holds a copy of it: --base DIR."
        raise ClientError(_sentence(error.message), advice=advice) from error
    except TuningforkError as error:
        raise ClientError(_sentence(error.message)) from error
    except OSError as error:
        raise ClientError(f"{target} cannot be written: {error}.") from error


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
