"""The base model that ships with the package, so that a first run downloads nothing; and the recipe that made it.

Offers the model's directory, which transformers can load. Knows nothing of tuning, serving or the catalog, and does not
import torch.
"""

from pathlib import Path


def model_directory() -> Path:
    """Return the directory holding the embedded model: config, weights, tokenizer and chat template."""
    return Path(__file__).parent / "model"
