"""Compares what was written to a GGUF file with the model it was written from: what differs is refused by name.

What a file cannot say, or runners know otherwise, is found here: our reader knows what they know.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from tokenizers import Tokenizer as Backend
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedTokenizerBase

from tuningfork.domain.errors import BaseUnusable
from tuningfork.modeling.chat_template import ChatFormat
from tuningfork.modeling.files.gguf.tokenizer import NOT_SWALLOWING, Json, Tokenizer
from tuningfork.modeling.files.skeleton import skeleton
from tuningfork.modeling.gguf_export.chats import check_chats
from tuningfork.modeling.gguf_export.hyperparameters import WITH_WINDOWS
from tuningfork.modeling.gguf_export.tokens import SPACE, WrittenTokenizer, merges_of, vocabulary_in

Config = dict[str, Any]

_TOKENS = ("bos_token_id", "eos_token_id", "pad_token_id")
_NOT_COMPUTED = frozenset(
    {
        *PreTrainedConfig().to_dict(),
        # Of training only.
        *("initializer_range", "attention_dropout", "resid_pdrop", "embd_pdrop", "pretraining_tp"),
        # Compared as the frequencies that follow from them, or limited on purpose.
        *("rope_parameters", "partial_rotary_factor", "max_position_embeddings", "original_max_position_embeddings"),
        *(*_TOKENS, "use_cache", "model_type", "no_rope_layer_interval"),
        # What follows from it is in `layer_types`.
        "_sliding_window_pattern",
    }
) - {"tie_word_embeddings"}
"""Settings of configurations that answers do not depend on, or that are compared otherwise."""
_OF_WINDOWS = ("sliding_window", "use_sliding_window", "max_window_layers", "layer_types")
_NEAR = 1e-6
_TEXTS = (
    "Hello world",
    " leading and trailing ",
    "1 12 1234 3.14159",
    "line\n\nline\r\n\ttab  two   spaces",
    "I'm we'll THEY'VE caf\u00e9 \u4f60\u597d \U0001f642",
    "def f(x):\n    return x ** 2  # squared\n",
)
"""Texts on which tokenizers differ."""


def check_config(config: PreTrainedConfig, read: Config, architecture: str) -> None:
    """Refuse a model whose configuration reads otherwise from the file.

    Args:
        config: the model's own.
        read: what our reader made of the file.
        architecture: as the file names it.

    Raises:
        BaseUnusable: they differ; the message names the settings.

    """
    other = type(config)(**{**read, **dict.fromkeys(_TOKENS)})
    ours, theirs = config.to_dict(), other.to_dict()
    compared = set(type(config)().to_dict()) - _NOT_COMPUTED
    if architecture not in WITH_WINDOWS or "sliding_attention" not in (ours.get("layer_types") or ()):
        compared -= set(_OF_WINDOWS)
    found = [
        f"{name} = {ours.get(name)!r} (it would be read as {theirs.get(name)!r})"
        for name in sorted(compared)
        if not _same(_plain(ours.get(name)), _plain(theirs.get(name)))
    ]
    if not _same_frequencies(config, other):
        found.append(f"rope_parameters = {config.rope_parameters!r} (they would be read as {other.rope_parameters!r})")
    if found:
        raise BaseUnusable(f"llama.cpp has no {architecture} model with {'; '.join(found)[:1_500]}")


def _plain(value: Any) -> Any:
    # Biases, caps and flags that are off are false, zero or missing.
    return None if value in (False, 0) else value


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    numbers = all(isinstance(each, int | float) and not isinstance(each, bool) for each in (one, other))
    return math.isclose(one, other, rel_tol=_NEAR) if numbers else bool(one == other)


def _same_frequencies(config: PreTrainedConfig, other: PreTrainedConfig) -> bool:
    ours, theirs = _frequencies(config), _frequencies(other)
    return ours.keys() == theirs.keys() and all(
        one.shape == theirs[name].shape and torch.allclose(one, theirs[name], rtol=1e-5, atol=0)
        for name, one in ours.items()
    )


def _frequencies(config: PreTrainedConfig) -> dict[str, Tensor]:
    """The frequencies of the model's rotary tables, the scale of what they rotate, and both lists of LongRoPE."""
    modules: Iterable[nn.Module] = skeleton(config).modules()
    table = next(module for module in modules if type(module).__name__.endswith("RotaryEmbedding"))
    made: Any = type(table)(config)
    found = {name: value.float() for name, value in made.named_buffers()}
    scales = {name: value for name, value in vars(made).items() if name.endswith("attention_scaling")}
    lists = {name: value for name, value in config.rope_parameters.items() if name.endswith("_factor")}
    lists = {name: value for name, value in lists.items() if isinstance(value, list)}
    # A list for Llama's kin may be another form of Llama 3's scaling.
    further = scales | (lists if config.model_type == "phi3" else {})
    return found | {name: torch.tensor(value, dtype=torch.float32) for name, value in further.items()}


