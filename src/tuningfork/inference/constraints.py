"""Constrained decoding: which tokens an answer format allows next, so that a model cannot write anything else.

A grammar is compiled once for a base's vocabulary and kept. Each step then tests the bytes of all tokens, which takes
some hundredths of a millisecond for a vocabulary of 150,000 tokens (docs/adr/0009-constrained-decoding.md).

Shape suffixes: W words of 32 bits, one bit a token.
"""

import re
import threading
from collections import OrderedDict
from dataclasses import dataclass

import torch
from llguidance import LLMatcher, LLParserLimits, LLTokenizer
from torch import Tensor

from tuningfork.domain.errors import InvalidArgument
from tuningfork.domain.generation import AnswerFormat, JsonAnswer
from tuningfork.inference.answer_schemas import grammar_of, refusal, texts_of
from tuningfork.inference.closing import FIRST_STEPS, Closer, KnownTexts, Place
from tuningfork.modeling.chat_template import Chat

# Verbose messages of the compiler would contain the whole schema.
_LIMITS = LLParserLimits(verbose_errors=False)
_SHOWN_CHARACTERS = 300


_FAR_TOKENS = 256
"""With more tokens left than the known completion takes and so many, a token is taken even if no completion was found
after it."""
_PAUSE_TOKENS = 16
"""So many tokens after no completion was found, one is sought again."""


@dataclass(frozen=True, slots=True)
class Compiled:
    """A compiled answer format.

    Attributes:
        matcher: the state of its grammar at the beginning.
        place: where an answer begins.
        texts: what strings of an answer may be, or the answer itself (`texts_of`).
        shortest: the shortest answer that was found; None: none was.

    """

    matcher: LLMatcher
    place: Place
    texts: KnownTexts
    shortest: list[int] | None


class Constraint:
    """The state of one answer in its grammar.

    An answer that could not be completed within its limit of tokens any more is made to close what it has opened. A
    completion is known before each token, unless none is found in a short time.

    Args:
        form: the format of the answer.
        closer: finds completions.
        most_tokens: the most tokens of the answer; None: it may go on for ever.

    Attributes:
        fault: why the grammar failed on this answer, or None. Some schemas turn out to be too complex only while an
            answer is generated.

    """

    def __init__(self, form: Compiled, closer: Closer, most_tokens: int | None = None) -> None:
        self._matcher = form.matcher.deep_copy()
        self._closer = closer
        self._place = form.place
        self._texts = form.texts
        self._completion = form.shortest
        # If even the shortest answer is too long, or none is known, the limit cuts the answer.
        fits = most_tokens is not None and form.shortest is not None and len(form.shortest) <= most_tokens
        self._left = most_tokens if fits else None
        self._pause = 0
        self._checked: tuple[int, list[int] | None] | None = None
        self.fault: InvalidArgument | None = None

    @property
    def complete(self) -> bool:
        """Whether the answer is complete: only the end of the turn may follow."""
        return self.fault is None and self._matcher.is_stopped()

    @property
    def may_end(self) -> bool:
        """Whether the answer is complete, even if it may go on."""
        return self.fault is None and (self._matcher.is_stopped() or self._matcher.is_accepting())

    def allowed(self) -> Tensor:
        """The tokens that may come next, as int32 words `W` on the CPU: bit i of word w is token 32 w + i.

        Tokens that end a turn are allowed wherever the answer may end. After a fault no token is allowed.
        """
        mask_W = torch.frombuffer(bytearray(self._matcher.compute_bitmask()), dtype=torch.int32)
        self._look()
        return mask_W if self.fault is None else torch.zeros_like(mask_W)

    def affordable(self, token: int) -> int:
        """The token itself, or the next one of a completion if after it the answer could not be completed in time.

        Args:
            token: one that is allowed, or the end of the turn.

        """
        left = self._left
        if left is None or self.fault is not None or not self._closer.bytes_of(token):
            return token
        known = self._known(left)
        if known is None:
            return token
        if known and known[0] == token:
            return token
        after = self._matcher.deep_copy()
        if not after.consume_token(token):
            # The grammar itself fails here, which `accept` reports.
            return token
        rest = self._closer.still_completes(after, known)
        if (rest is None or len(rest) >= left) and not self._pause:
            rest = self._sought(after, self._place.after(self._closer.bytes_of(token)))
        if len(rest) >= left if rest is not None else left - len(known) <= _FAR_TOKENS:
            return known[0] if known else self._closer.end
        self._checked = token, rest
        return token

    def _known(self, left: int) -> list[int] | None:
        """A completion from here of at most `left` tokens, or None. It is sought now and then if it is not known."""
        if self._completion is None and not self._pause:
            found = self._sought(self._matcher, self._place)
            if found is not None and len(found) <= left:
                self._completion = found
            else:
                self._pause = _PAUSE_TOKENS
        return self._completion

    def _sought(self, matcher: LLMatcher, place: Place) -> list[int] | None:
        """A completion from this state on, or None; then none is sought for some tokens."""
        found = self._closer.completion(matcher, place, self._texts)
        if found is None:
            self._pause = _PAUSE_TOKENS
        return found

    def accept(self, token: int) -> None:
        """Advance the grammar by a token that was allowed."""
        self._matcher.consume_token(token)
        self._look()
        if self._left is None:
            return
        self._left -= 1
        self._pause = max(0, self._pause - 1)
        self._place = self._place.after(self._closer.bytes_of(token))
        known, checked = self._completion, self._checked
        self._completion = self._checked = None
        if known and known[0] == token:
            self._completion = known[1:]
        elif checked is not None and checked[0] == token:
            self._completion = checked[1]

    def _look(self) -> None:
        if self._matcher.is_error():
            self.fault = _cannot_follow(self._matcher.get_error())


