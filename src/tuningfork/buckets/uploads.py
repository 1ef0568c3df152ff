"""Objects that arrive, in one piece or in several, also across restarts of the server.

uploads/ID/data           the bytes so far
uploads/ID/upload.json    what they are to become; missing for uploads in one piece, which a restart ends
"""

import json
import os
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from tuningfork.buckets.checksums import Checksumming, checksumming_of
from tuningfork.buckets.configuration import BucketSettings
from tuningfork.buckets.metadata import Properties
from tuningfork.buckets.objects import ANYTHING, Conditions
from tuningfork.domain.errors import Busy, NotFound

KEPT_SECONDS = 7 * 24 * 3600.0
"""How long an upload is kept after its last byte."""

_SWEEP_SECONDS = 3600.0
_RETRY_SECONDS = 2
_DATA = "data"
_RECORD = "upload.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """What bytes are to become. `owner` is whose upload it is; `size` None: not known yet.

    `crc32c` and `md5` are what the bytes must have, in base64; "": anything. `done` is the generation of the object
    that they have become; 0: they have not yet.
    """

    bucket: str
    key: str
    owner: str
    properties: Properties = field(default_factory=Properties)
    conditions: Conditions = ANYTHING
    size: int | None = None
    crc32c: str = ""
    md5: str = ""
    done: int = 0


class UploadGone(NotFound):
    """There is no such upload: it was cancelled, is too old, or never was."""

    def __init__(self) -> None:
        super().__init__("There is no such upload: it was cancelled, or was left alone for too long. Begin a new one.")


class Arriving:
    """An upload while a request writes to it. Used by one thread at a time.

    `size` is how many bytes have arrived.
    """

    def __init__(self, directory: Path, upload: Upload) -> None:
        self.directory = directory
        self.upload = upload
        self._path = directory / _DATA
        self._checksumming: Checksumming | None = None
        self.size = self._path.stat().st_size if self._path.exists() else 0

    @property
    def path(self) -> Path:
        """The file of the bytes so far."""
        return self._path

    def add(self, piece: bytes) -> None:
        """Write further bytes.

        Raises:
            OSError: the disk is full; some of the bytes may have been written.

        """
        with self._path.open("ab", buffering=0) as file:
            try:
                rest = memoryview(piece)
                while rest:
                    rest = rest[file.write(rest) :]
            finally:
                self.size = file.tell()
        if self._checksumming is not None:
            self._checksumming.add(piece)
        elif self.size == len(piece):
            self._checksumming = Checksumming()
            self._checksumming.add(piece)

    def checksumming(self) -> Checksumming:
        """The checksums of all bytes so far. They are read again if some arrived before a restart, or were cut off."""
        if self._checksumming is None or self._checksumming.size != self.size:
            self._path.touch(mode=0o600)
            with self._path.open("rb") as file:
                self._checksumming = checksumming_of(file)
        return self._checksumming

    def record(self, upload: Upload) -> None:
        """Change what the bytes are to become."""
        self.upload = upload
        place = self.directory / _RECORD
        aside = place.with_suffix(".aside")
        aside.write_text(json.dumps(asdict(upload)), encoding="utf-8")
        aside.replace(place)


class Uploads:
    """All uploads of a server. Thread-safe.

    Args:
        settings: where buckets are.
        seconds: the current time, in seconds since the epoch.

    """

    def __init__(self, settings: BucketSettings, seconds: Callable[[], float] = time.time) -> None:
        self._directory = settings.server_files / "uploads"
        self._seconds = seconds
        self._lock = threading.Lock()
        self._open: dict[str, Arriving] = {}
        self._in_use: set[str] = set()
        self._swept = 0.0
        self._forget_unfinished()

    def begin(self, upload: Upload) -> str:
        """Begin an upload in several pieces. Returns its id, which nobody can guess."""
        self._sweep()
        upload_id = secrets.token_urlsafe(32)
        arriving = self._make(upload_id, upload)
        arriving.record(upload)
        return upload_id

    @contextmanager
    def at_once(self, upload: Upload) -> Iterator[Arriving]:
        """An upload in one piece, which is gone after the `with` block."""
        self._sweep()
        arriving = self._make(secrets.token_urlsafe(32), upload, in_use=True)
        try:
            yield arriving
        finally:
            shutil.rmtree(arriving.directory, ignore_errors=True)
            with self._lock:
                self._in_use.discard(arriving.directory.name)

    def take(self, upload_id: str) -> Arriving:
        """An upload that was begun, for one request alone; to be ended with `give_back`.

        Raises:
            UploadGone: there is none of this id.
            Busy: another request writes to it.

        """
        with self._lock:
            if upload_id in self._in_use:
                raise Busy("Another request writes to this upload.", retry_seconds=_RETRY_SECONDS)
            arriving = self._open.get(upload_id)
            if arriving is None or not arriving.directory.exists():
                self._open.pop(upload_id, None)
                arriving = self._read(upload_id)
            self._in_use.add(upload_id)
            self._open[upload_id] = arriving
            return arriving

    def give_back(self, arriving: Arriving) -> None:
        """End the use of an upload."""
        with self._lock:
            self._in_use.discard(arriving.directory.name)

    def done(self, arriving: Arriving, generation: int) -> None:
        """Remember that the bytes have become an object, for callers who ask again."""
        arriving.record(replace(arriving.upload, done=generation))
        with self._lock:
            self._open.pop(arriving.directory.name, None)

    def cancel(self, arriving: Arriving) -> None:
        """Remove an upload."""
        shutil.rmtree(arriving.directory, ignore_errors=True)
        with self._lock:
            self._open.pop(arriving.directory.name, None)

    def _make(self, upload_id: str, upload: Upload, *, in_use: bool = False) -> Arriving:
        directory = self._directory / upload_id
        with self._lock:
            if in_use:
                self._in_use.add(upload_id)
        directory.mkdir(mode=0o700, parents=True)
        return Arriving(directory, upload)

    def _read(self, upload_id: str) -> Arriving:
        if not upload_id or not upload_id.replace("-", "").replace("_", "").isalnum() or not upload_id.isascii():
            raise UploadGone
        directory = self._directory / upload_id
        try:
            return Arriving(directory, _parsed(json.loads((directory / _RECORD).read_text(encoding="utf-8"))))
        except (OSError, ValueError) as error:
            raise UploadGone from error

    def _sweep(self) -> None:
        """Remove uploads that have been left alone for too long; once in a while."""
        now = self._seconds()
        with self._lock:
            if now - self._swept < _SWEEP_SECONDS:
                return
            self._swept = now
            for directory in self._directories():
                if directory.name not in self._in_use and now - _last_change(directory) > KEPT_SECONDS:
                    shutil.rmtree(directory, ignore_errors=True)
                    self._open.pop(directory.name, None)

    def _forget_unfinished(self) -> None:
        """Remove what uploads in one piece have left that a crash has ended."""
        for directory in self._directories():
            if not (directory / _RECORD).exists():
                shutil.rmtree(directory, ignore_errors=True)

    def _directories(self) -> list[Path]:
        try:
            return [Path(entry.path) for entry in os.scandir(self._directory)]
        except FileNotFoundError:
            return []


def _last_change(directory: Path) -> float:
    times = [path.stat().st_mtime for path in (directory / _DATA, directory / _RECORD) if path.exists()]
    return max(times, default=directory.stat().st_mtime)


def _parsed(known: dict[str, Any]) -> Upload:
    properties, conditions = Properties(**known.pop("properties")), Conditions(**known.pop("conditions"))
    return Upload(**known, properties=properties, conditions=conditions)
