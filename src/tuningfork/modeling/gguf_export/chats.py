"""Renders chats as llama.cpp does from a GGUF file, and compares their tokens with those of tuning and serving.

Source: `common/chat.cpp` and `src/llama-vocab.cpp` of llama.cpp.
"""

from collections.abc import Iterator, Mapping, Sequence

import jinja2
from tokenizers import Tokenizer as Backend

from tuningfork.domain.conversation import Conversation, Speaker, Turn
from tuningfork.domain.errors import BaseUnusable, InvalidArgument
from tuningfork.modeling.chat_template import ChatFormat
from tuningfork.modeling.files.gguf.header import Value
from tuningfork.modeling.gguf_export.tokens import WrittenTokenizer
from tuningfork.modeling.template_environment import template_environment

_ROLES = {Speaker.USER: "user", Speaker.MODEL: "assistant"}
_TEMPLATE_FAULTS = (jinja2.TemplateError, TypeError, ValueError, AttributeError, LookupError, ArithmeticError)
_BEGIN_BY_DEFAULT = {"gpt2": 11, "llama": 1}
"""llama.cpp's beginning-of-sequence token by a file's kind of tokenizer, where the file names none that there is."""


def check_chats(chat: ChatFormat, written: WrittenTokenizer, backend: Backend, texts: Sequence[str]) -> None:
    """Refuse a model whose chats become other tokens in llama.cpp than in tuning and serving.

    Thinking is off in both, and templates that write the date write the same one.

    Args:
        chat: the model's chat format.
        written: the keys of the file.
        backend: the tokenizer as llama.cpp has it from the file.
        texts: said in the chats. They name no control token.

    Raises:
        BaseUnusable: a chat becomes other tokens, or llama.cpp cannot render it.

    """
    for conversation in _conversations(texts):
        try:
            wanted = chat.render_prompt(conversation)
        except InvalidArgument:
            # Not every template takes several turns.
            continue
        try:
            prompt, found = _tokens_of(conversation, written.keys, backend)
        except _TEMPLATE_FAULTS as error:
            raise BaseUnusable(f"llama.cpp cannot render its chat template: {error}") from error
        if wanted != found:
            raise BaseUnusable(
                f"its tokenizer makes {wanted[:40]} of a chat for which its template and llama.cpp make {found[:40]}: "
                f"{prompt[:200]!r}"
            )


def _conversations(texts: Sequence[str]) -> Iterator[Conversation]:
    for text in texts:
        turns = (Turn.said(Speaker.USER, text), Turn.said(Speaker.MODEL, text.strip()), Turn.said(Speaker.USER, "ok"))
        yield Conversation(turns=turns[:1])
        yield Conversation(turns=turns)


def _tokens_of(conversation: Conversation, keys: Mapping[str, Value], backend: Backend) -> tuple[str, list[int]]:
    """The text of a prompt, and its tokens."""
    begin, begin_text = _named(keys, "bos")
    _, end_text = _named(keys, "eos")
    prompt = (
        template_environment()
        .from_string(str(keys["tokenizer.chat_template"]))
        .render(
            messages=[{"role": _ROLES[turn.speaker], "content": turn.text} for turn in conversation.turns],
            bos_token=begin_text,
            eos_token=end_text,
            enable_thinking=False,
            add_generation_prompt=True,
        )
    )
    if not keys["tokenizer.ggml.add_bos_token"]:
        return prompt, backend.encode(prompt, add_special_tokens=False).ids
    return prompt, [begin, *backend.encode(prompt.removeprefix(begin_text), add_special_tokens=False).ids]


def _named(keys: Mapping[str, Value], name: str) -> tuple[int, str]:
    """The number and the text of the token that begins ("bos") or ends ("eos") texts; -1 and "": llama.cpp has none."""
    texts = keys["tokenizer.ggml.tokens"]
    number = keys.get(f"tokenizer.ggml.{name}_token_id", -1)
    assert isinstance(texts, list)  # noqa: S101  as it was written
    assert isinstance(number, int)  # noqa: S101
    if not 0 <= number < len(texts):
        number = _BEGIN_BY_DEFAULT[str(keys["tokenizer.ggml.model"])]
    return (number, str(texts[number])) if number < len(texts) else (-1, "")
