"""Addresses of objects: `gs://bucket/key`, `s3://bucket/key`, `file:///path`. Nothing in them is percent-decoded."""

from dataclasses import dataclass
from enum import StrEnum

from tuningfork.buckets.errors import InvalidName, InvalidUri, shown
from tuningfork.buckets.names import check_bucket, segments_of


class Scheme(StrEnum):
    """How an address begins."""

    GS = "gs"
    S3 = "s3"
    FILE = "file"


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectUri:
    """The address of an object. `bucket` is "" for files, whose `key` is the absolute path without its first slash."""

    scheme: Scheme
    bucket: str
    key: str

    def __str__(self) -> str:
        return f"{self.scheme}://{self.bucket}/{self.key}"

    @property
    def segments(self) -> tuple[str, ...]:
        """The key's parts between slashes."""
        return tuple(self.key.split("/"))


def parse_uri(text: str) -> ObjectUri:
    """The address in a text.

    Raises:
        InvalidUri: it is none, or of a kind that no server reads.

    """
    start, separator, rest = text.partition("://")
    if not separator or start not in tuple(Scheme):
        raise InvalidUri(f"{shown(text)} is not the address of an object. Use gs://BUCKET/OBJECT.")
    scheme = Scheme(start)
    bucket, slash, key = rest.partition("/")
    try:
        if scheme is not Scheme.FILE:
            check_bucket(bucket)
        elif bucket:
            raise InvalidUri(f"{shown(text)} names another machine. Use file:///PATH.")
        if not slash:
            raise InvalidUri(f"{shown(text)} names no object. Use {scheme}://BUCKET/OBJECT.")
        segments_of(key)
    except InvalidName as error:
        raise InvalidUri(f"{shown(text)} is not the address of an object. {error.message}") from error
    return ObjectUri(scheme=scheme, bucket=bucket, key=key)
