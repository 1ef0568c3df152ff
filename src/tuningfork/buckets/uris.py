"""Addresses of objects: `gs://bucket/key`, `s3://bucket/key`, `file:///path`, `https://host/path`.

Nothing in them is percent-decoded.
"""

import re
from dataclasses import dataclass
from enum import StrEnum

from tuningfork.buckets.errors import InvalidName, InvalidUri, shown
from tuningfork.buckets.names import check_bucket, segments_of


class Scheme(StrEnum):
    """How an address begins."""

    GS = "gs"
    S3 = "s3"
    FILE = "file"
    HTTP = "http"
    HTTPS = "https"


WEB = (Scheme.HTTP, Scheme.HTTPS)
_HOST = re.compile(r"(?:[a-z0-9][a-z0-9.-]*|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?")


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectUri:
    """The address of an object. `bucket` is "" for files, whose `key` is the absolute path without its first slash.

    For `http://` and `https://` it is the host, with its port if the address has one.
    """

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
        if scheme in WEB:
            _check_web(text, bucket, key)
        elif scheme is not Scheme.FILE:
            check_bucket(bucket)
        elif bucket:
            raise InvalidUri(f"{shown(text)} names another machine. Use file:///PATH.")
        if not slash:
            raise InvalidUri(f"{shown(text)} names no object. Use {scheme}://BUCKET/OBJECT.")
        segments_of(key)
    except InvalidName as error:
        raise InvalidUri(f"{shown(text)} is not the address of an object. {error.message}") from error
    return ObjectUri(scheme=scheme, bucket=bucket, key=key)


def _check_web(text: str, host: str, path: str) -> None:
    if _HOST.fullmatch(host) is None:
        raise InvalidUri(f"{shown(text)} names no host in lower-case letters. Use https://HOST/PATH, without a user.")
    if set("?#%\\") & set(path):
        raise InvalidUri(
            f"{shown(text)} has a query, a fragment or a percent-encoded character. Use https://HOST/PATH, with every "
            "character as it is."
        )
