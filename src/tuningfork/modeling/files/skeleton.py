"""Builds a base model's modules without weights, to learn its shapes before loading.

The modules are made on torch's meta device from `config.json`, which takes milliseconds and no memory for a model of
any size.
"""

from typing import Any, cast

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel


def read_config(location: str, *, revision: str | None = None) -> PreTrainedConfig:
    """The configuration of a directory or a Hub id; from the Hub only small files are fetched.

    Raises:
        OSError, ValueError, ...: whatever transformers raises for files that it cannot read.

    """
    config = AutoConfig.from_pretrained(location, revision=revision or "main", trust_remote_code=False)
    return cast("PreTrainedConfig", config)


def skeleton(config: PreTrainedConfig, dtype: torch.dtype | None = None) -> PreTrainedModel:
    """The model with its parameters on the meta device; `dtype` None: the dtype that the configuration names.

    Raises:
        ValueError, ...: whatever transformers raises for an unknown architecture.

    """
    with torch.device("meta"):
        from_config: Any = AutoModelForCausalLM.from_config
        return cast("PreTrainedModel", from_config(config, dtype=dtype, trust_remote_code=False))
