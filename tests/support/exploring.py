"""How many examples the tests with hypothesis try: few and always the same, or many and random ones.

The suite passes or fails by the code alone, so its examples are the same in every run. `make test-explore` looks for
examples that nobody has tried.
"""

import os

EXPLORE = "explore"
"""The value of the variable HYPOTHESIS_PROFILE, and the name of the profile, with which random examples are tried."""

TIMES = 20


def exploring() -> bool:
    """Whether random examples are asked for."""
    return os.environ.get("HYPOTHESIS_PROFILE") == EXPLORE


def often(examples: int) -> int:
    """So many examples; when exploring, twenty times as many."""
    return examples * TIMES if exploring() else examples
