"""Converts a GGUF file into a directory of a base model."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tuningfork.domain.errors import BaseUnusable
from tuningfork.modeling.files.gguf.families import configuration_of
from tuningfork.modeling.files.gguf.header import read_header
from tuningfork.modeling.files.gguf.metadata import Metadata
from tuningfork.modeling.files.gguf.plan import Plan
from tuningfork.modeling.files.gguf.tokenizer import Tokenizer, tokenizer_of
from tuningfork.modeling.files.gguf.vocabulary import Vocabulary, vocabulary_of
from tuningfork.modeling.files.gguf.weights import Told, Weights

Json = dict[str, Any]

_KEPT_FREE_BYTES = 256 * 2**20
"""What must be left of the disk after a conversion."""

_DTYPES = {"BF16": "bfloat16", "F16": "float16", "F32": "float32"}
_SAMPLING: dict[str, tuple[str, Callable[[float], float]]] = {
    "general.sampling.temp": ("temperature", float),
    "general.sampling.top_p": ("top_p", float),
    "general.sampling.top_k": ("top_k", int),
}


def convert(file: Path, into: Path, told: Told) -> None:
    """Write the model of a GGUF file into an empty directory, as transformers reads it. In this process.

    The file comes from anybody: `convert_gguf` does this in a process with limits.

    Args:
        file: the GGUF file.
        into: a directory that is there.
        told: is told how many bytes of the weights, of how many, are written.

    Raises:
        BaseUnusable: the file is damaged, or has something that cannot be converted; the message is a part of a
            sentence about the file.
        OSError: the directory cannot be written to.

    """
    header = read_header(file)
    metadata = Metadata(header.metadata)
    plan = Plan(file, header.tensors)
    config = configuration_of(metadata, plan)
    vocabulary = vocabulary_of(metadata, config["vocab_size"])
    tokenizer = tokenizer_of(vocabulary, metadata.architecture)
    template = metadata.text("tokenizer.chat_template", "")
    generation = _generation_of(metadata, vocabulary)
    metadata.refuse_others()
    weights = Weights(file, plan.parts)
    _check_disk(into, weights.bytes)
    config |= _tokens_of(vocabulary) | {"dtype": _DTYPES[weights.main_precision]}
    _write_tokenizer(into, tokenizer, template)
    _write(into / "generation_config.json", generation)
    weights.write(into / "model.safetensors", told)
    # The last one: a directory that has it is whole.
    _write(into / "config.json", config)


def _tokens_of(vocabulary: Vocabulary) -> Json:
    return {
        "bos_token_id": vocabulary.begin,
        "eos_token_id": _one_or_all(vocabulary.ends),
        "pad_token_id": vocabulary.padding,
    }


def _generation_of(metadata: Metadata, vocabulary: Vocabulary) -> Json:
    given = {name: (metadata.get(key), kind) for key, (name, kind) in _SAMPLING.items()}
    sampling = {
        name: kind(value)
        for name, (value, kind) in given.items()
        if isinstance(value, int | float) and 0 <= value < 1e6
    }
    found = {name: token for name, token in _tokens_of(vocabulary).items() if token is not None}
    return found | ({"do_sample": True, **sampling} if sampling else {})


def _one_or_all(tokens: tuple[int, ...]) -> int | list[int] | None:
    if not tokens:
        return None
    return tokens[0] if len(tokens) == 1 else list(tokens)


def _check_disk(into: Path, needed: int) -> None:
    free = shutil.disk_usage(into).free
    if free < needed + _KEPT_FREE_BYTES:
        raise BaseUnusable(
            f"its weights take {needed // 2**20} MiB once converted, and of the {free // 2**20} MiB that are free on "
            f"the disk, {_KEPT_FREE_BYTES // 2**20} are to stay so"
        )


def _write_tokenizer(into: Path, tokenizer: Tokenizer, template: str) -> None:
    _write(into / "tokenizer.json", tokenizer.model, indent=None)
    _write(into / "tokenizer_config.json", tokenizer.config)
    if template:
        (into / "chat_template.jinja").write_text(template, encoding="utf-8")


def _write(path: Path, content: Json, indent: int | None = 2) -> None:
    # Lone surrogates cannot be here: all texts were valid UTF-8.
    path.write_text(json.dumps(content, indent=indent, ensure_ascii=False) + "\n", encoding="utf-8")
