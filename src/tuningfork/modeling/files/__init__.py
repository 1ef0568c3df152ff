"""A base model's files: finds them, and reads shapes, context length, fingerprint and stored weights from them.

Does not know how a model computes.
"""
