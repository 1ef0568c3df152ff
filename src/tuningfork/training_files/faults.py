"""What is wrong with a training file: where, what, and what to do about it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing wrong with a training file. `place` is "" for the file as a whole."""

    place: str = ""
    problem: str
    advice: str = ""
