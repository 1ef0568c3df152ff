"""The names of artifacts: datasets, adapters and savepoints, wherever they are stored."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class ArtifactRef:
    """Names a file, or a directory of files, in an artifact store: a relative path such as `adapters/abc`.

    It does not say where the store is, so it can be sent from one machine to another.

    Raises:
        ValueError: the key is empty, absolute, or has an empty segment, `.` or `..`.

    """

    key: str

    def __post_init__(self) -> None:
        if not set(self.key.split("/")).isdisjoint({"", ".", ".."}):
            raise ValueError(f"{self.key!r} is no artifact's key; give a relative path without empty segments or dots")

    def below(self, name: str) -> "ArtifactRef":
        """The reference with this name below this one."""
        return ArtifactRef(f"{self.key}/{name}")

    @property
    def name(self) -> str:
        """The last part of the key."""
        return self.key.rpartition("/")[2]

    def __str__(self) -> str:
        return self.key
