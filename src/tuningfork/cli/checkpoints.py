"""`tuningfork checkpoints`: the checkpoints of a tuned model, and the choice of the one with which it answers."""

from typing import TYPE_CHECKING, Annotated

import typer

from tuningfork.cli import output
from tuningfork.cli.connection import DEFAULT_URL, ApiKey, Url, connect
from tuningfork.cli.listing import TunedModelName, tuned_model_name

if TYPE_CHECKING:
    from tuningfork.client.results import RunCheckpoint

Use = Annotated[
    int | None,
    typer.Option(metavar="NUMBER", help="Answer with the weights of this checkpoint from now on."),
]
AsJson = Annotated[
    bool,
    output.as_json_option(
        '{"checkpoints": [...]}, each with its number, step, epoch, training loss, validation loss, the share of right '
        "tokens, and whether the model answers with it"
    ),
]


def checkpoints(
    model: TunedModelName,
    *,
    use: Use = None,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
) -> None:
    """List the checkpoints of a tuned model, or choose the one with which it answers.

    On a terminal as a table; elsewhere one line a checkpoint: number, step, epoch, training loss, validation loss and
    share of right tokens, separated by tabs, and "default" for the one with which the model answers.
    """
    name = tuned_model_name(model)
    with connect(url, api_key) as client:
        found = client.checkpoints(name) if use is None else client.use_checkpoint(name, use)
    if as_json:
        output.result_json({"checkpoints": [_answer(each) for each in found]})
    elif not output.is_for_a_person():
        for each in found:
            output.result_row(*_fields(each), *(["default"] if each.is_default else []))
    elif found:
        # Rich's tables take time to import that `--help` does not need to spend.
        from tuningfork.cli import tables  # noqa: PLC0415

        columns = ("checkpoint", "step", "epoch", "loss", "validation loss", "right tokens", "")
        rows = [[*_fields(each), "answers" if each.is_default else ""] for each in found]
        tables.show(f"Checkpoints of {name}", columns, rows)
    else:
        output.say(f"{name} has no checkpoint yet.")


def _fields(each: "RunCheckpoint") -> list[str]:
    """Number, step, epoch, losses and share of right tokens; what is not known is empty."""
    shown = each.evaluation
    return [
        str(each.number),
        str(each.step),
        str(each.epoch),
        "" if each.mean_loss is None else f"{each.mean_loss:.4f}",
        "" if shown is None else f"{shown.mean_loss:.4f}",
        "" if shown is None else f"{shown.right_share:.3f}",
    ]


def _answer(each: "RunCheckpoint") -> dict[str, object]:
    shown = each.evaluation
    return {
        "number": each.number,
        "step": each.step,
        "epoch": each.epoch,
        "meanLoss": each.mean_loss,
        "validationLoss": None if shown is None else shown.mean_loss,
        "rightShare": None if shown is None else shown.right_share,
        "default": each.is_default,
    }
