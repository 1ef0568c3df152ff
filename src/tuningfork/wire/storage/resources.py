"""Buckets and objects as storage/v1 answers them."""

import base64
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from tuningfork.buckets.listing import Page
from tuningfork.buckets.metadata import USUAL_TYPE, ObjectMetadata
from tuningfork.buckets.owners import BucketRecord

Json = dict[str, Any]


def render_bucket(bucket: BucketRecord, origin: str) -> Json:
    """A bucket. `origin` is the beginning of the server's addresses, as its caller writes it."""
    made = _time(bucket.create_time)
    return {
        "kind": "storage#bucket",
        "id": bucket.name,
        "selfLink": f"{origin}/storage/v1/b/{bucket.name}",
        "name": bucket.name,
        "projectNumber": "0",
        "generation": "1",
        "metageneration": "1",
        "location": "US",
        "locationType": "multi-region",
        "storageClass": "STANDARD",
        "etag": "CAE=",
        "timeCreated": made,
        "updated": made,
        "iamConfiguration": {"uniformBucketLevelAccess": {"enabled": True}},
    }


def render_buckets(buckets: Sequence[BucketRecord], origin: str) -> Json:
    """The answer of a list of buckets."""
    items = [render_bucket(each, origin) for each in buckets]
    return {"kind": "storage#buckets", **({"items": items} if items else {})}


def render_object(found: ObjectMetadata, origin: str) -> Json:
    """An object without its bytes. Properties that nobody has set are left out."""
    path = f"b/{found.bucket}/o/{quote(found.key, safe='')}"
    properties = found.properties
    said = {
        "contentEncoding": properties.content_encoding,
        "contentDisposition": properties.content_disposition,
        "contentLanguage": properties.content_language,
        "cacheControl": properties.cache_control,
        "metadata": dict(properties.custom),
    }
    checksums = {} if found.checksums is None else {"md5Hash": found.checksums.md5, "crc32c": found.checksums.crc32c}
    return {
        "kind": "storage#object",
        "id": f"{found.bucket}/{found.key}/{found.generation}",
        "selfLink": f"{origin}/storage/v1/{path}",
        "mediaLink": f"{origin}/download/storage/v1/{path}?generation={found.generation}&alt=media",
        "name": found.key,
        "bucket": found.bucket,
        "generation": str(found.generation),
        "metageneration": str(found.metageneration),
        "contentType": type_of(found),
        "storageClass": "STANDARD",
        "size": str(found.size),
        **checksums,
        "etag": etag_of(found),
        "timeCreated": _time(found.created),
        "updated": _time(found.updated),
        "timeStorageClassUpdated": _time(found.created),
        **{name: value for name, value in said.items() if value},
    }


def render_objects(items: Sequence[ObjectMetadata], page: Page, origin: str) -> Json:
    """The answer of a list of objects."""
    answer: Json = {"kind": "storage#objects"}
    if page.more_after:
        answer["nextPageToken"] = page.more_after
    if page.prefixes:
        answer["prefixes"] = list(page.prefixes)
    if items:
        answer["items"] = [render_object(each, origin) for each in items]
    return answer


def render_rewrite(found: ObjectMetadata, origin: str) -> Json:
    """The answer of a copy, which is done at once."""
    size = str(found.size)
    return {
        "kind": "storage#rewriteResponse",
        "totalBytesRewritten": size,
        "objectSize": size,
        "done": True,
        "resource": render_object(found, origin),
    }


def media_headers(found: ObjectMetadata) -> dict[str, str]:
    """The headers of a download beside its type and length."""
    hashes = [] if found.checksums is None else [f"crc32c={found.checksums.crc32c}", f"md5={found.checksums.md5}"]
    properties = found.properties
    said = {
        "content-disposition": properties.content_disposition,
        "content-language": properties.content_language,
        "cache-control": properties.cache_control,
        "x-goog-hash": ",".join(hashes),
        "x-goog-stored-content-encoding": properties.content_encoding or "identity",
    }
    return {
        "accept-ranges": "bytes",
        "etag": etag_of(found),
        "x-goog-generation": str(found.generation),
        "x-goog-metageneration": str(found.metageneration),
        "x-goog-stored-content-length": str(found.size),
        "x-goog-storage-class": "STANDARD",
        **{name: value for name, value in said.items() if value and _fits_header(value)},
    }


def type_of(found: ObjectMetadata) -> str:
    """The type of an object's bytes."""
    told = found.properties.content_type
    return told if told and _fits_header(told) else USUAL_TYPE


def _fits_header(text: str) -> bool:
    """Whether a header of an answer can have this value: control characters end the connection instead."""
    return text.isascii() and text.isprintable()


def etag_of(found: ObjectMetadata) -> str:
    """What changes with the object and its properties."""
    return base64.b64encode(f"{found.generation}/{found.metageneration}".encode()).decode()


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
