"""Counts the tokens of many examples, as training renders them, almost as quickly as the library tokenizers encodes.

`ChatFormat.render_example` encodes the texts before an answer twice, once alone and once with the answer, for each
answer. Here an example is encoded once, and the places of its tokens in the text say where its outputs begin and end.
Where they do not, since a token covers the end of a header and the start of an answer, or an earlier answer is rendered
differently from the way in which the model generated it, the example is rendered as in training.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from tuningfork.domain.conversation import Conversation, Example, Preference, Speaker, Turn
from tuningfork.domain.dataset import characters_of
from tuningfork.modeling.chat_template import ChatFormat, RenderedRow

_MARK = "\ue000"
"""What stands in a text in place of a control token's name begins with it; such texts are encoded in pieces."""

_SURE_CHARACTERS_PER_TOKEN, _SURE_CHARACTERS, _SURE_TOKENS = 8, 10_000, 64
"""How much of a very long example is encoded to see that it is too long, and by how many tokens it has to be."""

_SAMPLES = (
    Conversation.pair("1 + 1?", "2"),
    Conversation.pair(" a\n\n", "\n  b c\t\u4f60\u0434\u05d0\U0001f600"),
    Conversation(
        turns=tuple(Turn.said((Speaker.USER, Speaker.MODEL)[number % 2], f"Turn {number}") for number in range(4)),
        system_instruction="Be brief.",
    ),
)


@dataclass(frozen=True, slots=True)
class TokenCount:
    """The tokens of an example.

    Attributes:
        tokens: of all its rows together.
        learned: those of them that are learned: the outputs.
        longest: of its longest row, which has to fit into the base's context.

    """

    tokens: int
    learned: int
    longest: int

    @classmethod
    def of(cls, rows: Sequence[RenderedRow]) -> "TokenCount":
        """The tokens of an example that was rendered as these rows."""
        lengths = [len(row.ids) for row in rows]
        learned = sum(end - begin for row in rows for begin, end in row.outputs)
        return cls(sum(lengths), learned, max(lengths))


@dataclass(frozen=True, slots=True)
class Written:
    """An example that is to be counted, as one text.

    `borders` are the places in the text where each output begins, and where the output before it ended; for the first,
    0. `left_out` tokens at the beginning of the example are not in the text. `count` is the result if the example had
    to be rendered as in training; then there is no text.
    """

    example: Example
    text: str = ""
    borders: tuple[tuple[int, int], ...] = ()
    left_out: int = 0
    count: TokenCount | None = None


