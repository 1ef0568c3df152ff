"""One rendering for training and serving: a conversation as tokens, cut where the model begins to speak.

A training example is a header (all that is given) and an output (all that is learned). The header of an example is, by
construction, the prompt that serving renders for the same text, and the output ends with the token that ends a turn.
"""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NoReturn

import jinja2
from jinja2.ext import Extension, loopcontrols
from jinja2.nodes import Node
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment
from transformers import PreTrainedTokenizerBase

from tuningfork.domain.dataset import Example
from tuningfork.domain.errors import FieldViolation, InternalError, InvalidArgument
from tuningfork.domain.generation import Prompt, Speaker, Turn

DEFAULT_TEMPLATE = """\
{{- bos_token }}
{%- set names = {'system': 'System', 'user': 'User', 'assistant': 'Assistant'} %}
{%- for message in messages %}
{{- names[message['role']] + ':\\n' + message['content'] }}
{{- eos_token if message['role'] == 'assistant' }}
{{- '\\n\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- 'Assistant:\\n' }}{% endif %}"""
"""For models that bring no template: labelled turns, each answer ended by the model's end-of-sequence token.

A newline, not a space, ends the header, so that an answer's first word is cut into tokens as it would be anywhere.
"""

Message = dict[str, str]
"""One turn as templates know it: `role` (system, user or assistant) and `content`."""

_ROLES = {Speaker.USER: "user", Speaker.MODEL: "assistant"}
_QUESTION, _ANSWER, _INSTRUCTION = "question", "fork", "be in tune"
"""Stand-ins whose places in a rendering show what the template writes around them."""

# Some templates write today's date into the prompt (Llama 3.2's). A model tuned today and called tomorrow would meet a
# prompt that it was not tuned on, so the clock of templates stands still, at the date they fall back to themselves.
_TEMPLATE_DATE = datetime(2024, 7, 26)  # noqa: DTZ001  a calendar date; no zone is shown

# What untrusted templates can raise in a sandbox; all of it means that they do not render.
_TEMPLATE_FAULTS = (jinja2.TemplateError, TypeError, ValueError, AttributeError, LookupError, ArithmeticError)


@dataclass(frozen=True, slots=True)
class RenderedExample:
    """One example as token ids. The loss is on `output`, whose last token ends the turn."""

    header: tuple[int, ...]
    output: tuple[int, ...]

    @property
    def first_target(self) -> int:
        """Where the loss begins, at least 1: a first token that nothing comes before cannot be learned."""
        return max(1, len(self.header))


class ChatFormat:
    """How one base model writes conversations.

    Control tokens that appear in what people wrote are encoded as plain text: only the template opens and ends turns.
    Models that can think before they answer are told not to (`enable_thinking=False`): training outputs hold answers.

    Args:
        tokenizer: the model's own.
        template: a Jinja template that replaces the tokenizer's; None: the tokenizer's, else `DEFAULT_TEMPLATE`.
        end_ids: token ids that end generation by the model's generation config.

    Raises:
        InternalError: the template cannot be rendered, or no token is known that ends a turn.

    Attributes:
        tokenizer: as given.
        end_of_turn_ids: generation stops at any of these; none of them is part of the answer.
        lead: what the template writes between header and output (" " in Llama 2's); not part of the answer either.

    """

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, *, template: str | None = None, end_ids: Iterable[int] = ()
    ) -> None:
        self.tokenizer = tokenizer
        self._text = _PlainText(tokenizer)
        source, self._variables = _choose_template(tokenizer, template)
        try:
            self._template = _environment().from_string(source)
            self._prefill, self.lead, closing = self._frame()
        except _TEMPLATE_FAULTS as error:
            raise InternalError(
                f"the chat template of the base model cannot be rendered: {error}. Set a chat_template of your own in "
                "the model's catalog entry"
            ) from error
        self._has_system_role = self._try_system_role()
        known = {*end_ids, *([tokenizer.eos_token_id] if isinstance(tokenizer.eos_token_id, int) else [])}
        self._ending = self._find_ending(closing, known)
        self.end_of_turn_ids = frozenset({*known, self._ending[-1]})

    def render_prompt(self, prompt: Prompt) -> list[int]:
        """The tokens up to where the model speaks.

        Raises:
            InvalidArgument: the model's template refuses this order of turns.

        """
        return self._text.encode(self._header(prompt))

    def render_example(self, example: Example) -> RenderedExample:
        """The tokens of one example; the header is `render_prompt` of its input as a single turn.

        The output keeps all its white space, also where the template would strip it, and is encoded as it follows the
        header, except where a token would reach across the border: serving always ends the header there.
        """
        header = self._header(Prompt(turns=(Turn(Speaker.USER, example.text_input),)))
        answer = self.lead + self._text.quote(example.output)
        header_ids = self._text.encode(header)
        whole_ids = self._text.encode(header + answer)
        if whole_ids[: len(header_ids)] == header_ids:
            output_ids = whole_ids[len(header_ids) :]
        else:
            output_ids = self._text.encode(answer)
        return RenderedExample(tuple(header_ids), (*output_ids, *self._ending))

    def spell(self, ids: Sequence[int]) -> str:
        """The text of token ids as it stands, control tokens by their names."""
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False))

    def _header(self, prompt: Prompt) -> str:
        try:
            return self._render(self._messages(prompt), speak=True) + self._prefill
        except _TEMPLATE_FAULTS as error:
            reason = f"the model's chat template does not take these turns: {error}"
            raise InvalidArgument(reason, violations=(FieldViolation(field="prompt", description=reason),)) from error

    def _messages(self, prompt: Prompt) -> list[Message]:
        messages = [{"role": _ROLES[turn.speaker], "content": self._text.quote(turn.text)} for turn in prompt.turns]
        if not prompt.system_instruction:
            return messages
        instruction = self._text.quote(prompt.system_instruction)
        if self._has_system_role:
            return [{"role": "system", "content": instruction}, *messages]
        first = next((message for message in messages if message["role"] == "user"), None)
        if first is not None:
            first["content"] = f"{instruction}\n\n{first['content']}"
        return messages

    def _render(self, messages: list[Message], *, speak: bool) -> str:
        return self._template.render(
            **self._variables,
            messages=messages,
            add_generation_prompt=speak,
            enable_thinking=False,
            tools=None,
            documents=None,
        )

    def _frame(self) -> tuple[str, str, str]:
        """What the template writes around an answer: to end the header with, before the answer, after it.

        The first is what a finished turn has beyond the generation prompt, such as an empty thinking block.
        """
        question = [{"role": "user", "content": _QUESTION}]
        header = self._render(question, speak=True)
        full = self._render([*question, {"role": "assistant", "content": _ANSWER}], speak=False)
        before, found, closing = full.rpartition(_ANSWER)
        if not found:
            raise ValueError("it leaves out what the assistant says")
        opening = before.removeprefix(header) if before.startswith(header) else ""
        # Tokenizers join a space to the word that follows, so a space belongs to the answer's first token.
        prefill = opening.rstrip(" ")
        return prefill, opening[len(prefill) :], closing

    def _try_system_role(self) -> bool:
        system = {"role": "system", "content": _INSTRUCTION}
        try:
            return _INSTRUCTION in self._render([system, {"role": "user", "content": _QUESTION}], speak=True)
        except _TEMPLATE_FAULTS:
            return False

    def _find_ending(self, closing: str, known: set[int]) -> tuple[int, ...]:
        """The tokens from the answer's end to the one that ends the turn; white space before that is not learned."""
        ids = self._text.encode(closing.lstrip())
        special = set(self.tokenizer.all_special_ids)
        for ends in (known, special):
            place = next((index for index, token in enumerate(ids) if token in ends), None)
            if place is not None:
                return tuple(ids[: place + 1])
        if isinstance(self.tokenizer.eos_token_id, int):
            return (self.tokenizer.eos_token_id,)
        raise InternalError(
            "no token is known that ends a turn: the chat template writes none after an answer, and the tokenizer has "
            "no eos_token. Set an eos_token in tokenizer_config.json, or a chat_template in the model's catalog entry"
        )


