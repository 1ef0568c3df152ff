"""Loads rating models from disk or the Hub: safetensors only, no code of the model's, and no missing weights."""

from pathlib import Path
from typing import Any, cast

import torch
import transformers
from safetensors import SafetensorError
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from tuningfork.domain.errors import InternalError
from tuningfork.domain.rater import RatingModel
from tuningfork.modeling.files.tokenizer_file import load_stored

_LOADING_FAULTS = (OSError, ValueError, KeyError, TypeError, RuntimeError, ImportError, SafetensorError)
"""What transformers raises for files it cannot read or an architecture it does not know."""


class RaterUnusable(InternalError):
    """The rating model cannot be used; the message says what to change."""


def load_model(described: RatingModel, kind: type, *, device: str, dtype: torch.dtype) -> PreTrainedModel:
    """Load the model in evaluation mode.

    Args:
        described: names the model's location.
        kind: the auto class that builds the architecture, such as `AutoModelForSequenceClassification`.
        device: a torch device.
        dtype: the type of the weights and of all computing.

    Raises:
        RaterUnusable: the files cannot be read, or lack weights of a model of this kind.

    """
    _check_directory(described)
    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        from_pretrained: Any = kind.from_pretrained  # type: ignore[attr-defined]
        model, report = from_pretrained(
            described.location,
            revision=described.revision or "main",
            dtype=dtype,
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
    except _LOADING_FAULTS as error:
        raise RaterUnusable(
            f"the rater's model {described.location} could not be loaded: {error}. It must be of an architecture that "
            "transformers itself contains, with weights in the safetensors format"
        ) from error
    absent = sorted(report["missing_keys"])
    if absent:
        raise RaterUnusable(
            f"the rater's model {described.location} lacks {len(absent)} of the weights of a {type(model).__name__}, "
            f"such as {absent[0]}, and random numbers would take their place; choose a model that was trained for this"
        )
    cast("nn.Module", model).to(torch.device(device)).eval()
    return cast("PreTrainedModel", model)


def load_tokenizer(described: RatingModel) -> PreTrainedTokenizerBase:
    """Load the model's tokenizer, which must be a fast one: it tells which characters a token stands for.

    Raises:
        RaterUnusable: there is no such tokenizer.

    """
    try:
        tokenizer = load_stored(described.location, described.revision or "main")
    except _LOADING_FAULTS as error:
        raise RaterUnusable(
            f"the tokenizer of the rater's model {described.location} could not be loaded: {error}"
        ) from error
    if not tokenizer.is_fast:
        raise RaterUnusable(
            f"the tokenizer of the rater's model {described.location} has no tokenizer.json, and long texts could not "
            "be cut where its tokens end; convert it with transformers and save it again"
        )
    return tokenizer


def _check_directory(described: RatingModel) -> None:
    """Refuse a directory without safetensors files, with a clearer message than transformers'. A Hub id passes."""
    directory = Path(described.location)
    if directory.is_dir() and not any(directory.glob("*.safetensors")):
        raise RaterUnusable(
            f"the rater's model {directory} has no weights in the safetensors format; save it with "
            "model.save_pretrained(). Pickled weights (.bin, .pt) are never read"
        )
