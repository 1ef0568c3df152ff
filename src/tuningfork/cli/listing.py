"""`tuningfork models` and `delete`: list the models of a server, and delete a tuned model."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from tuningfork.cli import output
from tuningfork.cli.connection import DEFAULT_URL, ApiKey, Url, connect
from tuningfork.client.terminal import harmless

if TYPE_CHECKING:
    from tuningfork.client.dialect import BaseModelEntry, TunedModelEntry

TunedModelName = Annotated[
    str, typer.Argument(metavar="MODEL", help="A tuned model's name, with or without tunedModels/.")
]

AsJson = Annotated[
    bool, output.as_json_option('{"models": [...], "tunedModels": [...]}, each a Model or a TunedModel of the API')
]


def models(*, as_json: AsJson = False, url: Url = DEFAULT_URL, api_key: ApiKey = None) -> None:
    """List the base models and your tuned models.

    On a terminal as tables; elsewhere one line a model, its fields separated by tabs.
    """
    with connect(url, api_key) as client:
        base_models, tuned_models = client.base_models(), client.tuned_models()
    if as_json:
        output.result_json(
            {"models": [each.answer for each in base_models], "tunedModels": [each.answer for each in tuned_models]}
        )
    elif output.is_for_a_person():
        _show(base_models, tuned_models)
    else:
        for base in base_models:
            output.result_row(base.name, base.display_name)
        for tuned in tuned_models:
            output.result_row(tuned.name, tuned.display_name, tuned.base_model, tuned.state)


Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def delete(model: TunedModelName, *, yes: Yes = False, url: Url = DEFAULT_URL, api_key: ApiKey = None) -> None:
    """Delete a tuned model for good, after asking on a terminal.

    A run that is still making it is stopped.
    """
    name = tuned_model_name(model)
    if not yes and sys.stdin.isatty():
        typer.confirm(f"Delete {harmless(name)} for good?", abort=True, err=True)
    with connect(url, api_key) as client:
        client.delete_tuned_model(name)


def tuned_model_name(text: str) -> str:
    """The resource name; `tunedModels/` is added if it is missing."""
    return text if text.startswith("tunedModels/") else f"tunedModels/{text}"


def _show(base_models: "Sequence[BaseModelEntry]", tuned_models: "Sequence[TunedModelEntry]") -> None:
    # Rich's tables take time to import that `--help` does not need to spend.
    from tuningfork.cli import tables  # noqa: PLC0415

    tables.show(
        "Base models",
        ("name", "display name", "tokens in", "tokens out"),
        [(each.name, each.display_name, f"{each.input_tokens:,}", f"{each.output_tokens:,}") for each in base_models],
    )
    if not tuned_models:
        output.say("No tuned models yet: `tuningfork tune FILE` makes one.")
        return
    tables.show(
        "\nTuned models",
        ("name", "display name", "base model", "state", "temperature", "created"),
        [
            (
                each.name,
                each.display_name,
                each.base_model,
                each.state,
                "" if each.temperature is None else f"{each.temperature:g}",
                f"{each.create_time.astimezone():%Y-%m-%d %H:%M}",
            )
            for each in tuned_models
        ],
    )
