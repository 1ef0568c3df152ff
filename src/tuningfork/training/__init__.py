"""Trains many jobs over one base model in memory: `TrainingEngine.admit(job)`, then `step()` returns reports.

Knows examples, batches, losses and adapters; knows no database, HTTP, processes or callers.
"""
