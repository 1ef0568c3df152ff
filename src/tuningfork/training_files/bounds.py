"""What is read of a training file at most."""

MAX_BYTES = 64 * 1024 * 1024
"""Of a file, packed or not, unless somebody has chosen another bound."""

MAX_FAULTS = 200
"""Reading stops at so many: nobody mends more of them by hand, and each takes memory."""
MAX_ROWS = 300_000
"""More examples than this do not fit into the 8 MB of one request, however short they are."""
MAX_COLUMNS = 1_000
MAX_CELLS = 3_000_000
"""Of all rows together; each takes some 100 bytes of memory beside its text."""
MAX_RECORDS = 2_000_000
"""Rows that are empty included: each takes a microsecond to pass over."""
MAX_VALUES = 3_000_000
"""Of a JSON file, counted by the commas and brackets in it; the smallest takes some 70 bytes of memory."""

FEWER = "Keep the best examples: a few hundred usually teach as much as many thousands."
