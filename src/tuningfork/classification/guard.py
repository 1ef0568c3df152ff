"""Guards: language models that are asked whether a text is safe and answer in words, such as Llama Guard.

A guard gets the text in its own chat template. It answers `safe`, or `unsafe` and on the next line codes for the kinds
of harm (Inan et al. 2023, "Llama Guard"). The score is the probability of `unsafe` as the first word.

Shape suffixes: B rows (1), T tokens, V vocabulary.
"""

import inspect
import re
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedTokenizerBase

from tuningfork.classification.loading import RaterUnusable, load_model, load_tokenizer
from tuningfork.classification.windows import pieces_of
from tuningfork.domain.conversation import Conversation, Speaker, Turn
from tuningfork.domain.errors import InternalError
from tuningfork.domain.rater import GuardModel, Passage
from tuningfork.domain.safety import HARMLESS, Assessment, HarmCategory, HarmProbability
from tuningfork.modeling.chat_template import ChatFormat
from tuningfork.modeling.device.processor import native_dtype

MOST_BLANKS = 4
"""The most tokens of white space that a guard may write before its first word."""

MOST_CODE_TOKENS = 32

LEAST_WINDOW = 16

LEAST_CERTAINTY = 0.5
"""If `safe` and `unsafe` together have less probability than this, the model does not answer the question."""

_SHORTEST_ANSWER = Passage(text="a", speaker=Speaker.MODEL, asked="a")

_CODE = re.compile(r"[A-Za-z]+[0-9]+|[A-Za-z]{3,}")


