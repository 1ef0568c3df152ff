"""`tuningfork generate`: one prompt to a model, its answer on standard output."""

import sys
from typing import Annotated

import typer
from rich.console import Console

from tuningfork.cli.connection import DEFAULT_URL, ApiKey, Url, connect
from tuningfork.client import ClientError
from tuningfork.client.terminal import harmless
from tuningfork.domain.generation import RequestedSampling


def _typed() -> str:
    try:
        # The line break that a shell's `echo` adds is not part of the prompt.
        return sys.stdin.read().removesuffix("\n")
    except UnicodeDecodeError as error:
        raise ClientError("The standard input is not UTF-8 text.") from error


def _write(answer: str, end: str = "") -> None:
    """The answer as it is, except on a terminal: a model may be somebody else's, and say anything."""
    shown = harmless(answer, keep="\n\t") if Console().is_terminal else answer
    # Without colours, what looks like one would be cut out of the text.
    typer.echo(shown + end, nl=False, color=True)


def _full_name(text: str) -> str:
    if not text.startswith(("models/", "tunedModels/")):
        raise typer.BadParameter(f"say models/{text} for a base model or tunedModels/{text} for a tuned one")
    return text


def _no_option(text: str) -> str:
    if text.startswith("--"):
        raise typer.BadParameter(
            f"there is no option {text}; a prompt that begins so is read with - from standard input"
        )
    return text


def generate(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", callback=_full_name, help="models/NAME or tunedModels/NAME.")
    ],
    prompt: Annotated[
        str, typer.Argument(metavar="PROMPT", callback=_no_option, help="What to ask; - reads it from standard input.")
    ],
    *,
    stream: Annotated[bool, typer.Option("--stream", help="Write the text as it is generated.")] = False,
    temperature: Annotated[
        float | None, typer.Option(help="0 takes the likeliest token.", show_default="the model's")
    ] = None,
    max_output_tokens: Annotated[
        int | None, typer.Option(help="Stop after so many tokens.", show_default="the model's")
    ] = None,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
) -> None:
    """Ask a base model or a tuned one.

    Writes its answer to standard output.
    """
    asked = _typed() if prompt == "-" else prompt
    sampling = RequestedSampling(temperature=temperature, max_output_tokens=max_output_tokens)
    with connect(url, api_key) as client:
        if not stream:
            _write(client.generate(model, asked, sampling), "\n")
            return
        for piece in client.stream(model, asked, sampling):
            _write(piece)
        _write("\n")
