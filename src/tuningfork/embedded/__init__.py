"""The base model that ships with the package, so that a first run downloads nothing, beside the recipe that made it.

Offers the directory transformers loads; knows nothing of tuning, serving or the catalog, and needs no torch to answer.
"""

from pathlib import Path


def model_directory() -> Path:
    """Return the directory holding the embedded model: config, weights, tokenizer and chat template."""
    return Path(__file__).parent / "model"
