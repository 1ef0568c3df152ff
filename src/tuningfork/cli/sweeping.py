"""`tuningfork sweep`: several settings of one tuning, compared by their validation losses."""

import shlex
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from tuningfork.cli import output, tuning
from tuningfork.cli.connection import DEFAULT_URL, INTERRUPTED, ApiKey, Url, connect
from tuningfork.cli.tuning import ASKED_FOR
from tuningfork.cli.typed import typed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tuningfork.cli.new_run import NewRun
    from tuningfork.client.sweep import Grid, Sweep, Trial

Number = TypeVar("Number", int, float)

LearningRates = Annotated[
    str, typer.Option(metavar="RATES", help="Learning rates to try, such as 0.0003,0.001,0.003.", show_default=False)
]
Ranks = Annotated[str, typer.Option(metavar="RANKS", help="Ranks to try, such as 4,8,16.", show_default=False)]
Epochs = Annotated[
    str, typer.Option(metavar="NUMBERS", help="Numbers of epochs to try, such as 3,5.", show_default=False)
]
Validation = Annotated[
    str,
    typer.Option(
        metavar="FILE|PERCENT", help="Examples to compare the settings by: a file, or a share of the examples."
    ),
]
Keep = Annotated[bool, typer.Option("--keep", help="Keep the models of all settings, not only the best.")]
AsJson = Annotated[
    bool,
    output.as_json_option(
        '{"best": MODEL, "trials": [...], "remarks": [...]}, each trial with its setting, its model, whether that was '
        "kept, its lowest validation loss and the step of it, or its error"
    ),
]


def sweep(
    context: typer.Context,
    files: tuning.Files,
    *,
    learning_rates: LearningRates = "",
    ranks: Ranks = "",
    epochs: Epochs = "",
    batch_size: tuning.BatchSize = None,
    base_model: tuning.BaseModel = None,
    display_name: tuning.DisplayName = None,
    validation: Validation = "10%",
    evaluate_every: tuning.EvaluateEvery = None,
    early_stopping: tuning.Stopping = False,
    patience: tuning.Patience = None,
    temperature: tuning.Temperature = None,
    keep: Keep = False,
    input_key: tuning.InputKey = None,
    output_key: tuning.OutputKey = None,
    prefixes: tuning.Prefixes = None,
    header: tuning.Header = None,
    max_file_mb: tuning.MaxFileMb = None,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
) -> None:
    """Tune with several settings, and keep the model with the lowest validation loss.

    Every combination of the learning rates, ranks and epochs is tried, 16 at most. All settings learn from the same
    examples and are compared on the same others. Prints the name of the best model; the other models are deleted.
    The same command goes on where it was interrupted.
    """
    # These imports take time that `--help` does not need to spend.
    from tuningfork.cli.new_run import NewRun  # noqa: PLC0415
    from tuningfork.cli.validation import Validated  # noqa: PLC0415
    from tuningfork.client.training_files import Columns  # noqa: PLC0415
    from tuningfork.domain.hyperparameters import RequestedHyperparameters  # noqa: PLC0415

    grid = _grid(learning_rates, ranks, epochs)
    columns = Columns(inputs=tuple(input_key or ()), outputs=tuple(output_key or ()), prefixes=prefixes, header=header)
    patience = tuning.patience_of(patience, early_stopping=early_stopping)
    with connect(url, api_key) as client:
        run = NewRun.read(
            client,
            files,
            columns,
            base_model=base_model,
            display_name=display_name,
            hyperparameters=RequestedHyperparameters(batch_size=batch_size),
            adapter_rank=None,
            validated=Validated.of(validation, evaluate_every=evaluate_every, patience=patience, keep_best=True),
            temperature=temperature,
            max_bytes=None if max_file_mb is None else int(max_file_mb * 2**20),
            command=typed(context, without=ASKED_FOR),
        )
        _sweep(run, grid, shlex.join(typed(context)), keep=keep, as_json=as_json)


def _sweep(run: "NewRun", grid: "Grid", command: str, *, keep: bool, as_json: bool) -> None:
    """Run the settings to their end and publish the best; when interrupted, say how to go on."""
    from tuningfork.client.sweep import Sweep  # noqa: PLC0415

    swept = Sweep(run.client, run.request, grid)
    try:
        with run.located_refusals():
            trials = _followed(swept)
            _publish(swept, trials, run, grid, keep=keep, as_json=as_json)
    except KeyboardInterrupt:
        _advise(swept, command)
        raise typer.Exit(INTERRUPTED) from None


