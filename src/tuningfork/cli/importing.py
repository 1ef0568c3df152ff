"""`tuningfork import`: makes a tuned model of an adapter that was trained elsewhere."""

from pathlib import Path
from typing import Annotated

import typer

from tuningfork.cli import output
from tuningfork.cli.connection import DEFAULT_URL, ApiKey, Url, connect
from tuningfork.domain.tuned_model import MAX_DISPLAY_NAME_CHARACTERS

Directory = Annotated[
    Path,
    typer.Argument(
        metavar="DIR", help="A LoRA adapter in PEFT's format: adapter_config.json and adapter_model.safetensors."
    ),
]
Base = Annotated[
    str,
    typer.Option(
        metavar="MODEL", help="The base model of the server that the adapter is for; `tuningfork models` lists them."
    ),
]
DisplayName = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="A name for people, at most 40 characters.", show_default="the directory's name"),
]
Id = Annotated[
    str | None,
    typer.Option(
        "--id",
        metavar="ID",
        help="The last part of the model's name: 1 to 40 of a-z, 0-9 and -.",
        show_default="made of the display name",
    ),
]


def import_(
    directory: Directory,
    *,
    base: Base,
    display_name: DisplayName = None,
    id: Id = None,  # noqa: A002 - the option's name
    as_json: output.AsJson = False,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
) -> None:
    """Make a tuned model of an adapter that was trained elsewhere, or fetched by `tuningfork export --to`.

    Prints the tuned model's name, which can be called at once. The server tries the adapter on the base first, and
    loads the base for that.
    """
    named = directory.absolute().name[:MAX_DISPLAY_NAME_CHARACTERS] if display_name is None else display_name
    with connect(url, api_key) as client:
        made = client.import_adapter(directory, base, display_name=named, tuned_model_id=id)
    if as_json:
        output.result_json(made.answer)
    else:
        output.result(made.name)
