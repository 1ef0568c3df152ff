"""Examples as the trainer would see them, rendered and split by the code that trains."""

from tuningfork.domain.dataset import Dataset
from tuningfork.domain.preview import DatasetPreview, PreviewedExample, PreviewSegment
from tuningfork.modeling.chat_template import ChatFormat, RenderedExample


def preview(chat: ChatFormat, examples: Dataset, shown: int, context_tokens: int) -> DatasetPreview:
    """Measure all examples, of which there is at least one, and show the first ones.

    Raises:
        InvalidArgument: an example is no text, or the model's template refuses it.

    """
    rendered = [chat.render_example(example) for example in examples]
    lengths = [len(each.header) + len(each.output) for each in rendered]
    longest = max(range(len(lengths)), key=lengths.__getitem__)
    return DatasetPreview(
        total_tokens=sum(lengths),
        trained_tokens=sum(length - each.first_target for length, each in zip(lengths, rendered, strict=True)),
        longest_tokens=lengths[longest],
        longest_example=longest,
        context_tokens=context_tokens,
        shown=tuple(_shown(chat, each) for each in rendered[:shown]),
    )


def _shown(chat: ChatFormat, rendered: RenderedExample) -> PreviewedExample:
    ids = (*rendered.header, *rendered.output)
    given, learned = ids[: rendered.first_target], ids[rendered.first_target :]
    given_text = chat.spell(given)
    whole_text = chat.spell(ids)
    # Some tokenizers leave out the space before the first token; beside the tokens before them it is there.
    learned_text = whole_text[len(given_text) :] if whole_text.startswith(given_text) else chat.spell(learned)
    segments = (
        PreviewSegment(text=given_text, tokens=len(given), trained=False),
        PreviewSegment(text=learned_text, tokens=len(learned), trained=True),
    )
    return PreviewedExample(segments=tuple(segment for segment in segments if segment.tokens))
