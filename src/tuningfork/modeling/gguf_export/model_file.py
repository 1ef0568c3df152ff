"""Writes a base with an adapter merged in as one GGUF file.

The header is written first and read again by our reader, which says how each tensor is to be written. Each weight W
becomes W + (alpha / R) B A in float32, and is rounded once, to the type of the file.
"""

import errno
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import gguf
from transformers import PreTrainedTokenizerBase

from tuningfork.domain.conversation import Conversation, Speaker, Turn
from tuningfork.domain.errors import InvalidArgument
from tuningfork.domain.file_types import FileType
from tuningfork.modeling.adapters import format as adapter_format
from tuningfork.modeling.chat_template import ChatFormat, written_template
from tuningfork.modeling.describing import LOADING_FAULTS, end_ids_of, generation_config_of
from tuningfork.modeling.files.gguf.header import Header, Value
from tuningfork.modeling.files.gguf.plan import Part
from tuningfork.modeling.files.gguf.tokenizer import tokenizer_of
from tuningfork.modeling.files.gguf.vocabulary import vocabulary_of
from tuningfork.modeling.files.small_files import Unreadable, read_object, sampling_values
from tuningfork.modeling.files.tokenizer_file import load_stored
from tuningfork.modeling.gguf_export.base_header import read_base_header, write_base_header
from tuningfork.modeling.gguf_export.hyperparameters import context_of
from tuningfork.modeling.gguf_export.placing import placed_whole
from tuningfork.modeling.gguf_export.reading_back import check_tokenizer
from tuningfork.modeling.gguf_export.source import EMBEDDING, Source
from tuningfork.modeling.gguf_export.tokens import WrittenTokenizer, written_tokenizer
from tuningfork.modeling.gguf_export.weights import Kind, blocks_of

OnProgress = Callable[[int, int], None]
"""Called with the number of bytes of weights that have been written, and the total number."""


_KINDS = {FileType.F32: Kind.F32, FileType.F16: Kind.F16, FileType.BF16: Kind.BF16, FileType.Q8_0: Kind.Q8_0}
_FILE_TYPES = {
    FileType.F32: gguf.LlamaFileType.ALL_F32,
    FileType.F16: gguf.LlamaFileType.MOSTLY_F16,
    FileType.BF16: gguf.LlamaFileType.MOSTLY_BF16,
    FileType.Q8_0: gguf.LlamaFileType.MOSTLY_Q8_0,
}
_SAMPLING: dict[str, tuple[str, type[int] | type[float]]] = {
    "temperature": ("general.sampling.temp", float),
    "top_p": ("general.sampling.top_p", float),
    "top_k": ("general.sampling.top_k", int),
}


def write_model(
    base: Path,
    adapter: Path,
    target: Path,
    *,
    name: str,
    file_type: FileType = FileType.F16,
    on_progress: OnProgress = lambda _done, _total: None,
) -> tuple[str, ...]:
    """Write the merged model beside `target` and rename it into place.

    A few rows of one weight are in memory at a time. Returns what users of the file should know, in sentences.

    Args:
        base: a transformers directory with safetensors weights.
        adapter: a directory in PEFT's format.
        target: a file that does not exist.
        name: what the file calls the model.
        file_type: the type of its matrices. Norms and biases are in float32.
        on_progress: called after each write.

    Raises:
        InvalidArgument: the adapter was made for another base, a file cannot be read, llama.cpp would compute something
            else than this package, or `target` is there already.
        OSError: the file could not be written, for example since the disk is full.

    """
    with placed_whole(target, base) as aside:
        source = Source.of(base, adapter)
        written = _written_tokenizer(source, adapter_format.chat_template(adapter))
        # Before there is a file: some file systems take the space of all of it at once.
        free = shutil.disk_usage(aside.parent).free
        header = _write_header(aside, source, written, name, _KINDS[file_type], _FILE_TYPES[file_type])
        parts = _read_back(aside, header, source, written)
        if (wanted := aside.stat().st_size) > free:
            raise OSError(errno.ENOSPC, f"the file takes {wanted:,} bytes, and {free:,} are free", str(target))
        _write_weights(aside, source, parts, on_progress)
    return tuple(_notes(source, written.written))


