"""Renders conversations as tokens, in the same way for training and serving.

The output of a model turn is what training teaches: the tokens of the turn, and the token that ends it. The header is
all tokens before the output: by construction the tokens that serving renders as the prompt.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import jinja2
from transformers import PreTrainedTokenizerBase

from tuningfork.domain.conversation import Conversation, Preference, Speaker
from tuningfork.domain.errors import FieldViolation, InternalError, InvalidArgument
from tuningfork.domain.turn_labels import NEXT_TURN
from tuningfork.modeling.plain_text import PlainText
from tuningfork.modeling.template_environment import template_environment
from tuningfork.modeling.token_bytes import token_bytes

DEFAULT_TEMPLATE = """\
{{- bos_token }}
{%- set names = {'system': 'System', 'user': 'User', 'assistant': 'Assistant'} %}
{%- for message in messages %}
{{- names[message['role']] + ':\\n' + message['content'] }}
{{- eos_token if message['role'] == 'assistant' }}
{{- '\\n\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- 'Assistant:\\n' }}{% endif %}"""
"""The template for models without one: labelled turns, each answer ended by the model's end-of-sequence token. The
labels are those of `domain.turn_labels`.

The header ends with a newline, since after a space an answer's first word would be split into unusual tokens.
"""

Message = dict[str, Any]
"""A turn as chat templates expect it: `role` (system, user or assistant) and `content`, a text. Where functions are
called, also `tool_calls`, and the role tool.
"""

_MOST_COPIES, _MOST_ADDED_CHARACTERS = 8, 1_000_000
"""A template may write eight times as many characters as the turns have, and a million more."""

_ROLES = {Speaker.USER: "user", Speaker.MODEL: "assistant"}
_QUESTION, _ANSWER, _INSTRUCTION = "question", "fork", "be in tune"
"""Sample texts that are rendered and searched for, to find out what the template writes around them."""

TEMPLATE_FAULTS = (
    *(jinja2.TemplateError, TypeError, ValueError, AttributeError, LookupError, ArithmeticError),
    *(RecursionError, MemoryError),
)
"""What untrusted templates can raise in a sandbox; each means that the template cannot be rendered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderedRow:
    """One row of tokens to train on. `outputs` has, for each turn to learn, where its output begins and ends, in order.

    The row ends with its last output. The tokens before an output are the prompt that serving renders for it.
    """

    ids: tuple[int, ...]
    outputs: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, header: Sequence[int], output: Sequence[int]) -> "RenderedRow":
        """A row with one turn to learn."""
        ids = (*header, *output)
        return cls(ids=ids, outputs=((len(header), len(ids)),))

    @property
    def header(self) -> tuple[int, ...]:
        """The tokens before the first output."""
        return self.ids[: self.outputs[0][0]]

    @property
    def output(self) -> tuple[int, ...]:
        """The tokens of the last output, whose last one ends the turn."""
        begin, end = self.outputs[-1]
        return self.ids[begin:end]

    @property
    def targets(self) -> tuple[tuple[int, int], ...]:
        """Where the targets begin and end: the outputs, except a row's first token, which no token predicts."""
        return tuple((max(1, begin), end) for begin, end in self.outputs)


class Chat(Protocol):
    """Renders conversations as one base model writes them: a `ChatFormat`, or a process that has one."""

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """See `ChatFormat.tokenizer`."""
        ...

    @property
    def end_of_turn_ids(self) -> frozenset[int]:
        """See `ChatFormat.end_of_turn_ids`."""
        ...

    @property
    def lead(self) -> str:
        """See `ChatFormat.lead`."""
        ...

    @property
    def next_turn_labels(self) -> tuple[str, ...]:
        """See `ChatFormat.next_turn_labels`."""
        ...

    def render_prompt(self, prompt: Conversation) -> list[int]:
        """See `ChatFormat.render_prompt`."""
        ...

    def render_example(self, example: Conversation) -> tuple[RenderedRow, ...]:
        """See `ChatFormat.render_example`."""
        ...

    def render_preference(self, preference: Preference) -> tuple[RenderedRow, RenderedRow]:
        """See `ChatFormat.render_preference`."""
        ...

    def tokens_of(self, text: str) -> tuple[tuple[int, ...], tuple[bytes, ...]]:
        """See `ChatFormat.tokens_of`."""
        ...

    def spell(self, ids: Sequence[int]) -> str:
        """See `ChatFormat.spell`."""
        ...


class ChatFormat:
    """How one base model writes conversations.

    The names of control tokens in texts that people wrote are encoded as plain text, so that only the template begins
    and ends turns. Models that can think before they answer are set not to (`enable_thinking=False`), since the outputs
    of training contain only answers.

    Args:
        tokenizer: the model's tokenizer.
        template: a Jinja template that replaces the tokenizer's; None: the tokenizer's, or `DEFAULT_TEMPLATE` if the
            tokenizer has none.
        end_ids: token ids that end generation according to the model's generation config.

    Raises:
        InternalError: the template cannot be rendered, or no token is known that ends a turn.

    Attributes:
        tokenizer: the model's tokenizer.
        end_of_turn_ids: generation stops at any of these tokens, which is not part of the answer.
        lead: what the template writes before an answer (" " in Llama 2's); it is not part of the answer either.
        ending: the tokens that end an answer, the last ones of every output.
        next_turn_labels: texts that begin the turn after an answer. A model without a template of its own may write
            them after its answer, and go on; a model with one writes a token that ends the turn.

    """

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, *, template: str | None = None, end_ids: Iterable[int] = ()
    ) -> None:
        self.tokenizer = tokenizer
        self._text = PlainText(tokenizer)
        source, self._variables = _choose_template(tokenizer, template)
        self.next_turn_labels = NEXT_TURN if source == DEFAULT_TEMPLATE else ()
        try:
            self._template = template_environment().from_string(source)
            self._prefill, self.lead, closing = self._frame()
        except TEMPLATE_FAULTS as error:
            raise InternalError(
                f"the chat template of the base model cannot be rendered: {_said(error)}. Set a chat_template of your "
                "own in the model's catalog entry"
            ) from error
        self._has_system_role = self._try_system_role()
        known = {*end_ids, *([tokenizer.eos_token_id] if isinstance(tokenizer.eos_token_id, int) else [])}
        self.ending = self._find_ending(closing, known)
        self.end_of_turn_ids = frozenset({*known, self.ending[-1]})

    def render_prompt(self, prompt: Conversation) -> list[int]:
        """The tokens of a prompt, up to where the model's answer begins.

        Raises:
            InvalidArgument: the model's template refuses this order of turns.

        """
        return self._text.encode(self.prompt_text(prompt))

    def render_example(self, example: Conversation) -> tuple[RenderedRow, ...]:
        """Render a conversation as one or more rows of tokens to train on, in the order of its turns.

        Two turns to learn are in one row if the prompt that serving renders for the later one begins with the prompt
        and output of the earlier one, token by token. Some templates render an earlier answer differently from the way
        in which the model generated it: they trim it, leave out its empty thinking, or move the system instruction to
        the last question. Then the later turn begins another row. Turns after the last one to learn are left out.

        Raises:
            InvalidArgument: the model's template refuses this order of turns, or a text is not valid Unicode.

        """
        rows: list[RenderedRow] = []
        for index, turn in enumerate(example.turns):
            if not turn.is_learned:
                continue
            row = self.render_answer(replace(example, turns=example.turns[:index]), turn.text)
            before = rows[-1] if rows else None
            if before is not None and row.header[: len(before.ids)] == before.ids:
                rows[-1] = RenderedRow(ids=row.ids, outputs=(*before.outputs, *row.outputs))
            else:
                rows.append(row)
        return tuple(rows)

    def render_preference(self, preference: Preference) -> tuple[RenderedRow, RenderedRow]:
        """The row of the chosen answer and the row of the rejected answer; their headers are equal."""
        chosen, rejected = (
            self.render_answer(preference.prompt, "".join(parts)) for parts in (preference.chosen, preference.rejected)
        )
        return chosen, rejected

    def render_answer(self, prompt: Conversation, answer: str) -> RenderedRow:
        """The row of a prompt and an answer: the tokens of `render_prompt`, then the answer's tokens as the output.

        The output keeps all its white space, even if the template would strip it. Header and answer are encoded as one
        text, unless a token would cover the end of the one and the start of the other: then they are encoded
        separately, since serving always ends the prompt after the header.
        """
        header = self.prompt_text(prompt)
        written = self.answer_text(answer)
        header_ids = self._text.encode(header)
        whole_ids = self._text.encode(header + written)
        if whole_ids[: len(header_ids)] == header_ids:
            output_ids = whole_ids[len(header_ids) :]
        else:
            output_ids = self._text.encode(written)
        return RenderedRow.of(header_ids, (*output_ids, *self.ending))

    def tokens_of(self, text: str) -> tuple[tuple[int, ...], tuple[bytes, ...]]:
        """The ids of a text that somebody wrote, without the template, and the bytes of each.

        Raises:
            InvalidArgument: the text has half of a surrogate pair.

        """
        ids = self._text.encode(self._text.quote(text))
        return tuple(ids), token_bytes(self.tokenizer, ids)

    def spell(self, ids: Sequence[int]) -> str:
        """The text of token ids, control tokens by their names, without the tokenizer's clean-up of white space."""
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False))

    def prompt_text(self, prompt: Conversation) -> str:
        """The text of a prompt, before it becomes tokens, with marks in place of names of control tokens in turns.

        Raises:
            InvalidArgument: the model's template refuses this order of turns.

        """
        try:
            messages = self.messages_of(prompt)
            header = self.rendered(messages, speak=True) + self._prefill
        except TEMPLATE_FAULTS as error:
            raise _not_taken(_said(error)) from error
        most = _MOST_ADDED_CHARACTERS + _MOST_COPIES * sum(len(message["content"]) for message in messages)
        if len(header) > most:
            raise _not_taken(f"it makes {len(header)} characters of them, and {most} are the most")
        return header

    def answer_text(self, answer: str) -> str:
        """The text of an answer as it follows on a prompt's, with marks in place of names of control tokens.

        Raises:
            InvalidArgument: the answer is not valid Unicode.

        """
        return self.lead + self._text.quote(answer)

    def quote(self, text: str) -> str:
        """A text that somebody wrote, with marks in place of names of control tokens.

        Raises:
            InvalidArgument: the text is not valid Unicode.

        """
        return self._text.quote(text)

    def unquote(self, text: str) -> str:
        """The text of which `quote` made this."""
        return self._text.unquote(text)

    def messages_of(self, prompt: Conversation) -> list[Message]:
        """The turns as the template gets them, their texts quoted."""
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

    def rendered(self, messages: list[Message], *, speak: bool, tools: list[Any] | None = None) -> str:
        """What the template writes of these messages, with marks where they have them.

        Args:
            messages: the turns.
            speak: whether to go on to where an answer begins.
            tools: declarations of functions, as templates expect them.

        Raises:
            TEMPLATE_FAULTS: the template refuses these messages.

        """
        return self._template.render(
            **self._variables,
            messages=messages,
            add_generation_prompt=speak,
            enable_thinking=False,
            tools=tools,
            documents=None,
        )

    def _frame(self) -> tuple[str, str, str]:
        """The texts that the template writes around an answer: at the end of the header, before the answer, after it.

        The first is the text that a finished turn has after the generation prompt, such as an empty thinking block.
        """
        question = [{"role": "user", "content": _QUESTION}]
        header = self.rendered(question, speak=True)
        full = self.rendered([*question, {"role": "assistant", "content": _ANSWER}], speak=False)
        before, found, closing = full.rpartition(_ANSWER)
        if not found:
            raise ValueError("it leaves out what the assistant says")
        opening = before.removeprefix(header) if before.startswith(header) else ""
        # Tokenizers join a space to the next word, so the space belongs to the answer's first token, not to the header.
        prefill = opening.rstrip(" ")
        return prefill, opening[len(prefill) :], closing

    def _try_system_role(self) -> bool:
        system = {"role": "system", "content": _INSTRUCTION}
        try:
            return _INSTRUCTION in self.rendered([system, {"role": "user", "content": _QUESTION}], speak=True)
        except TEMPLATE_FAULTS:
            return False

    def _find_ending(self, closing: str, known: set[int]) -> tuple[int, ...]:
        """The tokens that end the turn after an answer, without white space before them, which is not learned."""
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


