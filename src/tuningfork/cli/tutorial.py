"""`tuningfork tutorial`: the whole story in a minute, on a server that is started for it."""

from pathlib import Path
from typing import Annotated

import typer

from tuningfork.cli.connection import INTERRUPTED


def tutorial(
    *,
    directory: Annotated[
        Path, typer.Option(help="Gets the server's data and log, and the image of the loss curve.")
    ] = Path(".tutorial"),
    keep: Annotated[bool, typer.Option("--keep", envvar="KEEP", help="Leave the server running at the end.")] = False,
) -> None:
    """Tune a model on fifteen examples, and ask it what they do not show."""
    from rich.console import Console  # noqa: PLC0415 - the story's imports are of no use to other commands

    from tuningfork.cli.banner import welcome  # noqa: PLC0415
    from tuningfork.tutorial import story  # noqa: PLC0415

    console = Console(highlight=False)
    try:
        server = story.run(console, directory, keep=keep)
    except KeyboardInterrupt:
        typer.echo("\nInterrupted; the tutorial's server has been stopped.", err=True)
        raise typer.Exit(INTERRUPTED) from None
    if server.kept:
        typer.echo(f"\nThe server runs on; stop it with: kill {server.process.pid}\n")
        typer.echo(welcome(server.url, server.settings, None))
