"""The command line: one command for each thing a person does with a server, or to start one.

Offers `main`; refuses to hold rules of its own. What a command prints on standard output is its result and nothing
else; progress, advice and errors go to standard error. Exit codes: 0 done, 1 an error of the user's or the service's
in one sentence, 2 wrong usage, 130 interrupted.
"""

import sys
from collections.abc import Sequence

import typer
from rich.console import Console

from tuningfork.cli import asking, auth, changing, exporting, groups, listing, serving, tuning, tutorial
from tuningfork.client.errors import ClientError
from tuningfork.client.terminal import harmless

_LAYOUT = "\n\t"

app = typer.Typer(
    name="tuningfork",
    help="Self-hosted fine-tuning that speaks the Gemini API's tuning dialect.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"auto_envvar_prefix": "TUNINGFORK"},
)
app.command("tutorial")(tutorial.tutorial)
app.command("serve")(serving.serve)
app.add_typer(serving.keys, name="keys")
app.add_typer(auth.auth, name="auth")
app.add_typer(groups.groups, name="groups")
app.command("tune")(tuning.tune)
app.command("models")(listing.models)
# A prompt may be a negative number, which looks like an option.
app.command("generate", context_settings={"ignore_unknown_options": True})(asking.generate)
app.command("update")(changing.update)
app.command("delete")(listing.delete)
app.command("export")(exporting.export)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and exit the process.

    Args:
        arguments: without the program's name; None takes the process's own.

    Raises:
        SystemExit: always.

    """
    try:
        app(args=None if arguments is None else list(arguments))
    except ClientError as error:
        errors = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
        errors.print(f"Error: {harmless(error.message, keep=_LAYOUT)}", style="red")
        if error.advice:
            errors.print(harmless(error.advice, keep=_LAYOUT))
        sys.exit(1)
