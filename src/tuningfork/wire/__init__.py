"""Converts JSON to domain values and back: pure functions without I/O. Each cites its interface definition.

Knows every field of the APIs; knows no store, network or clock.
"""
