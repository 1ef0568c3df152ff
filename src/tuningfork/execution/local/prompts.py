"""What a generator computes of a request before its engine can begin it: prompts and grammars."""

from tuningfork.domain.generation import JsonAnswer, TokenizedText
from tuningfork.execution.base import GenerationAssignment
from tuningfork.execution.local.form_trial import try_out
from tuningfork.execution.local.served_base import ServedBase
from tuningfork.modeling.chat_template import Chat

QUICK_CHARACTERS = 20_000
"""Prompts of up to this many characters are tokenized on the engine's thread, in about ten milliseconds; longer prompts
on another thread."""


def compiles(served: ServedBase, assignment: GenerationAssignment) -> bool:
    """Whether the grammar of the request's answer format has to be compiled."""
    form = assignment.sampling.answer_format
    return form is not None and not served.engine.grammars.has(form)


def tokens_of(chat: Chat, texts: tuple[str, ...]) -> tuple[TokenizedText, ...]:
    """The tokens of each text, without a chat template.

    Raises:
        InvalidArgument: a text is not valid Unicode.

    """
    return tuple(TokenizedText(*chat.tokens_of(text)) for text in texts)


def prompt_of(served: ServedBase, assignment: GenerationAssignment) -> tuple[int, ...]:
    """The prompt as tokens; also compiles the grammar of the request's answer format."""
    form, grammars = assignment.sampling.answer_format, served.engine.grammars
    if form is not None and not grammars.has(form):
        if form != JsonAnswer():
            try_out(form)
        grammars.begin(form)
    return tuple(served.base.chat.render_prompt(assignment.prompt))
