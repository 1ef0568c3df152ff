"""How the tables came to be what `schema.py` says: one revision after another, applied when a database is opened.

A change of the tables is a new file in `versions/`; a test compares what they lead to with `schema.py`.
"""
