"""Previews of examples, rendered by the same code as in training."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

from tuningfork.domain.conversation import Example, Preference
from tuningfork.domain.dataset import Examples
from tuningfork.domain.errors import Cancelled
from tuningfork.domain.preview import DatasetPreview, PreviewedExample, PreviewSegment
from tuningfork.modeling.chat_template import Chat, RenderedRow


def preview(
    chat: Chat,
    examples: Examples,
    shown: int,
    context_tokens: int,
    *,
    is_wanted: Callable[[], bool] = lambda: True,
) -> DatasetPreview:
    """Measure all examples (at least one), and show the first ones.

    Raises:
        InvalidArgument: an example cannot be encoded, or the model's template refuses it.
        Cancelled: it is not wanted any more, as `is_wanted` says before each example.

    """
    rendered = []
    for example in examples:
        if not is_wanted():
            raise Cancelled("the preview is not wanted any more")
        rendered.append(_rows(chat, example))
    lengths = [max(len(row.ids) for row in rows) for rows in rendered]
    longest = max(range(len(lengths)), key=lengths.__getitem__)
    rows = [row for own in rendered for row in own]
    return DatasetPreview(
        total_tokens=sum(len(row.ids) for row in rows),
        trained_tokens=sum(end - begin for row in rows for begin, end in row.targets),
        longest_tokens=lengths[longest],
        longest_example=longest,
        context_tokens=context_tokens,
        shown=tuple(
            PreviewedExample(
                segments=tuple(segment for row in own for segment in _segments(chat, row)),
                as_served=_is_as_served(chat, example, own),
            )
            for example, own in zip(examples, rendered[:shown], strict=False)
        ),
    )


def _rows(chat: Chat, example: Example) -> tuple[RenderedRow, ...]:
    return chat.render_preference(example) if isinstance(example, Preference) else chat.render_example(example)


def _is_as_served(chat: Chat, example: Example, rows: Sequence[RenderedRow]) -> bool:
    """Whether the tokens before each output equal those of the prompt that a request for it has, rendered anew."""
    headers = [row.ids[:begin] for row in rows for begin, _ in row.outputs]
    if isinstance(example, Preference):
        prompts = [example.prompt] * len(headers)
    else:
        learned = (index for index, turn in enumerate(example.turns) if turn.is_learned)
        prompts = [replace(example, turns=example.turns[:index]) for index in learned]
    if len(prompts) != len(headers):
        return False
    return all(tuple(chat.render_prompt(prompt)) == header for prompt, header in zip(prompts, headers, strict=True))


def _segments(chat: Chat, row: RenderedRow) -> Iterator[PreviewSegment]:
    """The texts of a row, cut where targets begin and end."""
    borders = [0, *(border for span in row.targets for border in span)]
    text = ""
    for number, (begin, end) in enumerate(pairwise(borders)):
        if begin == end:
            continue
        # Some tokenizers omit a space before the first token that they decode, so each part is decoded after the parts
        # before it.
        before, text = text, chat.spell(row.ids[:end])
        own = text[len(before) :] if text.startswith(before) else chat.spell(row.ids[begin:end])
        yield PreviewSegment(text=own, tokens=end - begin, trained=number % 2 == 1)
