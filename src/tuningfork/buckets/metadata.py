"""What is known of an object besides its bytes, in a small file for each object, apart from the objects."""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tuningfork.buckets.checksums import Checksums

USUAL_TYPE = "application/octet-stream"

_NANOSECONDS = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Properties:
    """What the writer of an object says about it. "": nothing was said."""

    content_type: str = ""
    content_encoding: str = ""
    content_disposition: str = ""
    content_language: str = ""
    cache_control: str = ""
    custom: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectMetadata:
    """An object without its bytes. `size` is in bytes.

    `generation` changes with the bytes, `metageneration` with the properties. `checksums` None: they have not been
    computed, since the operator has put the file there.
    """

    bucket: str
    key: str
    size: int
    generation: int
    metageneration: int
    created: datetime
    updated: datetime
    checksums: Checksums | None
    properties: Properties = field(default_factory=Properties)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileIdentity:
    """By what a file is recognised as the one that metadata were written for."""

    size: int
    changed_nanoseconds: int
    inode: int

    @classmethod
    def of(cls, status: os.stat_result) -> "FileIdentity":
        """The identity of the file that has this status."""
        return cls(size=status.st_size, changed_nanoseconds=status.st_mtime_ns, inode=status.st_ino)


class MetadataFiles:
    """The metadata of all objects below one directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def find(self, bucket: str, key: str, identity: FileIdentity) -> ObjectMetadata:
        """The metadata of an object whose file is this one.

        They are made of the file alone if none were written for it.
        """
        try:
            known = json.loads(self.place_of(bucket, key).read_text(encoding="utf-8"))
            if known["identity"] == asdict(identity):
                return _parsed(bucket, key, known)
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            pass
        changed = datetime.fromtimestamp(identity.changed_nanoseconds / 1e9, UTC)
        return ObjectMetadata(
            bucket=bucket,
            key=key,
            size=identity.size,
            generation=max(1, identity.changed_nanoseconds // _NANOSECONDS),
            metageneration=1,
            created=changed,
            updated=changed,
            checksums=None,
        )

    def write(self, metadata: ObjectMetadata, identity: FileIdentity) -> None:
        """Write the metadata of the object whose file is this one."""
        place = self.place_of(metadata.bucket, metadata.key)
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        known = asdict(metadata) | {
            "identity": asdict(identity),
            "created": metadata.created.isoformat(),
            "updated": metadata.updated.isoformat(),
        }
        aside = place.with_suffix(".aside")
        aside.write_text(json.dumps(known), encoding="utf-8")
        aside.replace(place)

    def written_for(self, bucket: str, key: str, identity: FileIdentity) -> bytes | None:
        """What was written of an object whose file is this one, as it is on the disk; None: nothing was."""
        try:
            content = self.place_of(bucket, key).read_bytes()
            return content if json.loads(content)["identity"] == asdict(identity) else None
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None

    @staticmethod
    def adopt(place: Path, identity: FileIdentity) -> None:
        """Make the metadata in this file those of the file of this identity, which is a copy of the object's."""
        known = json.loads(place.read_bytes()) | {"identity": asdict(identity)}
        aside = place.with_suffix(".aside")
        aside.write_text(json.dumps(known), encoding="utf-8")
        aside.replace(place)

    def remove(self, bucket: str, key: str) -> None:
        """Forget the metadata of an object."""
        self.place_of(bucket, key).unlink(missing_ok=True)

    def place_of(self, bucket: str, key: str) -> Path:
        """The file of an object's metadata, which may not be there."""
        # Keys are longer than names of files may be.
        digest = hashlib.sha256(key.encode()).hexdigest()
        return self._directory / bucket / digest[:2] / f"{digest}.json"


def next_generation(before: int | None, now: datetime) -> int:
    """A generation after the one before; None: there was none."""
    generation = int(now.timestamp() * 1_000_000)
    return generation if before is None else max(generation, before + 1)


def with_properties(metadata: ObjectMetadata, properties: Properties, now: datetime) -> ObjectMetadata:
    """The metadata after somebody has changed the properties."""
    changed = metadata.metageneration + 1
    return replace(metadata, properties=properties, metageneration=changed, updated=now)


def _parsed(bucket: str, key: str, known: Mapping[str, Any]) -> ObjectMetadata:
    checksums = known["checksums"]
    return ObjectMetadata(
        bucket=bucket,
        key=key,
        size=known["size"],
        generation=known["generation"],
        metageneration=known["metageneration"],
        created=datetime.fromisoformat(known["created"]),
        updated=datetime.fromisoformat(known["updated"]),
        checksums=None if checksums is None else Checksums(**checksums),
        properties=Properties(**known["properties"]),
    )
