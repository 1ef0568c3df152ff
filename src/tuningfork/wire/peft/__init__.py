"""Adapters in PEFT's format, as they come from elsewhere: what their two files say, and whether that can be served.

Reads configurations and headers only. Does not know where the files are, nor the base that an adapter is for.
"""

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
