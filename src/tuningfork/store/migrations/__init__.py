"""The migrations that lead to the tables of `schema.py`, applied when a database is opened.

A change of the tables is a new file in `versions/`; a test compares the resulting tables with `schema.py`.
"""
