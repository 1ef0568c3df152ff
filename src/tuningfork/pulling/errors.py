"""Why a base model could not be fetched."""

from pathlib import Path

from tuningfork.pulling.kept import KeptBase


class PullError(Exception):
    """The base model was not fetched; the message is a sentence or two that say why, and what to do."""


class AlreadyThere(PullError):
    """There is a model of this name already.

    Attributes:
        wanted: what was to be fetched.
        base: the model that is there; None: its description cannot be read.
        place: the directory of its files.

    """

    def __init__(self, wanted: KeptBase, place: Path, base: KeptBase | None) -> None:
        self.wanted = wanted
        self.base = base
        self.place = place
        source = f", from {base.source}" if base and base.source else ""
        super().__init__(f"{wanted.name} is there already: {place}{source}. To fetch it once more, give --again.")
