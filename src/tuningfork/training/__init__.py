"""Many tuning jobs over one resident base: `TrainingEngine.admit(job)`, `step()` -> snapshots.

Knows examples, batches, losses and adapters; refuses to know the store, HTTP, processes and who is asking.
"""
