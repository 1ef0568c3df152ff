"""How much the datasets of one owner may take, and how much of the disk all of them leave free."""

from tuningfork.domain.errors import ResourceExhausted
from tuningfork.domain.permission import Email
from tuningfork.store.database import Transaction, lock_name
from tuningfork.store.staged_rows import StagedFiles

MOST_DATASETS = 50
"""Of one owner."""
MOST_BYTES = 512 * 2**20
"""That the rows and edits of all datasets of one owner take."""
SPARE_BYTES = 256 * 2**20
"""What uploads and edits leave free on the disk, so that the database can still be written."""


def check_count(count: int, most: int) -> None:
    """Check that an owner who has so many datasets may have one more.

    Raises:
        ResourceExhausted: they may not.

    """
    if count >= most:
        raise ResourceExhausted(
            f"You have {count} datasets, and {most} is the most: delete those that you do not need. They also expire a "
            "week after their last use."
        )


def check_bytes(used: int, more: int, most: int) -> None:
    """Check that an owner whose datasets take `used` bytes may have so many more.

    Raises:
        ResourceExhausted: they may not.

    """
    if used + more > most:
        raise ResourceExhausted(
            f"Your datasets would take {(used + more) / 2**20:.0f} MB, and {most / 2**20:.0f} MB is the most: delete "
            "those that you do not need. They also expire a week after their last use."
        )


def lock(connection: Transaction, owner: Email) -> None:
    """Lock the room of this owner's datasets: until the transaction ends, no other one adds to what they take."""
    lock_name(connection, f"staged datasets of {owner}")


def check_disk(files: StagedFiles, more: int) -> None:
    """Check that the disk has room for so many bytes.

    Raises:
        ResourceExhausted: it has not.

    """
    if more + SPARE_BYTES > files.free_bytes():
        raise ResourceExhausted("The server's disk has no room for this. Try again when its operator has made room.")
