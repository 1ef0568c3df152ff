"""Loads tokenizers that make the tokens of their `tokenizer.json`.

Several classes of transformers 5, such as `GPT2Tokenizer`, take vocabulary and merges from `tokenizer.json` and build
the steps around them anew, as the class's first model had them. A base whose file has other steps, such as one that
splits numbers into digits, would be tuned and served on tokens that it was not trained on, without a word.

Source: `TokenizersBackend.convert_to_native_format` and `AutoTokenizer` of transformers 5.24.
"""

from typing import cast

from tokenizers import Tokenizer
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast
from transformers.utils.hub import cached_file

_FILE = "tokenizer.json"


def load_stored(location: str, revision: str = "main") -> PreTrainedTokenizerBase:
    """The tokenizer in this directory or with this Hub id; with a `tokenizer.json`, it makes that file's tokens.

    Special tokens, template and post-processing are those of the class that `tokenizer_config.json` names.

    Raises whatever transformers raises for files it cannot read; ValueError where the library tokenizers cannot.
    """
    try:
        return _load(location, revision)
    except Exception as error:
        # The library tokenizers raises no narrower class.
        if type(error) is not Exception:
            raise
        raise ValueError(str(error)) from error


def _load(location: str, revision: str) -> PreTrainedTokenizerBase:
    loaded = AutoTokenizer.from_pretrained(location, revision=revision, trust_remote_code=False)
    tokenizer = cast("PreTrainedTokenizerBase", loaded)
    if not tokenizer.is_fast or type(tokenizer) is PreTrainedTokenizerFast:
        # The former has no such file; the latter has read it whole.
        return tokenizer
    file = cached_file(location, _FILE, revision=revision, _raise_exceptions_for_missing_entries=False)
    if file is not None:
        _take_steps(tokenizer.backend_tokenizer, Tokenizer.from_file(file))
    return tokenizer


def _take_steps(built: Tokenizer, stored: Tokenizer) -> None:
    """Give the tokenizer that was built the stored one's way from a text to tokens, and back."""
    built.normalizer = stored.normalizer
    built.pre_tokenizer = stored.pre_tokenizer
    built.model = stored.model
    built.decoder = stored.decoder
