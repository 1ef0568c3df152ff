"""Attention over packed rows: plans of which tokens see which keys, and their registration with transformers.

Knows no decoder and no weights.
"""
