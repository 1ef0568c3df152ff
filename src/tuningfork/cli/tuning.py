"""`tuningfork tune`: a file of examples becomes a tuned model while the loss is watched."""

import re
from itertools import chain
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from tuningfork.cli.connection import DEFAULT_URL, INTERRUPTED, ApiKey, Url, connect
from tuningfork.client import Client, ClientError, ServerUnreachable, ServiceRefusal, progress, training_file
from tuningfork.client.dialect import Operation
from tuningfork.client.training_file import Columns, TrainingFile
from tuningfork.domain.hyperparameters import RequestedHyperparameters
from tuningfork.domain.tuning_job import TuningRequest

DEFAULT_BASE_MODEL = "models/tuningfork-mini-001"

_EXAMPLE_FIELD = re.compile(r".*examples\[(?P<index>\d+)\]\.(?P<column>text_input|output)")


def tune(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Examples: .csv, .json or .jsonl, at most 4 MB.")],
    *,
    base_model: Annotated[str, typer.Option(help="The model to tune; `tuningfork models` lists them.")] = (
        DEFAULT_BASE_MODEL
    ),
    display_name: Annotated[
        str | None, typer.Option(help="A name for people, at most 40 characters.", show_default="the file's name")
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(help="How often each example is seen.", show_default="the service's, 5")
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Examples a step.", show_default="the service's, 4 or 16")
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option(help="Size of the steps.", show_default="the base model's")
    ] = None,
    input_key: Annotated[str, typer.Option(help="The column or key of the inputs.")] = "text_input",
    output_key: Annotated[str, typer.Option(help="The column or key of the outputs.")] = "output",
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
) -> None:
    """Tune a model on the examples in FILE and watch its loss.

    Prints the tuned model's name. The run goes on at the server if this command is interrupted.
    """
    columns = Columns(text_input=input_key, output=output_key)
    content = training_file.read(file, columns)
    request = TuningRequest(
        base_model=base_model,
        examples=content.examples,
        hyperparameters=RequestedHyperparameters(
            epoch_count=epochs, batch_size=batch_size, learning_rate=learning_rate
        ),
        display_name=file.stem[:40] if display_name is None else display_name,
    )
    console = Console(stderr=True, highlight=False)
    with connect(url, api_key) as client:
        try:
            begun = client.create_tuned_model(request)
        except ServiceRefusal as refusal:
            raise _located(refusal, file, content, columns) from refusal
        _watch(console, client, begun)
    typer.echo(begun.tuned_model)


def _watch(console: Console, client: Client, begun: Operation) -> None:
    console.print(f"{begun.tuned_model}: {begun.total_steps} steps", soft_wrap=True)
    try:
        done = progress.follow(console, chain([begun], client.watch(begun)))
    except KeyboardInterrupt:
        console.print(_how_to_go_on(client.url, begun), soft_wrap=True)
        raise typer.Exit(INTERRUPTED) from None
    except ServerUnreachable:
        console.print(_how_to_go_on(client.url, begun), soft_wrap=True)
        raise
    if done.losses:
        console.print(f"Done. Mean loss {done.losses[0]:.3f} at first, {done.losses[-1]:.3f} at last. Ask it:")
        console.print(f'  tuningfork generate {done.tuned_model} "..."', soft_wrap=True)


def _how_to_go_on(url: str, begun: Operation) -> str:
    key = '-H "x-goog-api-key: $TUNINGFORK_API_KEY"'
    return (
        "\nThe tuning goes on at the server, also after a restart. Its state:\n"
        f"  curl {key} {url}/v1/{begun.name}\n"
        "To stop it and keep what it has learned so far:\n"
        f"  curl -X POST {key} {url}/v1/{begun.name}:cancel\n"
        "To stop it and remove it:\n"
        f"  tuningfork delete {begun.tuned_model}"
    )


def _located(refusal: ServiceRefusal, file: Path, content: TrainingFile, columns: Columns) -> ClientError:
    """The refusal, with places in the request told as places in the file where they are about examples."""
    lines = []
    for violation in refusal.violations:
        found = _EXAMPLE_FIELD.fullmatch(violation.field)
        if found is None or int(found["index"]) >= len(content.places):
            lines.append(violation.description)
            continue
        column = columns.text_input if found["column"] == "text_input" else columns.output
        lines.append(f"{file}, {content.places[int(found['index'])]}, column {column!r}: {violation.description}")
    return ClientError("\n".join(lines) or refusal.message, advice=refusal.advice)
