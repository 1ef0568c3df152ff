"""A base model's modules without their weights: what can be known of a base before any weight is read.

Made on torch's meta device from `config.json` alone, in milliseconds and without memory, whatever the model's size.
"""

from typing import Any, cast

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel


def read_config(location: str, *, revision: str | None = None) -> PreTrainedConfig:
    """The configuration of a directory or a Hub id; of the latter only small files are fetched.

    Raises:
        OSError, ValueError, ...: whatever transformers raises for files that it cannot read.

    """
    config = AutoConfig.from_pretrained(location, revision=revision or "main", trust_remote_code=False)
    return cast("PreTrainedConfig", config)


def skeleton(config: PreTrainedConfig, dtype: torch.dtype | None = None) -> PreTrainedModel:
    """The model as loading would build it, its parameters on the meta device; `dtype` None: as the config says.

    Raises:
        ValueError, ...: whatever transformers raises for an architecture that it lacks.

    """
    with torch.device("meta"):
        from_config: Any = AutoModelForCausalLM.from_config
        return cast("PreTrainedModel", from_config(config, dtype=dtype, trust_remote_code=False))
