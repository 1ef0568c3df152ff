"""Readers of training files: from the bytes of a table or of conversations to named columns, rows and their faults.

Offers `recognition.parse`, which finds out what a file is, `columns.choose` and `examples.make`; refuses to know where
the bytes come from, and what is done with the examples.
"""
