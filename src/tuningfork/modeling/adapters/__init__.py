"""LoRA adapters in slots of a resident base: loads, trains and applies them, and writes them in PEFT's format.

Knows no jobs and no requests.
"""
