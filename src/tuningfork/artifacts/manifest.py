"""The manifest of an artifact: its files with their sizes and digests. An artifact without one does not exist."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tuningfork.artifacts.base import ArtifactDamaged
from tuningfork.domain.artifact import ArtifactRef

DIRECTORY = "manifests"
"""The directory of all manifests, which are apart so that an adapter's directory has only PEFT's files."""


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One file of an artifact. `size` is in bytes; `digest` is the SHA-256 in hexadecimal digits.

    `name` is the path below the artifact's directory; "": the artifact is a single file. `digest` None: the file is of
    a version that wrote no manifests, and only its size is checked.
    """

    name: str
    size: int
    digest: str | None


@dataclass(frozen=True, slots=True)
class Manifest:
    """The files of one artifact, sorted by name."""

    files: tuple[FileEntry, ...]

    @property
    def size(self) -> int:
        """The bytes of all files together."""
        return sum(entry.size for entry in self.files)

    @classmethod
    def of(cls, path: Path, *, with_digests: bool = True) -> "Manifest":
        """Describe the file, or the files of the directory, at this path.

        Raises:
            OSError: the path does not exist or cannot be read.

        """
        return cls(
            tuple(
                FileEntry(name, file.stat().st_size, digest_of(file) if with_digests else None)
                for name, file in sorted(_named(path))
            )
        )

    @classmethod
    def parse(cls, text: str | bytes) -> "Manifest":
        """The manifest that `render` wrote.

        Raises:
            ArtifactDamaged: the text is not a manifest.

        """
        try:
            files = tuple(FileEntry(row["name"], row["size"], row["digest"]) for row in json.loads(text)["files"])
        except (ValueError, KeyError, TypeError) as error:
            raise ArtifactDamaged(f"an artifact's manifest cannot be read: {error}") from error
        for entry in files:
            if PurePosixPath(entry.name).is_absolute() or ".." in PurePosixPath(entry.name).parts:
                raise ArtifactDamaged(f"an artifact's manifest names the file {entry.name!r}, outside of the artifact")
        return cls(files)

    def render(self) -> str:
        """The manifest as JSON."""
        rows = [{"name": entry.name, "size": entry.size, "digest": entry.digest} for entry in self.files]
        return json.dumps({"files": rows}) + "\n"

    def check_sizes(self, path: Path) -> None:
        """Check that all files exist at this path with the right sizes.

        Raises:
            ArtifactDamaged: a file is missing or has another size.

        """
        for entry in self.files:
            file = path / entry.name if entry.name else path
            try:
                size = file.stat().st_size
            except FileNotFoundError:
                size = None
            if size != entry.size:
                found = "is missing" if size is None else f"has {size} bytes"
                raise ArtifactDamaged(f"{file} {found}; its manifest says {entry.size} bytes")

    def check_digests(self, path: Path) -> None:
        """Check that all files exist at this path with the right content; of a file without a digest, its size.

        Raises:
            ArtifactDamaged: a file is missing, or differs.
            OSError: a file cannot be read, which may pass; it is not damaged for that.

        """
        self.check_sizes(path)
        for entry in self.files:
            file = path / entry.name if entry.name else path
            try:
                whole = entry.digest in (None, digest_of(file))
            except FileNotFoundError:
                raise ArtifactDamaged(f"{file} is missing") from None
            if not whole:
                raise ArtifactDamaged(f"{file} is not what was written: its manifest has another SHA-256")


def manifest_key(ref: ArtifactRef) -> str:
    """The path of an artifact's manifest, relative to the root of a store."""
    return f"{DIRECTORY}/{ref.key}.json"


def file_key(ref: ArtifactRef, entry: FileEntry) -> str:
    """The path of a file of an artifact, relative to the root of a store."""
    return f"{ref.key}/{entry.name}" if entry.name else ref.key


def digest_of(file: Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _named(path: Path) -> Iterable[tuple[str, Path]]:
    if path.is_file():
        return [("", path)]
    return [(file.relative_to(path).as_posix(), file) for file in path.rglob("*") if file.is_file()]