def _choose_template(tokenizer: PreTrainedTokenizerBase, template: str | None) -> tuple[str, dict[str, Any]]:
    variables = dict(tokenizer.special_tokens_map)
    if template is None and tokenizer.chat_template is not None:
        return tokenizer.get_chat_template(), variables
    if template is None and tokenizer.bos_token_id not in tokenizer("")["input_ids"]:
        # Such a tokenizer adds no BOS token, so the model was trained on texts without one.
        variables["bos_token"] = ""
    return template or DEFAULT_TEMPLATE, variables


def written_template(tokenizer: PreTrainedTokenizerBase, template: str | None = None) -> str:
    """The template of `ChatFormat(tokenizer, template=template)`, for programs that set `bos_token` themselves."""
    source, variables = _choose_template(tokenizer, template)
    begins = source != DEFAULT_TEMPLATE or variables.get("bos_token") != ""
    return source if begins else source.replace("{{- bos_token }}\n", "")


def _not_taken(why: str) -> InvalidArgument:
    reason = f"the model's chat template does not take these turns: {why}"
    return InvalidArgument(reason, violations=(FieldViolation(field="prompt", description=reason),))


def _said(error: BaseException) -> str:
    """What an error says; its kind, if it says nothing, as `MemoryError` does."""
    return str(error) or type(error).__name__
