"""The command line: commands that start a server, and commands that use one.

Offers `main`; has no rules of its own. A command prints only its result on standard output; progress, advice and errors
go to standard error. Exit codes: 0 success, 1 an error of the user or the service, printed as one sentence, 2 wrong
usage, 130 interrupted.
"""

import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from tuningfork import __version__
from tuningfork.cli import (
    application_default,
    asking,
    auth,
    changing,
    checkpoints,
    completion,
    evaluating,
    exporting,
    groups,
    importing,
    keeping,
    listing,
    output,
    pulling,
    service_accounts,
    serving,
    studio,
    sweeping,
    tuning,
    tutorial,
    watching,
)
from tuningfork.cli.connection import INTERRUPTED
from tuningfork.cli.help import MAX_COLUMNS, Commands
from tuningfork.cli.installed import check_platform, explaining_missing_packages
from tuningfork.cli.variables import check_variables
from tuningfork.client.errors import ClientError
from tuningfork.domain.exhaustion import OUT_OF_MEMORY, is_out_of_memory
from tuningfork.domain.user_directories import NoHomeDirectory

app = Commands(
    completion.PROGRAM,
    "Self-hosted fine-tuning that speaks the Gemini API's tuning dialect.",
    context_settings={
        "auto_envvar_prefix": "TUNINGFORK",
        "help_option_names": ["-h", "--help"],
        "max_content_width": MAX_COLUMNS,
    },
)


def _tell_version(wanted: bool) -> None:
    if wanted:
        output.result(f"tuningfork {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    context: typer.Context,
    *,
    version: Annotated[  # noqa: ARG001 - its callback has acted
        bool,
        # A variable would let every command print the version, and do nothing else.
        typer.Option(
            "--version", callback=_tell_version, is_eager=True, allow_from_autoenv=False, help="Print the version."
        ),
    ] = False,
) -> None:
    """Self-hosted fine-tuning that speaks the Gemini API's tuning dialect."""
    check_platform(context.invoked_subcommand, context.obj or sys.platform)
    check_variables(context, os.environ)


app.command("tutorial")(tutorial.tutorial)
app.command("serve")(serving.serve)
app.command("studio")(studio.studio)
app.command("pull")(pulling.pull)
app.add_typer(serving.keys, name="keys")
auth.auth.add_typer(application_default.application_default, name="application-default")
auth.auth.add_typer(service_accounts.service_accounts, name="service-account")
app.add_typer(auth.auth, name="auth")
app.add_typer(groups.groups, name="groups")
app.command("backup")(keeping.backup)
app.command("restore")(keeping.restore)
app.command("check")(keeping.check_data)
app.command("set-aside")(keeping.set_aside)
app.command("tune")(tuning.tune)
app.command("sweep")(sweeping.sweep)
app.command("jobs")(watching.jobs)
app.command("watch")(watching.watch)
app.command("cancel")(watching.cancel)
app.command("checkpoints")(checkpoints.checkpoints)
app.command("evaluate")(evaluating.evaluate)
app.command("models")(listing.models)
# A prompt may be a negative number, which looks like an option.
app.command("generate", context_settings={"ignore_unknown_options": True})(asking.generate)
app.command("update")(changing.update)
app.command("delete")(listing.delete)
app.command("export")(exporting.export)
app.command("import")(importing.import_)
app.command("completion")(completion.completion)


def main(arguments: Sequence[str] | None = None, *, platform: str = sys.platform) -> None:
    """Run one command and exit the process.

    Args:
        arguments: the arguments without the program's name; None: those of the process.
        platform: the platform, as `sys.platform` names it.

    Raises:
        SystemExit: always.

    """
    output.prepare()
    completion.prepare()
    try:
        with explaining_missing_packages():
            app(args=None if arguments is None else list(arguments), prog_name=completion.PROGRAM, obj=platform)
    except ClientError as error:
        output.tell_error(error)
        sys.exit(1)
    except (MemoryError, RuntimeError, OSError, ImportError) as error:
        if not is_out_of_memory(error):
            raise
        output.tell_error(ClientError(f"The command failed: {OUT_OF_MEMORY}."))
        sys.exit(1)
    except NoHomeDirectory as error:
        output.tell_error(ClientError(str(error)))
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    finally:
        output.finish()
