"""`tuningfork evaluate`: asks several models the same held-out examples, and prints a table of their scores."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tuningfork.cli import output
from tuningfork.cli.connection import DEFAULT_URL, INTERRUPTED, ApiKey, Url, connect
from tuningfork.cli.listing import tuned_model_name

if TYPE_CHECKING:
    from tuningfork.client.evaluations import EvaluationCalls, EvaluationEntry

_TITLES = {
    "EXACT_MATCH": "exact match",
    "NORMALIZED_MATCH": "normalized match",
    "ROUGE_L": "ROUGE-L",
    "TOKEN_F1": "token F1",
    "STOP_RATE": "stop rate",
    "VALID_JSON": "valid JSON",
}
_TELLING = 10
"""About so many lines tell the progress."""

File = Annotated[
    Path | None,
    typer.Argument(metavar="[FILE]", help="Held-out examples, in a file of any kind that `tuningfork tune` reads."),
]
Models = Annotated[
    list[str],
    typer.Option(
        "--model",
        metavar="MODEL",
        help="models/NAME, tunedModels/NAME, or tunedModels/NAME/checkpoints/NUMBER; one to four times.",
    ),
]
KeptBackBy = Annotated[
    str | None,
    typer.Option(metavar="MODEL", help="In place of a file: the examples that this tuned model's run kept back."),
]
Measures = Annotated[
    list[str] | None,
    typer.Option(
        "--measure", metavar="MEASURE", help=f"{', '.join(_TITLES)}; again for another.", show_default="all that fit"
    ),
]
MaxExamples = Annotated[
    int | None,
    typer.Option(metavar="NUMBER", help="At most so many examples, from all of the file.", show_default="1000"),
]
Temperature = Annotated[
    float | None, typer.Option(metavar="NUMBER", help="0 takes the likeliest token.", show_default="0")
]
MaxOutputTokens = Annotated[
    int | None,
    typer.Option(metavar="NUMBER", help="Stop each answer after so many tokens.", show_default="the model's"),
]
AsJson = Annotated[bool, output.as_json_option("the EvaluationRun of the API")]


def evaluate(
    file: File = None,
    *,
    model: Models,
    kept_back_by: KeptBackBy = None,
    measure: Measures = None,
    max_examples: MaxExamples = None,
    temperature: Temperature = None,
    max_output_tokens: MaxOutputTokens = None,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
) -> None:
    """Ask models the same held-out examples, and count how many each gets right.

    On a terminal as a table; elsewhere one line for each model and measure: model, measure, mean score, and the bounds
    of its 95 % interval, separated by tabs. Ctrl-C stops it, and prints the scores so far.
    """
    if (file is None) == (kept_back_by is None):
        raise typer.BadParameter("Give either a file of examples, or --kept-back-by MODEL.", param_hint="FILE")
    with connect(url, api_key) as client:
        calls = client.evaluations
        dataset = None if file is None else calls.stage(file)
        data = {"dataset": dataset} if dataset else {"keptBackBy": tuned_model_name(kept_back_by or "")}
        wanted = {"maxExamples": max_examples, "temperature": temperature, "maxOutputTokens": max_output_tokens}
        try:
            begun = calls.begin([_full_name(each) for each in model], data, measures=measure, **wanted)
        finally:
            # The evaluation has its own copy.
            if dataset is not None:
                calls.discard(dataset)
        ended, interrupted = _follow(calls, begun)
        _print(ended, as_json=as_json)
    if interrupted:
        raise typer.Exit(INTERRUPTED)


def _full_name(text: str) -> str:
    return text if text.startswith(("models/", "tunedModels/")) else tuned_model_name(text)


def _follow(calls: "EvaluationCalls", begun: "EvaluationEntry") -> tuple["EvaluationEntry", bool]:
    """Tell the progress until the end; also whether a person stopped it."""
    output.say(f"{begun.name}: {begun.example_count:,} examples, {begun.total_answer_count:,} answers")
    try:
        return list(_telling(calls.watch(begun)))[-1], False
    except KeyboardInterrupt:
        output.say("Stopping ...")
        return list(calls.watch(calls.stop(begun.name)))[-1], True


def _telling(states: "Iterator[EvaluationEntry]") -> "Iterator[EvaluationEntry]":
    told = 0
    for each in states:
        tenths = _TELLING * each.answer_count // max(1, each.total_answer_count)
        if tenths > told:
            told = tenths
            output.say(f"  {each.answer_count:,} of {each.total_answer_count:,} answers")
        yield each


def _print(ended: "EvaluationEntry", *, as_json: bool) -> None:
    from tuningfork.client.evaluations import result_of  # noqa: PLC0415 - `--help` does not need it

    if as_json:
        output.result_json(ended.answer)
    elif output.is_for_a_person():
        from tuningfork.cli import tables  # noqa: PLC0415 - `--help` does not need it

        columns = ("measure", *ended.models)
        tables.show(f"{ended.name}, 95 % intervals", columns, [_row(ended, each) for each in ended.measures])
    else:
        for each in ended.scores:
            output.result_row(each.model, each.measure, each.mean, each.low, each.high)
    output.say(*_remarks(ended))
    result_of(ended)


def _row(ended: "EvaluationEntry", measure: str) -> list[str]:
    scores = [ended.score(model, measure) for model in ended.models]
    shown = [
        "" if each is None else f"{each.mean * 100:.0f} % ({each.low * 100:.0f}-{each.high * 100:.0f})"
        for each in scores
    ]
    return [_TITLES.get(measure, measure), *shown]


def _remarks(ended: "EvaluationEntry") -> Iterator[str]:
    if ended.state == "STOPPED":
        yield f"It was stopped after {ended.answer_count:,} of {ended.total_answer_count:,} answers."
    for model, count in ended.leaked.items():
        yield f"Warning: {model} was trained on {count:,} of the {ended.example_count:,} examples, so it knows them."
    first = next(iter(ended.measures), "")
    for each in ended.differences:
        if each.measure == first and not each.is_clear:
            yield f"Too few examples to tell {each.first} and {each.second} apart by {_TITLES.get(first, first)}."
