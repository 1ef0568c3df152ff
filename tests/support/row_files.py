"""Files of rows for preparers, which they open in their own process."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RowFile:
    """Implements `execution.preparation.LineSource` with a file of this machine."""

    path: Path

    def lines(self) -> Iterator[bytes]:
        with self.path.open("rb") as lines:
            yield from lines


@dataclass(frozen=True)
class EndlessRows:
    """A source that never ends."""

    line: bytes

    def lines(self) -> Iterator[bytes]:
        while True:
            yield self.line


def row_of(*texts: str) -> bytes:
    """A row in which user and model take turns."""
    roles = ["user", "model"] * len(texts)
    contents = [{"role": role, "parts": [{"text": text}]} for role, text in zip(roles, texts, strict=False)]
    return json.dumps({"contents": contents}).encode()


def written(path: Path, lines: Iterable[bytes]) -> RowFile:
    """A file of these lines."""
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return RowFile(path)