def _notes(source: Source, tokens: WrittenTokenizer) -> Iterator[str]:
    context, own = context_of(source.config, source.architecture), source.config.max_position_embeddings
    if context < own:
        yield (
            f"The file says that texts have at most {context} tokens, not {own}: for longer ones llama.cpp computes "
            "something else than the model was tuned with."
        )
    if tokens.keeps_space:
        yield "A question that begins with white space becomes other tokens in llama.cpp than it was tuned with."
    if not tokens.exact:
        yield "Chats become the tokens that the model was tuned with; texts outside of chats may become others."


@dataclass(frozen=True, slots=True)
class _Tokens:
    tokenizer: PreTrainedTokenizerBase
    chat: ChatFormat
    written: WrittenTokenizer


def _written_tokenizer(source: Source, template: str | None) -> _Tokens:
    try:
        tokenizer = load_stored(str(source.base))
    except LOADING_FAULTS as error:
        raise InvalidArgument(f"the tokenizer in {source.base} cannot be read: {error}") from error
    chat = ChatFormat(tokenizer, template=template, end_ids=end_ids_of(generation_config_of(str(source.base))))
    row = chat.render_answer(Conversation(turns=(Turn.said(Speaker.USER, "a"),)), "b")
    written = written_tokenizer(
        tokenizer,
        rows=source.weights[EMBEDDING].stored.shape[0],
        ends=_ends(tokenizer, chat, row.ids[-1]),
        template=written_template(tokenizer, template),
        begins=row.ids[0] == tokenizer.bos_token_id,
    )
    return _Tokens(tokenizer, chat, written)


def _ends(tokenizer: PreTrainedTokenizerBase, chat: ChatFormat, taught: int) -> list[int]:
    """The tokens that end an answer: the tokenizer's own, the one that training teaches, and others."""
    own = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
    return list(dict.fromkeys([*own, taught, *sorted(chat.end_of_turn_ids)]))


def _write_header(
    file: Path, source: Source, tokens: _Tokens, name: str, kind: Kind, file_type: gguf.LlamaFileType
) -> Header:
    keys: dict[str, Value] = {
        "general.type": "model",
        "general.name": _named(name, swallows=tokens.written.swallows),
        "general.file_type": int(file_type),
        "general.quantization_version": gguf.GGML_QUANT_VERSION,
        **_sampling(source.base),
        **tokens.written.keys,
    }
    return write_base_header(file, source, keys, kind, with_room=True)


def _named(name: str, *, swallows: bool) -> str:
    """The model's name, by which llama.cpp knows whether control tokens take away the white space after them."""
    plain = re.sub(r"(?i)phi-?3", "Phi 3", name)
    return f"{plain} (Phi-3)" if swallows else plain


def _sampling(base: Path) -> dict[str, Value]:
    try:
        given = sampling_values(read_object(base / "generation_config.json"))
    except Unreadable:
        return {}
    return {key: kind(given[name]) for name, (key, kind) in _SAMPLING.items() if name in given}


def _read_back(file: Path, header: Header, source: Source, tokens: _Tokens) -> list[Part]:
    """What our reader makes of the header, once it is compared with what it was written from."""
    metadata, parts = read_base_header(file, header, source)
    rows = source.weights[EMBEDDING].stored.shape[0]
    vocabulary = vocabulary_of(metadata, rows)
    read = tokenizer_of(vocabulary, metadata.architecture)
    metadata.text("tokenizer.chat_template")
    metadata.refuse_others()
    check_tokenizer(tokens.tokenizer, tokens.written, read, tokens.chat)
    return parts


def _write_weights(file: Path, source: Source, parts: list[Part], on_progress: OnProgress) -> None:
    done, total = 0, sum(part.source.end - part.source.begin for part in parts if part.source)
    with file.open("r+b") as write:
        for part in parts:
            if part.source is None:
                continue
            write.seek(part.source.begin)
            for block in blocks_of(part, source.weights[part.name], Kind(part.source.kind)):
                done += write.write(block)
                on_progress(done, total)
