"""Objects that are there: listed, looked at, downloaded, changed, copied, removed."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import BinaryIO

from tuningfork.buckets.metadata import ObjectMetadata
from tuningfork.dialect.call import Binding, Direct, Download, DownloadedIfAsked, MethodCall, OneMessage
from tuningfork.dialect.storage.answers import StorageAnswer
from tuningfork.dialect.storage.buckets import NO_CONTENT
from tuningfork.dialect.storage.methods import StorageMethod
from tuningfork.service.storage.storing import Storing
from tuningfork.wire.storage.ranges import Range, parse_range
from tuningfork.wire.storage.requests import (
    parse_change,
    parse_change_conditions,
    parse_conditions,
    parse_generation,
    parse_list,
    parse_segment,
    parse_source_conditions,
)
from tuningfork.wire.storage.resources import (
    media_headers,
    render_object,
    render_objects,
    render_rewrite,
    type_of,
)

_PARTIAL_CONTENT = 206
_PIECE_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class ObjectMethods:
    """Methods about objects."""

    storing: Storing

    def bindings(self) -> tuple[Binding[StorageAnswer], ...]:
        """All of them, below the collection of buckets."""
        one = "/{bucket}/o/{object}"
        get = DownloadedIfAsked(self.get)
        return (
            Binding("GET", "/{bucket}/o", StorageMethod.LIST_OBJECTS, Direct(self.list)),
            Binding("GET", one, StorageMethod.GET_OBJECT, get),
            Binding("PATCH", one, StorageMethod.UPDATE_OBJECT, Direct(self.update)),
            Binding("PUT", one, StorageMethod.UPDATE_OBJECT, Direct(self.update)),
            Binding("DELETE", one, StorageMethod.DELETE_OBJECT, Direct(self.delete)),
            Binding(
                "POST", f"{one}/copyTo/b/{{to_bucket}}/o/{{to_object}}", StorageMethod.COPY_OBJECT, Direct(self.copy)
            ),
            Binding(
                "POST",
                f"{one}/rewriteTo/b/{{to_bucket}}/o/{{to_object}}",
                StorageMethod.REWRITE_OBJECT,
                Direct(self.rewrite),
            ),
        )

    def downloads(self) -> tuple[Binding[StorageAnswer], ...]:
        """What is served below the address of downloads."""
        return (Binding("GET", "/{bucket}/o/{object}", StorageMethod.GET_OBJECT, DownloadedIfAsked(self.get)),)

    def list(self, call: MethodCall) -> StorageAnswer:
        """objects.list: a page of the objects of a bucket, and of the beginnings that some of them share."""
        wanted = parse_list(call.query)
        items, page = self.storing.list(call.principal, parse_segment(call.path["bucket"]), wanted)
        return StorageAnswer(body=render_objects(items, page, call.origin))

    def get(self, call: MethodCall) -> Download | OneMessage[StorageAnswer]:
        """objects.get: an object; with `alt=media` its bytes, or those that the header `Range` names."""
        conditions, generation = parse_conditions(call.query), parse_generation(call.query)
        where = _named(call)
        if call.query.get("alt", "json") != "media":
            found = self.storing.find(call.principal, *where, conditions, generation)
            return OneMessage(StorageAnswer(body=render_object(found, call.origin)))
        with ExitStack() as opening:
            opened = self.storing.open(call.principal, *where, conditions, generation)
            file, found = opening.enter_context(opened)
            wanted = parse_range(call.headers.get("range", ""), found.size)
            return _download(file, found, wanted, opening.pop_all())

    def update(self, call: MethodCall) -> StorageAnswer:
        """objects.patch: changes what is said about an object; null removes it."""
        changed = parse_change(call.body)
        found = self.storing.change(call.principal, *_named(call), changed, parse_change_conditions(call.query))
        return StorageAnswer(body=render_object(found, call.origin))

    def delete(self, call: MethodCall) -> StorageAnswer:
        """objects.delete: removes an object."""
        self.storing.delete(call.principal, *_named(call), parse_change_conditions(call.query))
        return StorageAnswer(status=NO_CONTENT)

    def copy(self, call: MethodCall) -> StorageAnswer:
        """objects.copy: a copy of an object."""
        return StorageAnswer(body=render_object(self._copied(call), call.origin))

    def rewrite(self, call: MethodCall) -> StorageAnswer:
        """objects.rewrite: a copy of an object, which is done at once."""
        return StorageAnswer(body=render_rewrite(self._copied(call), call.origin))

    def _copied(self, call: MethodCall) -> ObjectMetadata:
        to = parse_segment(call.path["to_bucket"]), parse_segment(call.path["to_object"])
        source_conditions, conditions = parse_source_conditions(call.query), parse_conditions(call.query)
        return self.storing.copy(call.principal, _named(call), to, conditions, source_conditions)


def _named(call: MethodCall) -> tuple[str, str]:
    """The bucket and the key in the path."""
    return parse_segment(call.path["bucket"]), parse_segment(call.path["object"])


def _download(file: BinaryIO, found: ObjectMetadata, wanted: Range | None, opened: ExitStack) -> Download:
    whole = Range(first=0, last=found.size - 1) if wanted is None else wanted
    headers = media_headers(found)
    if wanted is not None:
        headers["content-range"] = f"bytes {wanted.first}-{wanted.last}/{found.size}"
    return Download(
        content_type=type_of(found),
        filename="",
        size=whole.size,
        pieces=_pieces(file, whole, opened),
        status=200 if wanted is None else _PARTIAL_CONTENT,
        headers=headers,
    )


async def _pieces(file: BinaryIO, wanted: Range, opened: ExitStack) -> AsyncGenerator[bytes, None]:
    """The wanted bytes. The file is closed at the end, or when the generator is."""
    with opened:
        file.seek(wanted.first)
        left = wanted.size
        while left and (piece := await asyncio.to_thread(file.read, min(left, _PIECE_BYTES))):
            left -= len(piece)
            yield piece
