"""What the commands of whoever runs a server share: its data directory, its settings, and how they say no."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

    # A sixth of a second that `--help` and the commands of clients need not spend.
    from tuningfork.settings import Settings

DataDirectory = Annotated[
    Path | None,
    typer.Option(
        envvar="TUNINGFORK_DATA_DIR",
        show_default="~/.local/share/tuningfork",
        help="Where the database, datasets and adapters are kept.",
    ),
]


def settings_of(**given: Any) -> "Settings":
    """The settings of the variables and of these options; those that are None or empty were not given.

    Raises:
        typer.Exit: one of them is wrong; standard error says which and why.

    """
    from pydantic import ValidationError  # noqa: PLC0415

    from tuningfork.settings import Settings  # noqa: PLC0415

    try:
        return Settings(**{name: value for name, value in given.items() if value not in (None, [])})
    except ValidationError as error:
        refuse("; ".join(_told(fault) for fault in error.errors()))


def _told(fault: "ErrorDetails") -> str:
    # What our own validators say needs no introduction.
    return f"{'.'.join(map(str, fault['loc']))}: {fault['msg'].removeprefix('Value error, ')}"


def refuse(reason: str) -> NoReturn:
    """End the command with a sentence and the exit code for errors.

    Raises:
        typer.Exit: always.

    """
    typer.echo(f"tuningfork: {reason}", err=True)
    raise typer.Exit(1)
