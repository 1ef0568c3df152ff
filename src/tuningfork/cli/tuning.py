"""`tuningfork tune`: tunes a model on a file of examples, and shows the loss meanwhile."""

from typing import Annotated

import typer

from tuningfork.cli import output
from tuningfork.cli.connection import DEFAULT_URL, ApiKey, Url, connect
from tuningfork.cli.typed import typed
from tuningfork.domain.early_stopping import USUAL_PATIENCE

Files = Annotated[
    list[str],
    typer.Argument(
        metavar="FILE...",
        help="Examples: .csv, .tsv, .txt, .json, .jsonl, .xlsx or .parquet files, gzipped or not; the https address of "
        "one, or of a Google Sheet; - for standard input. Rows of columns, or conversations of a usual format.",
    ),
]
BaseModel = Annotated[
    str | None,
    typer.Option(
        "--base-model",
        "--from",
        metavar="MODEL",
        help="The model to tune, a base or a tuned one. Left out: the first base that `tuningfork models` lists.",
    ),
]
DisplayName = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="A name for people, at most 40 characters.", show_default="the file's name"),
]
Epochs = Annotated[
    int | None, typer.Option(metavar="NUMBER", help="How often each example is seen.", show_default="the service's, 5")
]
BatchSize = Annotated[
    int | None, typer.Option(metavar="NUMBER", help="Examples a step.", show_default="the service's, 4 or 16")
]
LearningRate = Annotated[
    float | None, typer.Option(metavar="RATE", help="Size of the steps.", show_default="the base model's")
]
Rank = Annotated[
    int | None,
    typer.Option(metavar="NUMBER", help="The rank of the adapter: its width.", show_default="the base model's, 8"),
]
Validation = Annotated[
    str | None,
    typer.Option(
        metavar="FILE|PERCENT",
        help="Examples to validate with, which are not learned from: a file like the others, or a share of the "
        "examples, such as 10%.",
        show_default="none; 10% with --early-stopping or --keep-best",
    ),
]
EvaluateEvery = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="STEPS",
        help="Compute the validation loss after every so many steps.",
        show_default="some twenty times a run",
    ),
]
KeepBest = Annotated[
    bool,
    typer.Option("--keep-best", help="Let the model answer with the checkpoint that has the lowest validation loss."),
]
Stopping = Annotated[
    bool,
    typer.Option("--early-stopping", help="Stop when the validation loss falls no more; this keeps the best, too."),
]
Patience = Annotated[
    int | None,
    typer.Option(
        metavar="NUMBER",
        help="With --early-stopping: how many validations in a row may bring no lower loss.",
        show_default=f"{USUAL_PATIENCE}",
    ),
]
Temperature = Annotated[
    float | None,
    typer.Option(
        metavar="NUMBER",
        help="The temperature of requests to the new model that say none, 0 to 1; 0: always the likeliest token.",
        show_default="0 if each input has one right output, else the base model's",
    ),
]
Probe = Annotated[
    list[str] | None,
    typer.Option(
        metavar="PROMPT",
        help="A prompt that is asked before the training and after its epochs, so that answers are seen to change; "
        "repeated, up to five. The Studio shows the answers, and so does GET /tuningfork/v1/tunedModels/MODEL/probes.",
    ),
]
InputKey = Annotated[
    list[str] | None,
    typer.Option(
        metavar="COLUMN",
        help="A column of the input; repeated, several in this order.",
        show_default="the one of a usual name, such as text_input, prompt or question",
    ),
]
OutputKey = Annotated[
    list[str] | None,
    typer.Option(
        metavar="COLUMN",
        help="A column of the output; repeated, several in this order.",
        show_default="the one of a usual name, such as output, completion or answer",
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
Header = Annotated[
    bool | None,
    typer.Option(
        "--header/--no-header",
        help="Whether the first row of a table names the columns; without a header they are called 1, 2 and so on.",
        show_default="it does, or it is asked",
    ),
]
MaxFileMb = Annotated[
    float | None,
    typer.Option(
        min=0,
        metavar="MB",
        help="The largest file that is read.",
        show_default="4 for models under Gemini's names, else 64",
    ),
]
DryRun = Annotated[
    bool,
    typer.Option("--dry-run", help="Only show what would be trained: the first examples, and which part is learned."),
]

Detach = Annotated[
    bool, typer.Option("--detach", help="Do not watch: print the tuned model's name as soon as the run has been taken.")
]
AsJson = Annotated[
    bool,
    output.as_json_option("the newest state of the run, an Operation of the API; with --dry-run the server's preview"),
]

ASKED_FOR = frozenset({"input_key", "output_key", "header"})
"""What a question about columns asks for, so that it is not in the command line that the question repeats."""


def tune(
    context: typer.Context,
    files: Files,
    *,
    base_model: BaseModel = None,
    display_name: DisplayName = None,
    epochs: Epochs = None,
    batch_size: BatchSize = None,
    learning_rate: LearningRate = None,
    rank: Rank = None,
    validation: Validation = None,
    evaluate_every: EvaluateEvery = None,
    early_stopping: Stopping = False,
    patience: Patience = None,
    keep_best: KeepBest = False,
    temperature: Temperature = None,
    probe: Probe = None,
    input_key: InputKey = None,
    output_key: OutputKey = None,
    prefixes: Prefixes = None,
    header: Header = None,
    max_file_mb: MaxFileMb = None,
    dry_run: DryRun = False,
    detach: Detach = False,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
) -> None:
    """Tune a model on the examples in the FILEs and watch its loss.

    Prints the tuned model's name. The run goes on at the server if this command is interrupted. With --dry-run it
    prints what would be trained, and begins nothing.
    """
    # These imports take time that `--help` does not need to spend.
    from tuningfork.cli.new_run import NewRun  # noqa: PLC0415
    from tuningfork.cli.validation import Validated  # noqa: PLC0415
    from tuningfork.client.training_files import Columns  # noqa: PLC0415
    from tuningfork.domain.hyperparameters import RequestedHyperparameters  # noqa: PLC0415

    columns = Columns(inputs=tuple(input_key or ()), outputs=tuple(output_key or ()), prefixes=prefixes, header=header)
    patience = patience_of(patience, early_stopping=early_stopping)
    chosen = RequestedHyperparameters(epoch_count=epochs, batch_size=batch_size, learning_rate=learning_rate)
    with connect(url, api_key) as client:
        run = NewRun.read(
            client,
            files,
            columns,
            base_model=base_model,
            display_name=display_name,
            hyperparameters=chosen,
            adapter_rank=rank,
            validated=Validated.of(validation, evaluate_every=evaluate_every, patience=patience, keep_best=keep_best),
            temperature=temperature,
            max_bytes=None if max_file_mb is None else int(max_file_mb * 2**20),
            command=typed(context, without=ASKED_FOR),
        ).asking(probe or ())
        if dry_run:
            run.show(as_json=as_json)
        else:
            run.begin(context, detach=detach, as_json=as_json)


def patience_of(patience: int | None, *, early_stopping: bool) -> int | None:
    """The patience of a run; None: it is not stopped early.

    Raises:
        typer.BadParameter: a patience is given without --early-stopping.

    """
    if patience is not None and not early_stopping:
        raise typer.BadParameter("It is of use with --early-stopping only.", param_hint="--patience")
    return (USUAL_PATIENCE if patience is None else patience) if early_stopping else None
