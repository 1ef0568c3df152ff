"""Finds the files of versions that wrote no manifests, and moves them to where this version expects them."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from tuningfork.domain.artifact import ArtifactRef

_STEP_UNKNOWN = "00000000"


def earlier_artifacts(root: Path) -> Iterator[ArtifactRef]:
    """The artifacts below `root` of an earlier version, which wrote no manifests."""
    for kind in ("datasets", "adapters"):
        for path in (root / kind).iterdir():
            if kind == "adapters" or path.suffix == ".jsonl":
                yield ArtifactRef(f"{kind}/{path.name}")
    for work in (root / "work").iterdir():
        ref = ArtifactRef(f"work/{work.name}")
        yield ref.below("source")
        yield from _savepoint(work, ref)


def _savepoint(work: Path, ref: ArtifactRef) -> Iterator[ArtifactRef]:
    """Move an earlier version's savepoint, which had no step in its name, and its log to this version's path."""
    place = work / "savepoints" / _STEP_UNKNOWN
    # If this fails, the job starts from its beginning.
    with suppress(OSError):
        for directory in (work / "savepoint", work / "checkpoint"):
            if directory.is_dir() and not place.exists():
                place.parent.mkdir(mode=0o700, exist_ok=True)
                directory.rename(place)
        former, log = place / "checkpoint.safetensors", work / "steps.jsonl"
        if former.exists():
            former.rename(place / "savepoint.safetensors")
        if log.exists() and place.exists():
            log.rename(place / log.name)
    yield ref.below("savepoints").below(_STEP_UNKNOWN)
