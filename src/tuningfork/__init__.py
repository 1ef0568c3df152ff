"""Tuningfork: self-hosted fine-tuning that speaks the Gemini API's tuning dialect.

A tuned model is a resident base model plus a small LoRA adapter, so training and serving share one base.
"""

__version__ = "0.1.0"
