"""`tuningfork update`: other names, defaults and readers for a tuned model."""

from typing import Annotated

import typer

from tuningfork.cli import output
from tuningfork.cli.connection import DEFAULT_URL, ApiKey, Url, connect
from tuningfork.cli.listing import TunedModelName, tuned_model_name
from tuningfork.domain.tuned_model import Changeable, ModelChange

_BY_OPTION = {field.value.replace("_", "-"): field for field in Changeable}

DisplayName = Annotated[str | None, typer.Option(metavar="NAME", help="A name for people, at most 40 characters.")]
Description = Annotated[str | None, typer.Option(metavar="TEXT", help="What the model is for.")]
Temperature = Annotated[
    float | None, typer.Option(metavar="NUMBER", help="The temperature of requests that say none, 0 to 1.")
]
TopP = Annotated[
    float | None, typer.Option(metavar="NUMBER", help="The top-p of requests that say none, above 0 to 1.")
]
TopK = Annotated[int | None, typer.Option(metavar="NUMBER", help="The top-k of requests that say none, at least 1.")]
ReaderProjectNumbers = Annotated[
    list[int] | None,
    typer.Option(
        "--reader-project-number",
        metavar="NUMBER",
        help="The number of a project whose members may use the model; repeated, several. Those before are replaced.",
    ),
]
Clear = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME",
        help="Empty this, or for temperature, top-p and top-k go back to the base model's: "
        f"{', '.join(_BY_OPTION)}. May be repeated.",
    ),
]


def update(
    model: TunedModelName,
    *,
    display_name: DisplayName = None,
    description: Description = None,
    temperature: Temperature = None,
    top_p: TopP = None,
    top_k: TopK = None,
    reader_project_numbers: ReaderProjectNumbers = None,
    clear: Clear = None,
    as_json: output.AsJson = False,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
) -> None:
    """Change a tuned model's names, its defaults or its readers.

    What is not named stays as it is. The next request is answered with the new defaults. Prints the model's name.
    """
    given = {
        Changeable.DISPLAY_NAME: display_name,
        Changeable.DESCRIPTION: description,
        Changeable.TEMPERATURE: temperature,
        Changeable.TOP_P: top_p,
        Changeable.TOP_K: top_k,
        Changeable.READER_PROJECT_NUMBERS: reader_project_numbers or None,
    }
    named = {field for field, value in given.items() if value is not None}
    cleared = {_cleared(name) for name in clear or ()}
    if both := sorted(cleared & named):
        raise typer.BadParameter(f"{_shown(both[0])} is both given and cleared.", param_hint="--clear")
    if not named and not cleared:
        raise typer.BadParameter("Nothing to change: name at least one option, such as --display-name.")
    change = ModelChange(
        fields=frozenset(named | cleared),
        display_name=display_name or "",
        description=description or "",
        temperature=temperature,
        top_p=top_p,
        top_k=top_k,
        reader_project_numbers=tuple(reader_project_numbers or ()),
    )
    with connect(url, api_key) as client:
        changed = client.update_tuned_model(tuned_model_name(model), change)
    if as_json:
        output.result_json(changed.answer)
    else:
        output.result(changed.name)


def _cleared(name: str) -> Changeable:
    if name not in _BY_OPTION:
        raise typer.BadParameter(f"{name!r} is none of {', '.join(_BY_OPTION)}.", param_hint="--clear")
    return _BY_OPTION[name]


def _shown(field: Changeable) -> str:
    return f"--{field.value.replace('_', '-')}"
