"""Generates text with many adapters over one base model in memory: `InferenceEngine.add(request)`, then `step()`.

Knows tokens and adapter slots; knows no users, names, processes or HTTP.
"""
