"""The log of the server and its worker processes: as lines for people or as JSON, bounded, one record a line.

Offers `configure` and what records are made of; does not know what is logged, and lets no text of a caller into it.
"""
