"""Constrained decoding: which tokens an answer format allows next, so that a model cannot write anything else.

A grammar is compiled once for a base's vocabulary and kept. Each step then tests the bytes of all tokens, which takes
some hundredths of a millisecond for a vocabulary of 150,000 tokens (docs/adr/0009-constrained-decoding.md).

Shape suffixes: W words of 32 bits, one bit a token.
"""

import re
import threading
from collections import OrderedDict

import torch
from llguidance import LLMatcher, LLParserLimits, LLTokenizer
from torch import Tensor

from tuningfork.domain.errors import InvalidArgument
from tuningfork.domain.generation import AnswerFormat, JsonAnswer
from tuningfork.inference.answer_schemas import grammar_of, refusal
from tuningfork.inference.closing import Closer, Place
from tuningfork.modeling.chat_template import Chat

# Verbose messages of the compiler would contain the whole schema.
_LIMITS = LLParserLimits(verbose_errors=False)
_SHOWN_CHARACTERS = 300


_SLACK_A_TOKEN = 64
"""While an answer could go on for so many tokens and still be completed within its limit, one token in each so many is
checked for that, so that few have to be. From the last ones each is."""


class Constraint:
    """The state of one answer in its grammar.

    An answer that could not be completed within its limit of tokens any more is made to close what it has opened.

    Args:
        matcher: the state of the grammar.
        closer: finds completions.
        place: where the answer begins in JSON; None: it is no JSON.
        most_tokens: the most tokens of the answer; None: it may go on for ever.

    Attributes:
        fault: why the grammar failed on this answer, or None. Some schemas turn out to be too complex only while an
            answer is generated.

    """

    def __init__(
        self, matcher: LLMatcher, closer: Closer, place: Place | None = None, most_tokens: int | None = None
    ) -> None:
        self._matcher = matcher
        self._closer = closer
        self._place = place
        self._left = most_tokens
        self._unchecked = 0
        self._completion: list[int] | None = None
        self._checked: tuple[int, list[int]] | None = None
        self.fault: InvalidArgument | None = None

    @property
    def complete(self) -> bool:
        """Whether the answer is complete: only the end of the turn may follow."""
        return self.fault is None and self._matcher.is_stopped()

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
        if left is None or self._unchecked or self.fault is not None or not self._closer.bytes_of(token):
            return token
        if self._completion is None:
            self._completion = self._closer.completion(self._matcher, self._place, left)
        if self._completion is None:
            # Even the shortest answer is too long, so the limit cuts it.
            self._left = None
            return token
        after = self._matcher.deep_copy()
        if not after.consume_token(token):
            # The grammar itself fails here, which `accept` reports.
            return token
        place = self._place and self._place.after(self._closer.bytes_of(token))
        completion = self._closer.completion(after, place, left - 1)
        if completion is None:
            return self._completion[0] if self._completion else self._closer.end
        self._checked = token, completion
        return token

    def accept(self, token: int) -> None:
        """Advance the grammar by a token that was allowed."""
        self._matcher.consume_token(token)
        self._look()
        if self._place is not None:
            self._place = self._place.after(self._closer.bytes_of(token))
        if self._left is not None:
            self._count(token, self._left - 1)

    def _count(self, token: int, left: int) -> None:
        """Note that so many tokens are left after this one, and when the next one has to be checked."""
        known, checked = self._completion, self._checked
        self._left, self._completion, self._checked = left, None, None
        if checked is not None and checked[0] == token:
            self._completion = checked[1]
            self._unchecked = (left - len(checked[1])) // _SLACK_A_TOKEN
        elif known and known[0] == token:
            self._completion = known[1:]
        elif self._unchecked:
            self._unchecked -= 1
        if self._unchecked:
            # The tokens that are not checked lead elsewhere.
            self._completion = None

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
        self._kept: OrderedDict[AnswerFormat, LLMatcher] = OrderedDict()
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
                return self._constraint(known, answer_format, most_tokens)
        with self._compiling:
            compiled = self._compile(answer_format)
        with self._keeping:
            self._kept[answer_format] = compiled
            while len(self._kept) > self._capacity:
                self._kept.popitem(last=False)
        return self._constraint(compiled, answer_format, most_tokens)

    def _constraint(self, matcher: LLMatcher, answer_format: AnswerFormat, most_tokens: int | None) -> Constraint:
        closer = self._closer
        assert closer is not None  # noqa: S101 - made with the tokenizer
        place = Place() if isinstance(answer_format, JsonAnswer) else None
        return Constraint(matcher.deep_copy(), closer, place, most_tokens)

    def _compile(self, answer_format: AnswerFormat) -> LLMatcher:
        tokens, lead = self._tokens(), self._chat.lead
        matcher = LLMatcher(tokens, grammar_of(answer_format, lead=lead), log_level=0, limits=_LIMITS)
        # The compiler reports some faults only at the first token after the lead, so a copy advances past it.
        ahead = matcher.deep_copy()
        if not matcher.is_error():
            ahead.consume_tokens(tokens.tokenize_str(lead))
            ahead.compute_bitmask()
        if ahead.is_error():
            raise _cannot_follow(ahead.get_error())
        return matcher

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