def check_tokenizer(
    tokenizer: PreTrainedTokenizerBase, written: WrittenTokenizer, read: Tokenizer, chat: ChatFormat
) -> None:
    """Refuse a tokenizer that reads otherwise from the file: other tokens, merges, or token ids of texts and chats.

    Raises:
        BaseUnusable: they differ.

    """
    original = written.original
    if vocabulary_in(original) != vocabulary_in(read.model):
        raise BaseUnusable("its tokens read otherwise from a file than its tokenizer.json has them")
    if original["model"]["byte_fallback"]:
        cut_out = {token["content"] for token in original["added_tokens"] if SPACE not in token["content"]}
        same = _by_token(merges_of(original), cut_out) == _by_token(merges_of(read.model), cut_out)
    else:
        same = merges_of(original) == merges_of(read.model)
    if not same:
        raise BaseUnusable(
            "its tokenizer merges tokens in another order than files can say: SentencePiece's is that of the tokens' "
            "scores, from any two tokens that a token consists of"
        )
    backend = Backend.from_str(json.dumps(_as_runners_do(read.model, swallows=written.swallows)))
    for text in _TEXTS if written.exact else ():
        wanted = tokenizer(text, add_special_tokens=False)["input_ids"]
        found = backend.encode(text, add_special_tokens=False).ids
        if wanted != found:
            raise BaseUnusable(
                f"its tokenizer makes {wanted[:40]} of the text {text[:80]!r}, and llama.cpp {found[:40]}"
            )
    check_chats(chat, written, backend, [text.strip() for text in _TEXTS] if written.keeps_space else _TEXTS)


def _by_token(merges: Sequence[tuple[str, str]], cut_out: set[str]) -> list[tuple[str, frozenset[tuple[str, str]]]]:
    """The tokens in the order of their merges, each with all of its own.

    Merges of tokens that are cut out of a text before the others are found never happen, and are left out.
    """
    grouped: list[tuple[str, set[tuple[str, str]]]] = []
    for pair in merges:
        if not cut_out.isdisjoint((*pair, "".join(pair))):
            continue
        if not grouped or grouped[-1][0] != "".join(pair):
            grouped.append(("".join(pair), set()))
        grouped[-1][1].add(pair)
    return [(text, frozenset(pairs)) for text, pairs in grouped]


def _as_runners_do(model: Json, *, swallows: bool) -> Json:
    """The tokenizer with control tokens that take away white space as llama.cpp's do, by the model's name."""
    added = [token | {"rstrip": swallows and token["content"] not in NOT_SWALLOWING} for token in model["added_tokens"]]
    return model | {"added_tokens": added}


def check_parts(parts: Mapping[str, Sequence[int]], weights: Mapping[str, Sequence[int]]) -> None:
    """Refuse a model whose weights are not those that the file would be read as having.

    Args:
        parts: the shapes of the weights by our reader.
        weights: those of the model.

    Raises:
        BaseUnusable: some are missing, left over or of other shapes.

    """
    wrong = sorted(set(parts.items()) ^ set(weights.items()))
    if wrong:
        raise BaseUnusable(f"its weight {wrong[0][0]!r} has no place in a file, or another shape ({len(wrong)} such)")
