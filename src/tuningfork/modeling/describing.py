"""Reads what the files of a base model say about it besides its weights: configuration, tokenizer and chat template.

A server's operator may have got these files from anybody. They can describe ten million layers, or a template that
never ends: `describe` then takes all the time and memory that its process may use.
"""

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from transformers import GenerationConfig, PreTrainedTokenizerBase

from tuningfork import embedded
from tuningfork.domain.base_model import EMBEDDED, BaseModel
from tuningfork.domain.conversation import Conversation, Speaker, Turn
from tuningfork.domain.errors import BaseUnusable
from tuningfork.modeling.chat_template import ChatFormat
from tuningfork.modeling.files.tokenizer_file import load_stored

LOADING_FAULTS = (
    *(OSError, ValueError, KeyError, TypeError, RuntimeError, ImportError, SafetensorError),
    # RecursionError is a RuntimeError.
    *(AttributeError, MemoryError),
)
"""What transformers raises for files it cannot read or an architecture it does not know."""

_SAMPLE = "".join(map(chr, range(0x20, 0x17F))) + "\n\t\u4f60\u0434\u05d0\U0001f600"
"""Characters that a tokenizer is tried on: those of most Latin alphabets, and one each of some other scripts."""


def describe(base: BaseModel, *, tries_modules: bool = True) -> ChatFormat:
    """Read all that describes the base, try it out, and return its chat format.

    Args:
        base: the base's catalog entry.
        tries_modules: whether to make the model's modules too, without weights, so that a configuration that takes too
            much is found in the process that reads it; they take a hundred megabytes.

    Raises:
        BaseUnusable: files are missing or cannot be read.

    """
    location = check_location(base)
    chat = chat_format(base, location, generation_config_of(location, base.revision, tries_modules=tries_modules))
    ids = chat.render_prompt(Conversation(turns=(Turn.said(Speaker.USER, _SAMPLE),)))
    chat.spell(ids)
    return chat


def check_location(base: BaseModel) -> str:
    """The base's directory or Hub id, for transformers. An incomplete directory is refused; a Hub id is not checked.

    Raises:
        BaseUnusable: there is no such directory, or it lacks files; the message is clearer than transformers'.

    """
    location = str(embedded.model_directory()) if base.location == EMBEDDED else base.location
    directory = Path(location)
    if not directory.is_dir():
        if base.location == EMBEDDED or directory.is_absolute() or base.location.startswith((".", "~")):
            raise BaseUnusable(f"base model {base.name}: there is no directory {directory}; check its location")
        return location
    wanted = {
        "config.json": ("config.json",),
        "weights in the safetensors format": ("*.safetensors",),
        "a tokenizer": ("tokenizer.json", "tokenizer.model", "tokenizer_config.json"),
    }
    missing = [what for what, patterns in wanted.items() if not any(any(directory.glob(each)) for each in patterns)]
    if missing:
        raise BaseUnusable(
            f"base model {base.name}: {directory} lacks {' and '.join(missing)}. It must be a transformers model with "
            "its tokenizer, as model.save_pretrained() and tokenizer.save_pretrained() write them; pickled weights "
            "(.bin, .pt) are never read"
        )
    return location


def generation_config_of(location: str, revision: str | None = None, *, tries_modules: bool = True) -> Any:
    """The base's generation config: its own file's, or without one what its configuration says.

    None: neither can be read. Loading the base then finds the same fault and reports it better. Without
    `tries_modules` the model's modules are only made if the configuration is needed.
    """
    generation: Any = None
    with suppress(*LOADING_FAULTS):
        generation = GenerationConfig.from_pretrained(location, revision=revision or "main")
    if generation is None or tries_modules:
        # Imported late, since making modules takes a hundred megabytes of torch.
        from tuningfork.modeling.files.skeleton import read_config, skeleton  # noqa: PLC0415

        with suppress(*LOADING_FAULTS):
            of_model = skeleton(read_config(location, revision=revision)).generation_config
            generation = of_model if generation is None else generation
    return generation


def chat_format(base: BaseModel, location: str, generation_config: Any) -> ChatFormat:
    """The base's chat format, from its tokenizer and its template.

    Args:
        base: the base's catalog entry.
        location: its directory or Hub id.
        generation_config: says which tokens end an answer; None: only the tokenizer and the template say it.

    Raises:
        InternalError: the template cannot be rendered, or no token is known that ends a turn.
        BaseUnusable: the tokenizer cannot be loaded.

    """
    return ChatFormat(
        load_tokenizer(base, location), template=base.chat_template, end_ids=end_ids_of(generation_config)
    )


def load_tokenizer(base: BaseModel, location: str) -> PreTrainedTokenizerBase:
    """The tokenizer of a base in this directory or with this Hub id.

    Raises:
        BaseUnusable: it cannot be loaded.

    """
    try:
        return load_stored(location, base.revision or "main")
    except LOADING_FAULTS as error:
        raise BaseUnusable(
            f"the tokenizer of base model {base.name} ({location}) could not be loaded: {error}"
        ) from error


def end_ids_of(generation_config: Any) -> Iterable[int]:
    """The tokens that end an answer by a generation config; None in its place, or in it: it names none."""
    given = getattr(generation_config, "eos_token_id", None)
    if given is None:
        return ()
    return (given,) if isinstance(given, int) else tuple(given)
