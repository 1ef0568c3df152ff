"""`tuningfork tutorial`: tunes a model in a minute, on a server that is started for it."""

from pathlib import Path
from typing import Annotated

import typer

from tuningfork.cli import output
from tuningfork.cli.connection import INTERRUPTED


def tutorial(
    *,
    directory: Annotated[
        Path, typer.Option(metavar="DIR", help="Gets the server's data and log, and the image of the loss curve.")
    ] = Path(".tutorial"),
    keep: Annotated[bool, typer.Option("--keep", envvar="KEEP", help="Leave the server running at the end.")] = False,
) -> None:
    """Tune a model on fifteen examples, and ask it what they do not show."""
    from rich.console import Console  # noqa: PLC0415 - other commands do not need these imports

    from tuningfork.cli.banner import welcome  # noqa: PLC0415
    from tuningfork.tutorial import story  # noqa: PLC0415

    console = Console(highlight=False)
    try:
        server = story.run(console, directory, keep=keep)
    except KeyboardInterrupt:
        output.say("\nInterrupted; the tutorial's server has been stopped.")
        raise typer.Exit(INTERRUPTED) from None
    if server.kept:
        output.result(f"\nThe server runs on; stop it with: kill {server.process.pid}\n")
        output.result(welcome(server.url, server.settings, None))
