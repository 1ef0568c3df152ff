"""How much of a job's examples is read and rendered at a time, so that other jobs have their turns between."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from tuningfork.domain.conversation import Example
from tuningfork.domain.dataset import characters_of

_AT_ADMISSION = 2**20
"""How many rendered characters of a job's examples are checked at its admission, which takes one or two seconds."""

_BEFORE_PASS = 2**15
"""How many characters of a batch are rendered, which takes some 50 ms, before other jobs have their turns. With what is
left, further examples are checked before the pass, at least one of each of its jobs, until all have been checked."""

_SECONDS = 0.25
"""For how long this may take where a base's template is slow; at a job's admission too, while there are other jobs."""

_READING_ONE, _RENDERING_ONE = 16, 128
"""The fixed costs of reading one example and of rendering one. The unit is the cost of rendering one character."""

_CHARACTERS_READ = 32
"""Roughly how many characters are read and measured in the time in which one character is rendered."""


@dataclass(slots=True)
class Effort:
    """What may still be read and rendered.

    `characters` are rendered characters. A character that is read and not rendered counts as 1/32 (`_CHARACTERS_READ`).
    At the moment `until`, in seconds of `monotonic`, the rest lapses.
    """

    characters: int
    until: float = math.inf
    monotonic: Callable[[], float] = time.monotonic

    @property
    def is_spent(self) -> bool:
        """Whether nothing is left."""
        return self.characters <= 0 or (self.until < math.inf and self.monotonic() >= self.until)

    def spend_reading(self, example: Example) -> None:
        """Count the example as read."""
        self.characters -= _READING_ONE + characters_of(example) // _CHARACTERS_READ

    def spend_rendering(self, example: Example) -> None:
        """Count the example as rendered."""
        self.characters -= _RENDERING_ONE + characters_of(example)


@dataclass(frozen=True, slots=True)
class Efforts:
    """The efforts of one engine. `monotonic` None: they are bounded by characters alone, not by time."""

    monotonic: Callable[[], float] | None = None

    def at_admission(self, *, alone: bool) -> Effort:
        """For checking a job's examples at its admission; `alone`: there is no other job."""
        return Effort(_AT_ADMISSION) if alone else self._bounded(_AT_ADMISSION)

    def before_pass(self) -> Effort:
        """For rendering and checking between two passes."""
        return self._bounded(_BEFORE_PASS)

    def _bounded(self, characters: int) -> Effort:
        if self.monotonic is None:
            return Effort(characters)
        return Effort(characters, self.monotonic() + _SECONDS, self.monotonic)
