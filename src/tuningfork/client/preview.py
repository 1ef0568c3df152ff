"""What a tuning would train, read from the server's answer and shown to a person, with and without colours."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from rich.console import Console
from rich.text import Text

from tuningfork.client.terminal import harmless
from tuningfork.domain.base_model import BaseModelName
from tuningfork.domain.hyperparameters import Hyperparameters
from tuningfork.domain.preview import DatasetPreview, PreviewedExample, PreviewSegment, TuningPreview

# Of a longer segment, the beginning and the end are shown.
_MOST_CHARACTERS = 2_000

_LABELS = {False: "  given   │ ", True: "  TRAINED │ "}
_BLANKS_AT_END = re.compile(r"[ \t]+$")


def parse(answer: Mapping[str, Any]) -> TuningPreview:
    """The answer to `tunedModels:preview`."""
    used = answer["hyperparameters"]
    return TuningPreview(
        base_model=BaseModelName(answer["baseModel"]),
        hyperparameters=Hyperparameters(
            epoch_count=used["epochCount"], batch_size=used["batchSize"], learning_rate=float(used["learningRate"])
        ),
        total_steps=answer["totalSteps"],
        example_count=answer["exampleCount"],
        dataset=DatasetPreview(
            total_tokens=answer["totalTokenCount"],
            trained_tokens=answer["trainedTokenCount"],
            longest_tokens=answer["longestExampleTokenCount"],
            longest_example=answer["longestExample"],
            context_tokens=answer["contextTokenCount"],
            shown=tuple(_example(example) for example in answer.get("examples", ())),
        ),
    )


def _example(answer: Mapping[str, Any]) -> PreviewedExample:
    segments = (
        PreviewSegment(text=each["text"], tokens=each.get("tokenCount", 0), trained=each["trained"])
        for each in answer["segments"]
    )
    return PreviewedExample(segments=tuple(segments))


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
    used, dataset = preview.hyperparameters, preview.dataset
    yield (
        f"{preview.base_model} would be tuned in {preview.total_steps:,} steps: epochs {used.epoch_count}, "
        f"batch size {used.batch_size}, learning rate {used.learning_rate:g}"
    )
    of_tokens = f"{dataset.total_tokens:,} tokens, {dataset.trained_tokens:,} of them trained"
    yield f"{preview.example_count:,} examples, {of_tokens}"
    yield (
        f"the longest example, {place(dataset.longest_example)}, has {dataset.longest_tokens:,} tokens; "
        f"the model takes {dataset.context_tokens:,}"
    )


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
