"""Remembers which artifacts were found to be damaged, so that nobody has to read them again to say the same."""

from dataclasses import dataclass, field
from pathlib import Path

from tuningfork.artifacts.base import ArtifactDamaged
from tuningfork.domain.artifact import ArtifactRef

FileStates = tuple[tuple[str, int, int, int], ...]
"""Name, inode, size in bytes and time of the last change of each file of a directory."""


def states_of(directory: Path) -> FileStates:
    """What changes if a file of this directory is written or replaced."""
    states = ((file.name, file.stat()) for file in sorted(directory.iterdir()))
    return tuple((name, found.st_ino, found.st_size, found.st_mtime_ns) for name, found in states)


@dataclass(slots=True)
class KnownDamage:
    """What was found when the content of artifacts was compared with what was written. Thread-safe.

    It holds until a file of the artifact changes.
    """

    _found: dict[ArtifactRef, tuple[FileStates, str | None]] = field(default_factory=dict)

    def note(self, ref: ArtifactRef, states: FileStates, damage: ArtifactDamaged | None) -> None:
        """Remember what was found of an artifact whose files had these states; None: its content was right."""
        self._found[ref] = states, None if damage is None else damage.message

    def is_known(self, ref: ArtifactRef, states: FileStates) -> bool:
        """Whether the artifact was compared while its files had these states.

        Raises:
            ArtifactDamaged: it was, and it was damaged.

        """
        found, damage = self._found.get(ref, (None, None))
        if found != states:
            return False
        if damage is not None:
            raise ArtifactDamaged(damage)
        return True

    def forget(self, ref: ArtifactRef) -> None:
        """Forget an artifact that was deleted; no error if nothing is known of it."""
        self._found.pop(ref, None)
