"""`tuningfork generate`: sends one prompt to a model, and prints the answer on standard output."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from tuningfork.cli import output
from tuningfork.cli.connection import DEFAULT_URL, ApiKey, Url, connect
from tuningfork.client.errors import ClientError
from tuningfork.client.terminal import harmless

if TYPE_CHECKING:
    from tuningfork.client import Client
    from tuningfork.domain.generation import RequestedSampling


AsJson = Annotated[
    bool, output.as_json_option("the GenerateContentResponse of the API; with --stream one in each line")
]


def _typed() -> str:
    try:
        # The line break that a shell's `echo` adds is not part of the prompt.
        return sys.stdin.read().removesuffix("\n")
    except UnicodeDecodeError as error:
        raise ClientError("The standard input is not UTF-8 text.") from error


def _write(answer: str, end: str = "") -> None:
    """Print the answer; on a terminal without control sequences, since somebody else's model may answer anything."""
    output.result(harmless(answer, keep="\n\t") if output.is_for_a_person() else answer, end)


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
        float | None, typer.Option(metavar="NUMBER", help="0 takes the likeliest token.", show_default="the model's")
    ] = None,
    max_output_tokens: Annotated[
        int | None, typer.Option(metavar="NUMBER", help="Stop after so many tokens.", show_default="the model's")
    ] = None,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
) -> None:
    """Ask a base model or a tuned one.

    Writes its answer to standard output.
    """
    from tuningfork.domain.generation import RequestedSampling  # noqa: PLC0415 - `--help` does not need it

    asked = _typed() if prompt == "-" else prompt
    sampling = RequestedSampling(temperature=temperature, max_output_tokens=max_output_tokens)
    with connect(url, api_key) as client:
        if as_json:
            _write_json(client, model, asked, sampling, stream=stream)
        elif stream:
            for piece in client.stream(model, asked, sampling):
                _write(piece)
            _write("\n")
        else:
            # As a stream, whose pieces show that the server is at work: an answer without a limit may take very long.
            _write("".join(client.stream(model, asked, sampling)), "\n")


def _write_json(client: "Client", model: str, asked: str, sampling: "RequestedSampling", *, stream: bool) -> None:
    """Print the answers of the API, also one whose text is withheld, which is an error afterwards."""
    from tuningfork.client.dialect import parse_text  # noqa: PLC0415 - `--help` does not need it

    answers = (
        client.stream_answers(model, asked, sampling) if stream else [client.generate_answer(model, asked, sampling)]
    )
    for answer in answers:
        output.result_json(answer, indent=None if stream else 2)
        parse_text(answer)
