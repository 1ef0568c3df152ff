"""One object, to be read in another process."""

from collections.abc import Iterator
from dataclasses import dataclass

from tuningfork.buckets.buckets import Buckets
from tuningfork.buckets.configuration import BucketSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketFile:
    """An object at an address, for whoever may read it: nobody is asked any more. It can be pickled."""

    settings: BucketSettings
    uri: str

    def lines(self) -> Iterator[bytes]:
        """See `Buckets.lines`."""
        yield from Buckets(self.settings).lines(self.uri)
