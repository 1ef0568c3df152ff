"""What can be wrong with an address, a bucket or an object. No message has a path of the server."""

import errno

from tuningfork.domain.errors import (
    AlreadyExists,
    Code,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    TuningforkError,
    Unavailable,
)

_SHOWN_CHARACTERS = 300


def shown(text: str) -> str:
    """A text of the caller's in quotes, not too long, and with escapes in place of what cannot be printed."""
    return repr(text) if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]!r}..."


class InvalidUri(InvalidArgument):
    """The text is not the address of an object that this server could read."""


class InvalidName(InvalidArgument):
    """A bucket or an object cannot have this name here."""


class LineTooLong(InvalidArgument):
    """A line of an object has more bytes than may be in memory; `line` is its number, from 1."""

    def __init__(self, uri: str, line: int, most_bytes: int) -> None:
        super().__init__(
            f"Line {line} of {uri} has more than {most_bytes} bytes. A file of examples has one JSON object on each "
            "line; write each example on a line of its own."
        )
        self.line = line
        self.most_bytes = most_bytes


class BucketNotFound(NotFound):
    """There is no such bucket, or the caller may not know of it."""

    def __init__(self, bucket: str) -> None:
        super().__init__("The specified bucket does not exist.")
        self.bucket = bucket


class ObjectNotFound(NotFound):
    """There is no such object, or the caller may not know of it."""

    def __init__(self, bucket: str, key: str) -> None:
        super().__init__(f"No such object: {bucket}/{key[:_SHOWN_CHARACTERS]}")
        self.bucket = bucket
        self.key = key


class BucketTaken(AlreadyExists):
    """The name of a new bucket is taken, by the caller or by somebody else."""

    def __init__(self, bucket: str) -> None:
        super().__init__(f"The bucket name {bucket!r} is taken; choose another one.")


class BucketNotEmpty(TuningforkError):
    """A bucket that still has objects is not deleted."""

    code = Code.ABORTED

    def __init__(self, bucket: str) -> None:
        super().__init__(f"The bucket {bucket!r} is not empty; delete its objects first.")


class BucketReadOnly(PermissionDenied):
    """The operator shares this bucket for reading only."""

    def __init__(self, bucket: str) -> None:
        super().__init__(f"The bucket {bucket!r} is shared for reading only; write into a bucket of your own.")


class ConditionNotMet(FailedPrecondition):
    """A condition on an object's generation does not hold."""

    def __init__(self) -> None:
        super().__init__("At least one of the pre-conditions you specified did not hold.")


class RangeNotSatisfiable(TuningforkError):
    """The wanted bytes begin after the object's end; `size` is the object's, in bytes."""

    code = Code.OUT_OF_RANGE

    def __init__(self, size: int) -> None:
        super().__init__(f"The requested range cannot be satisfied: the object has {size} bytes.")
        self.size = size


class DirectoryAway(Unavailable):
    """The directory that an operator shares as a bucket is not there, such as on a disk that is not mounted."""

    def __init__(self, bucket: str) -> None:
        super().__init__(
            f"The directory of the bucket {bucket!r} is not there at the moment. The server's operator has named it in "
            "TUNINGFORK_BUCKETS, and finds its path in the server's log."
        )


class ServerNotPermitted(PermissionDenied):
    """The system does not let the server read or write a bucket's files; `key` "": any of them."""

    def __init__(self, bucket: str, key: str = "") -> None:
        super().__init__(
            f"The server itself may not use the files of {bucket}/{key[:_SHOWN_CHARACTERS]}: their permissions, or a "
            "disk that is mounted for reading only, refuse it. The server's operator can change that."
        )


SYSTEM_REFUSALS = (errno.EACCES, errno.EPERM, errno.EROFS)
"""The numbers of errors by which the system refuses a server."""


class StoreUnreachable(Unavailable):
    """The object store that holds this object does not answer, or refuses the server."""
