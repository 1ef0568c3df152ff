"""`tuningfork models` and `delete`: what there is at a server, and what is done with it as a whole."""

from collections.abc import Sequence
from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tuningfork.cli.connection import DEFAULT_URL, ApiKey, Url, connect
from tuningfork.client.dialect import BaseModelEntry, TunedModelEntry
from tuningfork.client.terminal import harmless

TunedModelName = Annotated[
    str, typer.Argument(metavar="MODEL", help="A tuned model's name, with or without tunedModels/.")
]


def models(*, url: Url = DEFAULT_URL, api_key: ApiKey = None) -> None:
    """List the base models and your tuned models.

    On a terminal as tables; elsewhere one line a model, its fields separated by tabs.
    """
    with connect(url, api_key) as client:
        base_models, tuned_models = client.base_models(), client.tuned_models()
    console = Console(highlight=False)
    if not console.is_terminal:
        _write_lines(base_models, tuned_models)
        return
    console.print(_base_model_table(base_models))
    if tuned_models:
        console.print(_tuned_model_table(tuned_models))
    else:
        console.print("No tuned models yet: `tuningfork tune FILE` makes one.")


def delete(model: TunedModelName, *, url: Url = DEFAULT_URL, api_key: ApiKey = None) -> None:
    """Delete a tuned model for good.

    A run that is still making it is stopped.
    """
    with connect(url, api_key) as client:
        client.delete_tuned_model(tuned_model_name(model))


def tuned_model_name(text: str) -> str:
    """The resource name: `tunedModels/` is added where it is missing."""
    return text if text.startswith("tunedModels/") else f"tunedModels/{text}"


def _write_lines(base_models: Sequence[BaseModelEntry], tuned_models: Sequence[TunedModelEntry]) -> None:
    for base in base_models:
        typer.echo(f"{base.name}\t{base.display_name}")
    for tuned in tuned_models:
        typer.echo(f"{tuned.name}\t{harmless(tuned.display_name)}\t{tuned.base_model}\t{tuned.state}")


def _base_model_table(entries: Sequence[BaseModelEntry]) -> Table:
    table = _table("Base models", "name", "display name", "tokens in", "tokens out")
    for entry in entries:
        table.add_row(entry.name, Text(entry.display_name), f"{entry.input_tokens:,}", f"{entry.output_tokens:,}")
    return table


def _tuned_model_table(entries: Sequence[TunedModelEntry]) -> Table:
    table = _table("Tuned models", "name", "display name", "base model", "state", "created")
    for entry in entries:
        created = entry.create_time.astimezone().strftime("%Y-%m-%d %H:%M")
        table.add_row(entry.name, Text(harmless(entry.display_name)), entry.base_model, entry.state, created)
    return table


def _table(title: str, name: str, *others: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    # A name that is cut in two cannot be pasted.
    table.add_column(name, no_wrap=True)
    for other in others:
        table.add_column(other, overflow="fold", justify="right" if other.startswith("tokens") else "left")
    return table
