"""`tuningfork tune`: a file of examples becomes a tuned model while the loss is watched."""

import re
from itertools import chain
from typing import Annotated

import typer
from rich.console import Console

from tuningfork.cli.connection import DEFAULT_URL, INTERRUPTED, ApiKey, Url, connect
from tuningfork.client import Client, ClientError, ServerUnreachable, ServiceRefusal, preview, progress, training_files
from tuningfork.client.dialect import Operation
from tuningfork.client.training_files import Columns, TrainingData
from tuningfork.client.training_files.table import listed
from tuningfork.domain.hyperparameters import RequestedHyperparameters
from tuningfork.domain.tuned_model import MAX_DISPLAY_NAME_CHARACTERS
from tuningfork.domain.tuning_job import TuningRequest

DEFAULT_BASE_MODEL = "models/tuningfork-mini-001"
TUNED_MODELS = "tunedModels/"

_EXAMPLE_FIELD = re.compile(r".*examples\[(?P<index>\d+)\]\.(?P<field>text_input|output)")


File = Annotated[
    str,
    typer.Argument(
        metavar="FILE",
        help="Examples: a .csv, .json, .jsonl, .xlsx or .parquet file, or the https address of one, or of a Google "
        "Sheet.",
    ),
]
BaseModel = Annotated[
    str,
    typer.Option(
        "--base-model", "--from", help="The model to tune, a base or a tuned one; `tuningfork models` lists them."
    ),
]
DisplayName = Annotated[
    str | None, typer.Option(help="A name for people, at most 40 characters.", show_default="the file's name")
]
Epochs = Annotated[int | None, typer.Option(help="How often each example is seen.", show_default="the service's, 5")]
BatchSize = Annotated[int | None, typer.Option(help="Examples a step.", show_default="the service's, 4 or 16")]
LearningRate = Annotated[float | None, typer.Option(help="Size of the steps.", show_default="the base model's")]
InputKey = Annotated[
    list[str] | None,
    typer.Option(
        help="A column of the input; repeated, several in this order.",
        show_default="text_input, or the first of two columns",
    ),
]
OutputKey = Annotated[
    list[str] | None,
    typer.Option(
        help="A column of the output; repeated, several in this order.",
        show_default="output, or the second of two columns",
    ),
]
Prefixes = Annotated[
    bool | None,
    typer.Option(
        "--prefixes/--no-prefixes",
        help="Begin each text with its column's name, as in `question: ...`.",
        show_default="only with several columns of a kind",
    ),
]
MaxFileMb = Annotated[
    float | None,
    typer.Option(
        min=0, help="The largest file that is read.", show_default="4 for models under Gemini's names, else 64"
    ),
]
DryRun = Annotated[
    bool,
    typer.Option("--dry-run", help="Only show what would be trained: the first examples, and which part is learned."),
]


def tune(
    file: File,
    *,
    base_model: BaseModel = DEFAULT_BASE_MODEL,
    display_name: DisplayName = None,
    epochs: Epochs = None,
    batch_size: BatchSize = None,
    learning_rate: LearningRate = None,
    input_key: InputKey = None,
    output_key: OutputKey = None,
    prefixes: Prefixes = None,
    max_file_mb: MaxFileMb = None,
    dry_run: DryRun = False,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
) -> None:
    """Tune a model on the examples in FILE and watch its loss.

    Prints the tuned model's name. The run goes on at the server if this command is interrupted. With --dry-run it
    prints what would be trained, and begins nothing.
    """
    columns = Columns(inputs=tuple(input_key or ()), outputs=tuple(output_key or ()), prefixes=prefixes)
    max_bytes = None if max_file_mb is None else int(max_file_mb * 2**20)
    console = Console(stderr=True, highlight=False, markup=False)
    with connect(url, api_key) as client:
        data = training_files.read(file, columns, base_model=_root(client, base_model), max_bytes=max_bytes)
        console.print(_told(data), soft_wrap=True)
        goes_on = base_model.startswith(TUNED_MODELS)
        request = TuningRequest(
            base_model="" if goes_on else base_model,
            tuned_model_source=base_model if goes_on else "",
            examples=data.examples,
            hyperparameters=RequestedHyperparameters(
                epoch_count=epochs, batch_size=batch_size, learning_rate=learning_rate
            ),
            display_name=data.title[:MAX_DISPLAY_NAME_CHARACTERS] if display_name is None else display_name,
        )
        try:
            if dry_run:
                _show(client, request, data)
                return
            begun = client.create_tuned_model(request)
        except ServiceRefusal as refusal:
            raise _located(refusal, data) from refusal
        _watch(console, client, begun)
    typer.echo(begun.tuned_model)


def _root(client: Client, base_model: str) -> str:
    """The base at the root of what is tuned."""
    return client.tuned_model(base_model).base_model if base_model.startswith(TUNED_MODELS) else base_model


def _show(client: Client, request: TuningRequest, data: TrainingData) -> None:
    seen = client.preview(request)
    preview.tell(Console(highlight=False, markup=False), seen, data.places.__getitem__)
    dataset = seen.dataset
    if dataset.longest_tokens > dataset.context_tokens:
        place = f"{data.name}, {data.places[dataset.longest_example]}"
        raise ClientError(
            f"{place}: {dataset.longest_tokens:,} tokens, and {seen.base_model} takes {dataset.context_tokens:,}: "
            "the tuning would fail.",
            advice="Shorten or split the example.",
        )


def _told(data: TrainingData) -> str:
    """What was taken from the file: columns that were not named may be others than were meant."""
    chosen = data.chosen
    return f"{data.name}: {len(data.examples):,} examples, from {listed(chosen.inputs)} to {listed(chosen.outputs)}"


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


def _located(refusal: ServiceRefusal, data: TrainingData) -> ClientError:
    """The refusal, with places in the request told as places in the file where they are about examples."""
    lines = []
    for violation in refusal.violations:
        found = _EXAMPLE_FIELD.fullmatch(violation.field)
        if found is None or int(found["index"]) >= len(data.places):
            lines.append(violation.description)
        else:
            lines.append(f"{data.place(int(found['index']), found['field'])}: {violation.description}")
    return ClientError("\n".join(lines) or refusal.message, advice=refusal.advice)
