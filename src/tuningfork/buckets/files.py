"""One object, to be read in another process."""

from collections.abc import Iterator
from dataclasses import dataclass

from tuningfork.buckets.buckets import Buckets
from tuningfork.buckets.configuration import BucketSettings
from tuningfork.domain.permission import Principal


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketFile:
    """An object at an address, for a caller who may read it when it is opened. It can be pickled."""

    settings: BucketSettings
    uri: str
    reader: Principal

    def lines(self) -> Iterator[bytes]:
        """See `Buckets.lines`."""
        yield from Buckets(self.settings).lines(self.reader, self.uri)
