"""Ends a text before the first stop sequence, independently of how the text is cut into pieces."""

from collections.abc import Sequence


class StopSequences:
    """Passes a text on as it arrives, holding back an end that may be the start of a stop sequence.

    The text ends before the stop sequence that is complete first; if two are complete at the same character, before the
    longer one. So the result does not depend on where the text is cut into pieces.
    """

    def __init__(self, sequences: Sequence[str]) -> None:
        self._sequences = tuple(sequence for sequence in sequences if sequence)
        self._held = ""
        self.met = False
        """Whether a stop sequence was found; after that no more text is returned."""

    def push(self, piece: str) -> str:
        """Add a piece of text; return the text that can be passed on now.

        It ends before a stop sequence, or before an end that may be the start of one.
        """
        if self.met:
            return ""
        text = self._held + piece
        found = [(place + len(each), place) for each in self._sequences if (place := text.find(each)) >= 0]
        if found:
            self.met = True
            self._held = ""
            return text[: min(found)[1]]
        keep = self._possible_start(text)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def flush(self) -> str:
        """The text that is still held back; to be called after the last piece."""
        held, self._held = self._held, ""
        return held

    def _possible_start(self, text: str) -> int:
        """The length of the longest suffix of the text that is a prefix of a stop sequence."""
        longest = max((len(each) for each in self._sequences), default=1) - 1
        for length in range(min(longest, len(text)), 0, -1):
            if any(each.startswith(text[-length:]) for each in self._sequences):
                return length
        return 0
