"""Looks whether a directory can be written to."""

from contextlib import suppress
from pathlib import Path

from tuningfork.domain.errors import ResourceExhausted
from tuningfork.store.full_disk import full_disk_reported

_PROBE = ".probe"
_PROBE_BYTES = 1 << 20


def refusal_of(directory: Path, called: str) -> str | None:
    """Why nothing can be written to a directory at the moment, which the answer calls so; None: it takes files."""
    probe = directory / _PROBE
    try:
        with full_disk_reported():
            probe.write_bytes(bytes(_PROBE_BYTES))
    except ResourceExhausted as error:
        return error.message
    except OSError as error:
        return f"nothing can be written to {called}: {error.strerror}"
    finally:
        # On a disk that is read-only, this fails too, whether the file is there or not.
        with suppress(OSError):
            probe.unlink()
    return None
