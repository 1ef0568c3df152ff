"""Shared by the commands for operators: the data directory, the settings, and how errors end a command."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from tuningfork.cli import output
from tuningfork.domain.user_directories import NoHomeDirectory

if TYPE_CHECKING:
    # Importing the settings takes a sixth of a second, which `--help` and client commands do not need to spend.
    from tuningfork.settings import Settings

DataDirectory = Annotated[
    Path | None,
    typer.Option(
        envvar="TUNINGFORK_DATA_DIR",
        metavar="DIR",
        show_default="~/.local/share/tuningfork",
        help="Where the database, datasets and adapters are kept.",
    ),
]

ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config",
        envvar="TUNINGFORK_CONFIG",
        metavar="TOML_FILE",
        help="File with settings; options and variables override what it says.",
    ),
]


def settings_of(**given: Any) -> "Settings":
    """The settings from these options, environment variables and a file; an option that is None or empty is not given.

    Raises:
        typer.Exit: a setting is wrong; standard error says which and why.
        NoHomeDirectory: the options name no data directory, and there is no usual one.

    """
    from pydantic import ValidationError  # noqa: PLC0415

    from tuningfork.settings import Settings  # noqa: PLC0415
    from tuningfork.settings_file import SettingsFileError, faults_in_words  # noqa: PLC0415

    options = {name: value for name, value in given.items() if value not in (None, [])}
    try:
        return Settings(**options)
    except SettingsFileError as error:
        refuse(str(error))
    except ValidationError as error:
        refuse(faults_in_words(error, options, os.environ))
    except NoHomeDirectory as error:
        if "data_dir" in given:
            refuse(f"{error} Or name a data directory with --data-dir or TUNINGFORK_DATA_DIR.")
        raise


def refuse(reason: str) -> NoReturn:
    """Print the reason as a sentence, and end the command with the exit code for errors.

    Raises:
        typer.Exit: always.

    """
    output.say(f"tuningfork: {reason}")
    raise typer.Exit(1)
