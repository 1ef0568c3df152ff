"""What a tuning would train, read from the server's answer and shown to a person, with and without colours."""

import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from rich.console import Console
from rich.text import Text

from tuningfork.client import answer_fields as fields
from tuningfork.client.answer_fields import Json
from tuningfork.client.durations import duration
from tuningfork.client.terminal import harmless
from tuningfork.domain.answer_kind import AnswerKind
from tuningfork.domain.base_model import AdapterShape, BaseModelName
from tuningfork.domain.hyperparameters import Hyperparameters
from tuningfork.domain.preview import DatasetPreview, PreviewedExample, PreviewSegment, TuningPreview

# Of a longer segment, the beginning and the end are shown.
_MOST_CHARACTERS = 2_000

_LABELS = {False: "  given   │ ", True: "  TRAINED │ "}
_KINDS = {
    AnswerKind.LABELS: "few short texts, each of which answers several inputs",
    AnswerKind.EXTRACTS: "passages of their inputs",
    AnswerKind.JSON: "JSON",
    AnswerKind.FREE: "free texts",
}
_BLANKS_AT_END = re.compile(r"[ \t]+$")


def parse(answer: Mapping[str, Any]) -> TuningPreview:
    """The answer to `tunedModels:preview`."""
    used = fields.inner(answer, "hyperparameters")
    return TuningPreview(
        base_model=BaseModelName(fields.name(answer, "baseModel")),
        hyperparameters=Hyperparameters(
            epoch_count=fields.whole(used, "epochCount"),
            batch_size=fields.whole(used, "batchSize"),
            learning_rate=fields.number(used, "learningRate"),
        ),
        total_steps=fields.whole(answer, "totalSteps"),
        example_count=fields.whole(answer, "exampleCount"),
        validation_count=fields.whole(answer, "validationExampleCount", 0),
        dataset=DatasetPreview(
            total_tokens=fields.whole(answer, "totalTokenCount"),
            trained_tokens=fields.whole(answer, "trainedTokenCount"),
            longest_tokens=fields.whole(answer, "longestExampleTokenCount"),
            longest_example=fields.whole(answer, "longestExample"),
            context_tokens=fields.whole(answer, "contextTokenCount"),
            shown=tuple(map(_example, fields.objects(answer, "examples"))),
        ),
        adapter=_shape(answer),
        temperature=fields.number(answer, "temperature") if "temperature" in answer else None,
        answers=_kind(fields.text(answer, "answers", "")),
        tokens_per_second=_speed(fields.number(answer, "measuredTokensPerSecond", 0.0)),
        price=fields.number(answer, "pricePerMillionTokens") if "pricePerMillionTokens" in answer else None,
    )


def _shape(answer: Mapping[str, Any]) -> AdapterShape | None:
    """The adapter's shape; None: a server of an earlier version does not tell it."""
    rank = fields.whole(answer, "adapterRank", 0)
    return AdapterShape(rank=rank, alpha=fields.number(answer, "adapterAlpha", 0.0)) if rank else None


def _kind(told: str) -> AnswerKind | None:
    """The kind of answers; None: the server does not tell it, or one of a later version tells another."""
    return AnswerKind(told) if told in set(AnswerKind) else None


def _speed(told: float) -> float | None:
    return told if 0 < told < math.inf else None


def _example(answer: Mapping[str, Any]) -> PreviewedExample:
    segments = (
        PreviewSegment(
            text=fields.text(each, "text"),
            tokens=fields.whole(each, "tokenCount", 0),
            trained=fields.flag(each, "trained"),
        )
        for each in fields.objects(answer, "segments")
    )
    return PreviewedExample(segments=tuple(segments))


def checked(answer: Json) -> Json:
    """A preview that `parse` can read."""
    parse(answer)
    return answer


def tell(console: Console, preview: TuningPreview, place: Callable[[int], str]) -> None:
    """Print the preview; every line of an example says whether it is trained.

    Args:
        console: where it is printed.
        preview: what the server answered.
        place: where an example is in the file, by its index.

    """
    for line in _summary(preview, place):
        console.print(Text(line), soft_wrap=True)
    for index, example in enumerate(preview.dataset.shown):
        head = f"Example {index + 1}, {place(index)}: {example.tokens:,} tokens, {example.trained_tokens:,} trained"
        console.print(Text(f"\n{head}", "bold"), soft_wrap=True)
        for segment in example.segments:
            style = "bold green" if segment.trained else "dim"
            for line in _lines(segment.text):
                console.print(Text.assemble((_LABELS[segment.trained], "dim"), (line, style)), soft_wrap=True)


def _summary(preview: TuningPreview, place: Callable[[int], str]) -> Iterator[str]:
    used, dataset, shape = preview.hyperparameters, preview.dataset, preview.adapter
    yield (
        f"{preview.base_model} would be tuned in {preview.total_steps:,} steps: epochs {used.epoch_count}, "
        f"batch size {used.batch_size}, learning rate {used.learning_rate:g}"
        f"{f', rank {shape.rank}, alpha {shape.alpha:g}' if shape else ''}"
    )
    of_tokens = f"{dataset.total_tokens:,} tokens, {dataset.trained_tokens:,} of them trained"
    beside = f"; {preview.validation_count:,} more to validate with" if preview.validation_count else ""
    yield f"{preview.example_count:,} examples, {of_tokens}{beside}"
    yield (
        f"the longest example, {place(dataset.longest_example)}, has {dataset.longest_tokens:,} tokens; "
        f"the model takes {dataset.context_tokens:,}"
    )
    if preview.cost is not None:
        yield f"all of it costs about {preview.cost:.2f}, at {preview.price:g} for a million tokens"
    yield from _sampling(preview)
    yield from _expected(preview)


def _sampling(preview: TuningPreview) -> Iterator[str]:
    """How the tuned model will choose its tokens, as far as the server tells it."""
    if preview.temperature is None:
        return
    outputs = f"; its outputs are {_KINDS[preview.answers]}" if preview.answers else ""
    likeliest = ", the likeliest token each time" if preview.temperature == 0 else ""
    yield f"asked without a temperature, the model will take {preview.temperature:g}{likeliest}{outputs}"


def _expected(preview: TuningPreview) -> Iterator[str]:
    step, longest = preview.step_seconds, preview.longest_seconds
    if step is None or longest is None:
        yield "how long a step takes is not known: it is measured over loaded bases, while no jobs are trained"
        return
    whole = duration(step * preview.total_steps)
    yield (
        f"a step takes about {duration(step)} and all of them {whole}, as the server has measured it over this base; "
        "longer while other jobs are trained"
    )
    if longest > 2 * step:
        yield f"a step with the longest example takes about {duration(longest)}, or longer"


def _lines(text: str) -> Iterator[str]:
    """The lines of a text, each line break visible, and none of it able to disturb a terminal."""
    if len(text) > _MOST_CHARACTERS:
        half = _MOST_CHARACTERS // 2
        text = f"{text[:half]} … {len(text) - 2 * half:,} characters … {text[-half:]}"
    *broken, last = text.split("\n")
    for line in broken:
        yield f"{_visible(line)}⏎"
    if last or not broken:
        yield _visible(last)


def _visible(line: str) -> str:
    line = _BLANKS_AT_END.sub(lambda blanks: "·" * len(blanks[0]), line)
    return harmless(line, keep="\t")