class Guard:
    """Implements `classification.base.PassageRater`. Passages are rated one by one.

    Raises:
        RaterUnusable: the model cannot be loaded, or its context holds no text.
        InternalError: its chat template cannot be rendered.

    """

    most_together = 1

    def __init__(self, described: GuardModel, *, device: str) -> None:
        self._described = described
        place = torch.device(device)
        self._model = load_model(described, AutoModelForCausalLM, device=device, dtype=native_dtype(place))
        self._tokenizer = load_tokenizer(described)
        self._device = place
        self._chat = ChatFormat(self._tokenizer, template=described.template, end_ids=_end_ids(self._model))
        self._safe, self._unsafe = (_first_tokens(self._tokenizer, word).to(place) for word in ("safe", "unsafe"))
        self._verdict: list[int] = self._tokenizer("unsafe\n", add_special_tokens=False)["input_ids"]
        self._window = described.window_tokens
        self._codes = {code.casefold(): categories for code, categories in described.codes}
        self._window = self._longest()

    def rate(self, passages: Sequence[Passage]) -> list[Assessment]:
        """See `PassageRater.rate`."""
        return [self._rate(passage) for passage in passages]

    def _rate(self, passage: Passage) -> Assessment:
        assessment = HARMLESS
        for piece in self._pieces(passage.text, self._window):
            assessment = assessment.or_worse(self._ask(piece, passage))
        return assessment

    def _pieces(self, text: str, tokens: int) -> list[str]:
        encoded = self._tokenizer(
            text, add_special_tokens=False, return_offsets_mapping=True, split_special_tokens=True, verbose=False
        )
        return pieces_of(text, encoded["offset_mapping"], tokens)

    def _turns(self, piece: str, passage: Passage) -> tuple[Turn, ...]:
        if passage.speaker is Speaker.USER:
            return (Turn.said(Speaker.USER, piece),)
        # The guard gets only the end of a long question, which is nearest to the answer.
        asked = self._pieces(passage.asked, self._window // 2)[-1]
        return (Turn.said(Speaker.USER, asked), Turn.said(Speaker.MODEL, piece))

    def _longest(self) -> int:
        """The most tokens of a piece: it must fit into the model's context with a question of half as many tokens."""
        context = getattr(self._model.config.get_text_config(), "max_position_embeddings", None)
        if context is None:
            return self._described.window_tokens
        frame = len(self._chat.render_prompt(Conversation(turns=self._turns("a", _SHORTEST_ANSWER))))
        longest: int = min(self._described.window_tokens, (context - frame - MOST_BLANKS - MOST_CODE_TOKENS) * 2 // 3)
        if longest < LEAST_WINDOW:
            raise RaterUnusable(
                f"the rater's model {self._described.location} has a context of {context} tokens, of which its chat "
                f"template takes {frame}; that leaves no room for a text"
            )
        return longest

    @torch.inference_mode()
    def _ask(self, piece: str, passage: Passage) -> Assessment:
        prompt = self._chat.render_prompt(Conversation(turns=self._turns(piece, passage)))
        answer = _Answer(self._model, prompt, self._device)
        for _ in range(MOST_BLANKS):
            if self._chat.spell([answer.likeliest]).strip():
                break
            answer.say([answer.likeliest])
        probability = self._described.cut_points.probability(self._score(answer))
        if probability is HarmProbability.NEGLIGIBLE:
            return HARMLESS
        answer.say(self._verdict)
        return Assessment.of(dict.fromkeys(self._categories(self._read_codes(answer)), probability))

    def _score(self, answer: "_Answer") -> float:
        """The probability of `unsafe` as the next word, relative to `safe` and `unsafe` together."""
        probabilities_V = answer.logits_V.softmax(-1)
        safe, unsafe = (float(probabilities_V[ids].sum()) for ids in (self._safe, self._unsafe))
        if not safe + unsafe >= LEAST_CERTAINTY:
            raise InternalError(
                f"the rater's model {self._described.location} answered neither 'safe' nor 'unsafe': it is no guard, "
                "or needs a chat template that asks for one of these words"
            )
        return unsafe / (safe + unsafe)

    def _read_codes(self, answer: "_Answer") -> list[str]:
        said: list[int] = []
        while len(said) < MOST_CODE_TOKENS and answer.likeliest not in self._chat.end_of_turn_ids:
            said.append(answer.likeliest)
            answer.say(said[-1:])
        return _CODE.findall(self._chat.spell(said))

    def _categories(self, codes: Iterable[str]) -> set[HarmCategory]:
        """The harm categories of these codes; a missing or unknown code counts as the description's `otherwise`."""
        found = [self._codes.get(code.casefold(), self._described.otherwise) for code in codes]
        return {category for categories in found or [self._described.otherwise] for category in categories}


class _Answer:
    """A model's answer to a prompt, extended token by token. `logits_V` are the logits of the next token."""

    def __init__(self, model: Any, prompt: list[int], device: torch.device) -> None:
        self._model = model
        self._device = device
        # Transformers 5.24 renamed the argument and the output, and warns of the former name.
        renamed = "cache" in inspect.signature(model.forward).parameters
        self._cache_name = "cache" if renamed else "past_key_values"
        self._cache: Any = None
        self.say(prompt)

    @property
    def likeliest(self) -> int:
        """The most likely next token."""
        return int(self.logits_V.argmax())

    def say(self, ids: Sequence[int]) -> None:
        """Append these tokens to the answer and compute the logits that follow."""
        ids_1T = torch.tensor([list(ids)], device=self._device)
        output = self._model(input_ids=ids_1T, use_cache=True, **{self._cache_name: self._cache})
        self._cache = output[self._cache_name]
        self.logits_V: Tensor = output.logits[0, -1].float()


def _first_tokens(tokenizer: PreTrainedTokenizerBase, word: str) -> Tensor:
    """The ids of all tokens that the word can begin with, with or without white space before it."""
    texts = tokenizer.batch_decode([[token] for token in range(len(tokenizer))], skip_special_tokens=True)
    return torch.tensor([token for token, text in enumerate(texts) if text.strip() and word.startswith(text.strip())])


def _end_ids(model: Any) -> tuple[int, ...]:
    given = getattr(model.generation_config, "eos_token_id", None)
    if given is None:
        return ()
    return (given,) if isinstance(given, int) else tuple(given)