class TokenCounter:
    """Counts tokens as one base's chat format makes them.

    `write` and `count` belong to one thread; `encode` may meanwhile run in another, and lets others run.

    Attributes:
        chat: how the base writes conversations.

    """

    def __init__(self, chat: ChatFormat) -> None:
        self.chat = chat
        self._backend: Any = getattr(chat.tokenizer, "backend_tokenizer", None) if chat.tokenizer.is_fast else None
        self._start, self._start_tokens = "", 0
        # Some tokenizers of transformers do more to a text than their backend does.
        if self._backend is not None and not self._agrees():
            self._backend = None
        if self._backend is not None:
            self._start, self._start_tokens = self._usual_start()
            if not self._agrees():
                self._start, self._start_tokens = "", 0

    def exact(self, example: Example) -> TokenCount:
        """The tokens of an example, which is rendered as in training.

        Raises:
            InvalidArgument: the model's template refuses this order of turns, or a text is not valid Unicode.

        """
        if isinstance(example, Preference):
            return TokenCount.of(self.chat.render_preference(example))
        return TokenCount.of(self.chat.render_example(example))

    def write(self, example: Example) -> Written:
        """Render an example as text.

        Raises:
            InvalidArgument: as `exact`.

        """
        found = None if self._backend is None or isinstance(example, Preference) else self._written(example)
        return Written(example, count=self.exact(example)) if found is None else found

    def is_surely_longer(self, example: Example, most_tokens: int) -> bool:
        """Whether an example certainly has more tokens, judged by its beginning, so that all of it need not be encoded.

        Only examples are looked at whose texts have very many characters. Names of control tokens count as one token
        here, and as several in training.
        """
        looked_at = _SURE_CHARACTERS_PER_TOKEN * most_tokens + _SURE_CHARACTERS
        if self._backend is None or characters_of(example) <= looked_at:
            return False
        begun = "".join(_read_texts(example))[:looked_at]
        return len(self._backend.encode(begun, add_special_tokens=False)) > most_tokens + _SURE_TOKENS

    def encode(self, written: Sequence[Written]) -> list[Any]:
        """The library's encodings of these texts, with as many threads as the library uses."""
        texts = [each.text for each in written if each.count is None]
        encodings: list[Any] = self._backend.encode_batch(texts, add_special_tokens=False) if texts else []
        return encodings

    def count(self, written: Sequence[Written], encodings: Sequence[Any]) -> list[TokenCount]:
        """The tokens of each example, from what `encode` made of them."""
        rest = iter(encodings)
        return [
            each.count or self._counted(each, next(rest)) or self._counted_apart(each) or self.exact(each.example)
            for each in written
        ]

    def _written(self, example: Conversation) -> Written | None:
        """The example as one text; None if its answers do not all stand in one."""
        text, borders, before = "", [], 0
        for index, turn in enumerate(example.turns):
            if not turn.is_learned:
                continue
            prompt = Conversation(turns=example.turns[:index], system_instruction=example.system_instruction)
            header = self.chat.prompt_text(prompt)
            if not header.startswith(text):
                return None
            text = header + self.chat.answer_text(turn.text)
            borders.append((before, len(header)))
            before = len(text)
        if _MARK in text or not text:
            return None
        if self._start and text.startswith(self._start) and borders[0][1] >= (skipped := len(self._start)):
            moved = [(max(0, end - skipped), begin - skipped) for end, begin in borders]
            return Written(example, text[skipped:], tuple(moved), self._start_tokens)
        return Written(example, text, tuple(borders))

    def _counted(self, written: Written, encoding: Any) -> TokenCount | None:
        """The tokens of a text; None if a token covers a border, or an earlier answer does not end as outputs do."""
        ending = self.chat.ending
        learned, begin = 0, 0
        for before, border in written.borders:
            if before:
                end = _token_at(encoding, before)
                if end is None or tuple(encoding.ids[end : end + len(ending)]) != ending:
                    return None
                learned += end - begin + len(ending)
            found = _token_at(encoding, border)
            if found is None:
                return None
            begin = found
        learned += len(encoding) + len(ending) - begin
        tokens = written.left_out + len(encoding) + len(ending)
        return TokenCount(tokens, learned, tokens)

    def _counted_apart(self, written: Written) -> TokenCount | None:
        """The tokens of a text with one answer, encoded apart from its header, as training does where a token covers
        the border; None if there are several answers.
        """
        if len(written.borders) != 1:
            return None
        [(_, border)] = written.borders
        header, output = (
            len(self._backend.encode(text, add_special_tokens=False))
            for text in (written.text[:border], written.text[border:])
        )
        learned = output + len(self.chat.ending)
        tokens = written.left_out + header + learned
        return TokenCount(tokens, learned, tokens)

    def _usual_start(self) -> tuple[str, int]:
        """What every pair begins with, up to the end of a control token, and its number of tokens.

        Many templates write a system instruction of their own there. Control tokens are cut out of a text before it is
        encoded, so that what stands behind one does not depend on what stands before it.
        """
        headers = [self.chat.prompt_text(Conversation(turns=each.turns[:1])) for each in _SAMPLES[:2]]
        common = "".join(one for one, _ in takewhile(lambda both: both[0] == both[1], zip(*headers, strict=False)))
        names = [token.content for token in self.chat.tokenizer.added_tokens_decoder.values() if token.special]
        end = max((common.rfind(name) + len(name) for name in names if name in common), default=0)
        return common[:end], len(self._backend.encode(common[:end], add_special_tokens=False))

    def _agrees(self) -> bool:
        """Whether the quick way counts the tokens of some samples as training makes them."""
        for sample in _SAMPLES:
            written = self._written(sample)
            if written is None:
                continue
            quick = self._counted(written, self.encode([written])[0])
            if quick is not None and quick != self.exact(sample):
                return False
        return True


def _read_texts(example: Example) -> Iterator[str]:
    """The texts of an example that its last row has, in order; of a preference, only the prompt's."""
    conversation = example.prompt if isinstance(example, Preference) else example
    yield conversation.system_instruction or ""
    last = max((index for index, turn in enumerate(conversation.turns) if turn.is_learned), default=-1)
    turns = conversation.turns if isinstance(example, Preference) else conversation.turns[: last + 1]
    for turn in turns:
        yield turn.text


def _token_at(encoding: Any, place: int) -> int | None:
    """The number of the token that begins at this character; None if none begins there: one covers the place before."""
    token: int | None = encoding.char_to_token(place)
    if token is None:
        return None
    begin, _ = encoding.token_to_chars(token)
    return token if begin == place else None
