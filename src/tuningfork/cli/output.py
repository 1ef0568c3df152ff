"""What commands write: their results to standard output, everything else to standard error.

No character is an error, whatever the encoding of the stream. A reader that closes the pipe ends the command quietly.
"""

import json
import os
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tuningfork.client.errors import ClientError
from tuningfork.client.terminal import escaped, harmless, write_any_text

if TYPE_CHECKING:
    from rich.console import Console

_LAYOUT = "\n\t"
_UNREAD = 1
"""The exit code of a command whose output nobody reads to its end."""


def as_json_option(shape: str) -> Any:
    """The option `--json` of a command.

    Args:
        shape: what is printed, in a few words.

    """
    return typer.Option("--json", help=f"Print JSON: {shape}.")


AsJson = Annotated[bool, as_json_option("the TunedModel of the API")]


def prepare() -> None:
    """Let standard output and standard error write every text."""
    for stream in (sys.stdout, sys.stderr):
        write_any_text(stream)


def finish() -> None:
    """Write what is still to be written.

    Raises:
        SystemExit: nobody reads standard output any longer, or it cannot be written.

    """
    try:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
    except BrokenPipeError:
        _give_up_output()
        sys.exit(_UNREAD)
    except (OSError, ValueError) as error:
        _give_up_output()
        with suppress(OSError, ValueError):
            tell_error(_unwritable(error))
        sys.exit(1)


def result(text: str, end: str = "\n") -> None:
    """Write a result to standard output.

    A character that the encoding of standard output lacks is written as a backslash, u and its number.

    Raises:
        ClientError: standard output cannot be written, for example since the disk is full.
        BrokenPipeError: nobody reads it.

    """
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    try:
        # Without `color=True`, typer would remove texts that look like colour codes.
        typer.echo(escaped(text + end, encoding), nl=False, color=True)
    except BrokenPipeError:
        raise
    except OSError as error:
        _give_up_output()
        raise _unwritable(error) from error


def result_row(*fields: object) -> None:
    """Write a line of fields separated by tabs, for other programs; None is an empty field."""
    result("\t".join("" if field is None else harmless(str(field)) for field in fields))


def result_json(value: object, *, indent: int | None = 2) -> None:
    """Write a value as JSON in ASCII, which every encoding has. `indent` None: in one line."""
    result(json.dumps(value, indent=indent, default=_in_json))


def errors() -> "Console":
    """Standard error, for progress and advice."""
    # Rich takes time to import that `--help` does not need to spend.
    from rich.console import Console  # noqa: PLC0415

    return Console(stderr=True, highlight=False, markup=False, soft_wrap=True)


def say(*lines: str) -> None:
    """Write lines for a person to standard error."""
    console = errors()
    for line in lines:
        console.print(harmless(line, keep=_LAYOUT))


def tell_error(error: ClientError) -> None:
    """Write an error and its advice to standard error."""
    console = errors()
    console.print(f"Error: {harmless(error.message, keep=_LAYOUT)}", style="red")
    if error.advice:
        console.print(harmless(error.advice, keep=_LAYOUT))


def is_for_a_person() -> bool:
    """Whether a person reads standard output at a terminal."""
    # Rich would say so of a pipe too, where a variable such as FORCE_COLOR asks for colours.
    return sys.stdout is not None and sys.stdout.isatty()


def _in_json(value: object) -> object:
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(value, "isoformat"):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, Iterable) and not isinstance(value, Sequence):
        return list(value)
    raise TypeError(f"{value!r} cannot be written as JSON")


def _unwritable(error: Exception) -> ClientError:
    reason = error.strerror if isinstance(error, OSError) else str(error)
    return ClientError(f"Standard output cannot be written: {reason}.")


def _give_up_output() -> None:
    """Send what is still in buffers nowhere, so that the interpreter does not try to write it at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):
            stream.flush()
            continue
        with suppress(OSError, ValueError, AttributeError):
            os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
