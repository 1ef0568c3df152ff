"""Ends a text where a stop sequence appears in it, however the text is cut into pieces."""

from collections.abc import Sequence


class StopSequences:
    """Lets a text through piece by piece, holding back what may yet turn out to be the start of a stop sequence.

    The text ends before the stop sequence that is complete first; where two are complete at the same character, before
    the longer one. So the result does not depend on where the pieces are cut.
    """

    def __init__(self, sequences: Sequence[str]) -> None:
        self._sequences = tuple(sequence for sequence in sequences if sequence)
        self._held = ""
        self.met = False
        """Whether a stop sequence was found; from then on nothing more comes."""

    def push(self, piece: str) -> str:
        """What may be shown after this piece: the text before a stop sequence, or all that cannot begin one."""
        if self.met:
            return ""
        text = self._held + piece
        found = [(place + len(each), place) for each in self._sequences if (place := text.find(each)) >= 0]
        if found:
            self.met = True
            self._held = ""
            return text[: min(found)[1]]
        keep = self._longest_beginning(text)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def flush(self) -> str:
        """What was held back, once it is certain that no more text comes."""
        held, self._held = self._held, ""
        return held

    def _longest_beginning(self, text: str) -> int:
        """The length of the longest end of the text that a stop sequence begins with."""
        longest = max((len(each) for each in self._sequences), default=1) - 1
        for length in range(min(longest, len(text)), 0, -1):
            if any(each.startswith(text[-length:]) for each in self._sequences):
                return length
        return 0
