"""The id of a server among those on its database, stored in its data directory."""

from collections.abc import Callable
from pathlib import Path

from tuningfork.artifacts.durable import write_aside
from tuningfork.domain.ids import ID_BITS, random_id
from tuningfork.store.leases import ServerId

FILE = "server-id"


def server_id(data_directory: Path, entropy: Callable[[int], int]) -> ServerId:
    """The id of this data directory's server; created at the first start and then reused.

    The caller has locked the data directory, so that no other server creates an id at the same time. `entropy` returns
    the given number of random bits.
    """
    known = known_server_id(data_directory)
    if known is not None:
        return known
    file = data_directory / FILE
    made = random_id(entropy(ID_BITS))
    write_aside(file, f"{made}\n".encode())
    return ServerId(made)


def known_server_id(data_directory: Path) -> ServerId | None:
    """The id of this data directory's server; None before its first start."""
    file = data_directory / FILE
    known = file.read_text(encoding="ascii").strip() if file.exists() else ""
    return ServerId(known) if known else None
