"""The composition root: builds a running service from settings. The only package that knows all others.

Decides nothing that a use case could decide.
"""
