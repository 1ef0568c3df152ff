"""Many adapters over one resident base: `InferenceEngine.add(request)`, `step()` -> tokens.

Knows tokens and adapter slots; refuses to know users, names, processes and HTTP.
"""