class _PlainText:
    """Text to token ids, where quoted parts never become control tokens.

    A quoted control token travels through the template as a mark of private-use characters around its number.
    Thread-safe.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        special = {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
        # Longest first, so that one that begins like another is found whole.
        self._literals = [*sorted(special, key=len, reverse=True), "\ue000", "\ue001"]
        self._numbers = {literal: number for number, literal in enumerate(self._literals)}
        self._found = re.compile("|".join(map(re.escape, self._literals)))
        self._mark = re.compile("\ue000([0-9]+)\ue001")
        # Spelled in advance: it switches the tokenizer over, which would change what another thread encodes meanwhile.
        self._spelled = [self._ids(literal, split_special_tokens=True) for literal in self._literals]
        self._ids("a")

    def quote(self, text: str) -> str:
        """Replace every control token (and every stray mark) by a mark.

        Raises:
            InvalidArgument: half a surrogate pair, which JSON can carry and UTF-8 cannot.

        """
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise InvalidArgument(
                f"the text is not Unicode: character {error.start} is {text[error.start]!a}, half a surrogate pair"
            ) from error
        return self._found.sub(lambda match: f"\ue000{self._numbers[match[0]]}\ue001", text)

    def encode(self, text: str) -> list[int]:
        """The ids of a rendered text; marks become the characters of what they stand for."""
        pieces = self._mark.split(text)
        ids = self._ids(pieces[0])
        for number, piece in zip(pieces[1::2], pieces[2::2], strict=True):
            ids += self._spelled[int(number)] + self._ids(piece)
        return ids

    def _ids(self, text: str, **how: bool) -> list[int]:
        # `verbose` would warn of texts longer than the context, which are refused elsewhere.
        encoded = self._tokenizer(text, add_special_tokens=False, verbose=False, **how)
        return list(encoded["input_ids"]) if text else []


def _choose_template(tokenizer: PreTrainedTokenizerBase, template: str | None) -> tuple[str, dict[str, Any]]:
    variables = dict(tokenizer.special_tokens_map)
    if template is None and tokenizer.chat_template is not None:
        return tokenizer.get_chat_template(), variables
    if template is None and tokenizer.bos_token_id not in tokenizer("")["input_ids"]:
        # Such a model never saw its BOS token at the start of a text.
        variables["bos_token"] = ""
    return template or DEFAULT_TEMPLATE, variables


class _GenerationBlock(Extension):
    """`{% generation %}`, by which some templates mark what the model says; it changes nothing in the text."""

    tags = {"generation"}  # noqa: RUF012  Jinja's type

    def parse(self, parser: Parser) -> list[Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _environment() -> ImmutableSandboxedEnvironment:
    """Jinja as chat templates expect it (transformers' documentation, "Writing a chat template"), sandboxed."""
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_GenerationBlock, loopcontrols]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _refuse
    environment.globals["strftime_now"] = _TEMPLATE_DATE.strftime
    return environment


def _to_json(value: Any, indent: int | None = None) -> str:
    # Jinja's own filter escapes HTML.
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _refuse(message: str) -> NoReturn:
    raise jinja2.TemplateError(message)