def _grid(learning_rates: str, ranks: str, epochs: str) -> "Grid":
    """The settings that the options name.

    Raises:
        typer.BadParameter: a value is no number, or there are too few or too many settings.

    """
    from tuningfork.client.sweep import MOST_SETTINGS, Grid  # noqa: PLC0415

    grid = Grid(
        learning_rates=_numbers(learning_rates, float, "--learning-rates"),
        ranks=_numbers(ranks, int, "--ranks"),
        epochs=_numbers(epochs, int, "--epochs"),
    )
    count = len(grid.settings())
    if count < 2:
        said = "There is nothing to compare: name at least two learning rates, ranks or numbers of epochs."
        raise typer.BadParameter(said, param_hint="--learning-rates")
    if count > MOST_SETTINGS:
        said = f"These make {count} settings; a sweep has at most {MOST_SETTINGS}."
        raise typer.BadParameter(said, param_hint="--learning-rates")
    return grid


def _numbers(text: str, kind: "Callable[[str], Number]", option: str) -> "tuple[Number, ...]":
    """The numbers of a list with commas or blanks between them, each once.

    Raises:
        typer.BadParameter: one is no such number.

    """
    found: list[Number] = []
    for word in text.replace(",", " ").split():
        try:
            found.append(kind(word))
        except ValueError:
            said = f"{word!r} is no {'whole ' if kind is int else ''}number; give numbers with commas between them."
            raise typer.BadParameter(said, param_hint=option) from None
    return tuple(dict.fromkeys(found))


def _followed(swept: "Sweep") -> "tuple[Trial, ...]":
    """Show how the runs go on until all have ended."""
    from tuningfork.cli.sweep_progress import following  # noqa: PLC0415

    output.say(f"{len(swept.trials)} settings:")
    with following() as show:
        for trials in swept.states():
            show(trials)
    return swept.trials


def _publish(
    swept: "Sweep", trials: "Sequence[Trial]", run: "NewRun", grid: "Grid", *, keep: bool, as_json: bool
) -> None:
    """Print the table and the best model, which gets its name; delete the others."""
    from tuningfork.client.sweep import ranked, verdict, winner  # noqa: PLC0415

    output.say(*_table(trials))
    best = winner(trials)
    stays = swept.publish(best, run.request.display_name, keeps_others=keep)
    remarks = [verdict(trials), *grid.edges(best.setting)]
    if as_json:
        output.result_json(
            {"best": best.name, "trials": [_answer(each, stays) for each in ranked(trials)], "remarks": remarks}
        )
    else:
        output.result(best.name)
    output.say(*remarks)
    others = [name for name in stays if name != best.name]
    if others:
        output.say(f"The other models that stay: {', '.join(others)}")


def _table(trials: "Sequence[Trial]") -> list[str]:
    """The settings, the best first, with their validation losses."""
    from tuningfork.client.sweep import ranked  # noqa: PLC0415

    width = max(len(each.setting.in_words) for each in trials)
    lines = [f"{'setting':<{width}}  {'validation loss':>15}  {'step':>9}  {'right tokens':>12}"]
    for each in ranked(trials):
        if each.best is None:
            why = "no validation loss" if each.run is None or each.run.error is None else each.run.error
            lines.append(f"{each.setting.in_words:<{width}}  {why}")
        else:
            shown = f"{each.best.mean_loss:>15.4f}  {each.best.step:>9,}  {each.best.right_share:>12.1%}"
            lines.append(f"{each.setting.in_words:<{width}}  {shown}")
    return lines


def _answer(trial: "Trial", stays: "Sequence[str]") -> dict[str, object]:
    best, setting = trial.best, trial.setting
    return {
        "setting": {"learningRate": setting.learning_rate, "rank": setting.rank, "epochs": setting.epochs},
        "tunedModel": trial.name,
        "kept": trial.name in stays,
        "validationLoss": None if best is None else best.mean_loss,
        "step": None if best is None else best.step,
        "error": None if trial.run is None else trial.run.error,
    }


def _advise(swept: "Sweep", command: str) -> None:
    """Say how to go on with a sweep that nobody follows any longer, and how to remove it."""
    begun = [trial.name for trial in swept.trials if trial.run is not None]
    if not begun:
        output.say("\nInterrupted before a run was known to have begun. `tuningfork jobs` lists the runs.")
        return
    removal = [f"  tuningfork delete --yes {shlex.quote(name)}" for name in begun]
    output.say(
        f"\nThe {len(begun)} runs that have begun go on at the server. To go on with the sweep, repeat the command:",
        f"  {command}",
        "To stop and remove all of them:",
        *removal,
    )