class Grammars:
    """The compiled answer formats of one base. Thread-safe, so that a format can be compiled while the engine runs.

    Args:
        chat: the base's chat format; its tokenizer must be a fast one whose tokens decode to known bytes.
        vocabulary_size: the width of the logits, which may exceed the number of the tokenizer's tokens.
        capacity: how many compiled grammars are kept; the least recently used one is dropped first.

    """

    def __init__(self, chat: Chat, *, vocabulary_size: int, capacity: int = 64) -> None:
        self._chat = chat
        self._vocabulary_size = vocabulary_size
        self._capacity = capacity
        self._kept: OrderedDict[AnswerFormat, Compiled] = OrderedDict()
        self._tokenizer: LLTokenizer | None = None
        self._closer: Closer | None = None
        self._keeping = threading.Lock()
        self._compiling = threading.Lock()

    def has(self, answer_format: AnswerFormat) -> bool:
        """Whether this format is compiled already, so that `begin` returns at once."""
        with self._keeping:
            return answer_format in self._kept

    def begin(self, answer_format: AnswerFormat, most_tokens: int | None = None) -> Constraint:
        """The constraint for a new answer; compiles the format if it is not compiled yet.

        Args:
            answer_format: what the answer has to look like.
            most_tokens: the most tokens of the answer, within which it is completed if possible; None: any number.

        Raises:
            InvalidArgument: the format cannot be enforced: it contradicts itself, uses something unsupported or is too
                large, or the bytes of the tokenizer's tokens are not known.

        """
        with self._keeping:
            known = self._kept.get(answer_format)
            if known is not None:
                self._kept.move_to_end(answer_format)
                return self._constraint(known, most_tokens)
        with self._compiling:
            compiled = self._compile(answer_format)
        with self._keeping:
            self._kept[answer_format] = compiled
            while len(self._kept) > self._capacity:
                self._kept.popitem(last=False)
        return self._constraint(compiled, most_tokens)

    def _constraint(self, compiled: Compiled, most_tokens: int | None) -> Constraint:
        closer = self._closer
        assert closer is not None  # noqa: S101 - made with the tokenizer
        return Constraint(compiled, closer, most_tokens)

    def _compile(self, answer_format: AnswerFormat) -> Compiled:
        tokens, lead = self._tokens(), self._chat.lead
        matcher = LLMatcher(tokens, grammar_of(answer_format, lead=lead), log_level=0, limits=_LIMITS)
        # The compiler reports some faults only at the first token after the lead, so a copy advances past it.
        ahead = matcher.deep_copy()
        if not matcher.is_error():
            ahead.consume_tokens(tokens.tokenize_str(lead))
            ahead.compute_bitmask()
        if ahead.is_error():
            raise _cannot_follow(ahead.get_error())
        place, texts = (
            Place(is_json=isinstance(answer_format, JsonAnswer)),
            KnownTexts(texts_of(answer_format, lead=lead)),
        )
        closer = self._closer
        assert closer is not None  # noqa: S101 - made with the tokenizer
        return Compiled(matcher, place, texts, closer.completion(matcher, place, texts, steps=FIRST_STEPS))

    def _tokens(self) -> LLTokenizer:
        if self._tokenizer is None:
            backend = getattr(self._chat.tokenizer, "backend_tokenizer", None)
            try:
                if backend is None:
                    raise ValueError("it is not one of the tokenizers library")  # noqa: TRY301 - told like the others
                size = max(self._vocabulary_size, backend.get_vocab_size(with_added_tokens=True))
                ends = sorted(self._chat.end_of_turn_ids)
                tokenizer = LLTokenizer(backend.to_str(), n_vocab=size, eos_token=ends)
                self._closer = Closer(tokenizer, size, ends)
                self._tokenizer = tokenizer
            except ValueError as error:
                raise refusal(
                    f"this base model cannot be held to a form: the bytes of its tokenizer's tokens are not known "
                    f"({error}). Leave out response_mime_type and the schema"
                ) from error
        return self._tokenizer


def _cannot_follow(error: str) -> InvalidArgument:
    # Cut the grammar that the compiler quotes, and the position in it, from its message.
    [said, *_] = re.split(r"\n\s*\d+ \| ", error.replace("<non-verbose/>", ""))
    said = re.sub(r"^at \d+\(\d+\): failed to compile JSON schema: ", "", " ".join(said.split()))
    said = said.replace("NoExtensionBias", "no answer satisfies it")
    shortened = said if len(said) <= _SHOWN_CHARACTERS else f"{said[:_SHOWN_CHARACTERS]}..."
    return refusal(f"the schema cannot be enforced: {shortened}. Change or simplify it")
