"""Objects that arrive: in one request with or without their JSON, or in several requests that can be resumed."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any, TypeVar
from urllib.parse import quote

from tuningfork.buckets.metadata import ObjectMetadata
from tuningfork.buckets.uploads import Arriving, Upload
from tuningfork.dialect.call import Binding, BodyStream, Fed, MethodCall
from tuningfork.dialect.storage.answers import StorageAnswer
from tuningfork.dialect.storage.methods import StorageMethod
from tuningfork.dialect.storage.related import MOST_JSON_BYTES, RelatedUpload
from tuningfork.domain.errors import InvalidArgument
from tuningfork.service.storage.storing import ChecksumsDiffer, Storing
from tuningfork.wire.storage.ranges import ContentRange, parse_content_range
from tuningfork.wire.storage.requests import NewObject, parse_new_object, parse_segment, parse_upload
from tuningfork.wire.storage.resources import render_object

Result = TypeVar("Result")

MOST_OBJECT_BYTES = 5 * 2**40
"""The largest object of the real service. The disk is the limit here."""

_RESUME = 308
_CLIENT_CLOSED = 499
_PIECE_BYTES = 2**20

_WHOLE_BODY = ContentRange(start=0, end=None, size=None)


@dataclass(frozen=True, slots=True)
class UploadMethods:
    """Methods of uploads. All work on files is done in threads, and never cancelled in the middle."""

    storing: Storing

    def bindings(self) -> tuple[Binding[StorageAnswer], ...]:
        """All of them, below the collection of buckets in the address of uploads."""
        path = "/{bucket}/o"
        return (
            Binding("POST", path, StorageMethod.CREATE_OBJECT, Fed(self.create, MOST_OBJECT_BYTES)),
            Binding("PUT", path, StorageMethod.CONTINUE_UPLOAD, Fed(self.resume, MOST_OBJECT_BYTES)),
            Binding("DELETE", path, StorageMethod.CANCEL_UPLOAD, Fed(self.cancel, MOST_JSON_BYTES)),
        )

    async def create(self, call: MethodCall, body: BodyStream) -> StorageAnswer:
        """objects.insert: an object, or the beginning of an upload that can be resumed (`uploadType`).

        A POST that names an upload goes on with it, as a PUT does.
        """
        if call.query.get("upload_id"):
            return await self.resume(call, body)
        match call.query.get("uploadType", ""):
            case "multipart":
                return await self._related(call, body)
            case "media":
                described = NewObject()
                upload = _upload(call, described, body.content_type)
                return await self._at_once(call, upload, body)
            case "resumable":
                return await self._begun(call, body)
        raise InvalidArgument("uploadType must be multipart, media or resumable.")

    async def resume(self, call: MethodCall, body: BodyStream) -> StorageAnswer:
        """objects.insert, continued: further bytes of an upload, or the question how many have arrived."""
        arriving = await _to_its_end(self.storing.take, call.principal, _upload_id(call))
        try:
            return await self._resumed(call, body, arriving)
        finally:
            self.storing.give_back(arriving)

    async def cancel(self, call: MethodCall, _body: BodyStream) -> StorageAnswer:
        """objects.insert, given up: removes what has arrived."""
        arriving = await _to_its_end(self.storing.take, call.principal, _upload_id(call))
        try:
            await _to_its_end(self.storing.cancel, arriving)
        finally:
            self.storing.give_back(arriving)
        return StorageAnswer(status=_CLIENT_CLOSED)

    async def _related(self, call: MethodCall, body: BodyStream) -> StorageAnswer:
        related = RelatedUpload(body)
        described = parse_new_object(await related.described())
        return await self._at_once(call, _upload(call, described, related.media_type), related.pieces())

    async def _at_once(self, call: MethodCall, upload: Upload, pieces: AsyncIterator[bytes]) -> StorageAnswer:
        stack = ExitStack()
        try:
            opened = self.storing.arriving(call.principal, upload)
            arriving = await _to_its_end(stack.enter_context, opened)
            async for piece in _larger(pieces):
                await _to_its_end(self.storing.add, arriving, piece)
            kept = await _to_its_end(self.storing.keep, call.principal, arriving)
        finally:
            await _to_its_end(stack.close)
        return _answer(call, kept)

    async def _begun(self, call: MethodCall, body: BodyStream) -> StorageAnswer:
        sent = b""
        async for piece in body:
            sent += piece
            if len(sent) > MOST_JSON_BYTES:
                raise InvalidArgument("An upload that can be resumed begins with the object's JSON, and no bytes yet.")
        upload = _upload(call, parse_new_object(sent), "")
        upload_id = await _to_its_end(self.storing.begin, call.principal, upload)
        # As the caller has named it, below whatever address the caller has called.
        location = (
            f"{call.origin}/upload/storage/v1/b/{quote(upload.bucket, safe='')}/o"
            f"?uploadType=resumable&name={quote(upload.key, safe='')}&upload_id={upload_id}"
        )
        return StorageAnswer(headers={"location": location, "x-guploader-uploadid": upload_id})

    async def _resumed(self, call: MethodCall, body: BodyStream, arriving: Arriving) -> StorageAnswer:
        header = call.headers.get("content-range")
        where = _WHOLE_BODY if header is None else parse_content_range(header)
        if not arriving.upload.done:
            self._learn(call, arriving, where)
            if not await self._taken(body, arriving, where):
                return _so_far(arriving)
        try:
            kept = await _to_its_end(self.storing.finish, call.principal, arriving)
        except ChecksumsDiffer:
            # The bytes that are here will never be the right ones.
            await _to_its_end(self.storing.cancel, arriving)
            raise
        return _answer(call, kept)

    @staticmethod
    def _learn(call: MethodCall, arriving: Arriving, where: ContentRange) -> None:
        """Remember what this request says about the whole object.

        Raises:
            InvalidArgument: an earlier one has said something else.

        """
        upload = arriving.upload
        if upload.size is not None and where.size is not None and upload.size != where.size:
            raise InvalidArgument(f"The object was announced with {upload.size} bytes, and now with {where.size}.")
        announced = parse_upload(upload.bucket, upload.owner, {"name": upload.key}, call.headers, NewObject())
        learnt = replace(
            upload,
            size=where.size if upload.size is None else upload.size,
            crc32c=upload.crc32c or announced.crc32c,
            md5=upload.md5 or announced.md5,
        )
        if learnt != upload:
            arriving.record(learnt)

    async def _taken(self, body: BodyStream, arriving: Arriving, where: ContentRange) -> bool:
        """Write what has not arrived yet of these bytes. Returns whether the object is complete.

        Raises:
            InvalidArgument: the body has more or fewer bytes than its range, or than the object.

        """
        size = arriving.upload.size
        if where.start is None:
            return size is not None and arriving.size == size
        if where.start > arriving.size:
            # Bytes before these are missing; the answer tells the caller where to go on.
            return False
        end = where.end + 1 if where.end is not None else size
        place = where.start
        async for piece in _larger(body):
            if end is not None and place + len(piece) > end:
                raise InvalidArgument(f"The body has more bytes than Content-Range says: they end before {end}.")
            missing = piece[max(0, arriving.size - place) :]
            place += len(piece)
            if missing:
                await _to_its_end(self.storing.add, arriving, missing)
        if where.end is not None and place != end:
            sent, said = place - where.start, where.end - where.start + 1
            raise InvalidArgument(f"The body has {sent} bytes; Content-Range says {said}.")
        if where.end is None and size is None:
            return arriving.size == place
        return size is not None and arriving.size == size


def _upload(call: MethodCall, described: NewObject, content_type: str) -> Upload:
    bucket = parse_segment(call.path["bucket"])
    upload = parse_upload(bucket, call.principal.email, call.query, call.headers, described)
    if upload.properties.content_type or not content_type:
        return upload
    return replace(upload, properties=replace(upload.properties, content_type=content_type[:200]))


def _upload_id(call: MethodCall) -> str:
    return call.query.get("upload_id", "")


def _answer(call: MethodCall, kept: ObjectMetadata) -> StorageAnswer:
    checksums = kept.checksums
    hashes = {} if checksums is None else {"x-goog-hash": f"crc32c={checksums.crc32c},md5={checksums.md5}"}
    return StorageAnswer(body=render_object(kept, call.origin), headers=hashes)


def _so_far(arriving: Arriving) -> StorageAnswer:
    """What has arrived; nothing is no range."""
    arrived = {"range": f"bytes=0-{arriving.size - 1}"} if arriving.size else {}
    return StorageAnswer(status=_RESUME, headers=arrived)


async def _larger(pieces: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    """The same bytes in pieces that are worth a thread's time each."""
    gathered: list[bytes] = []
    size = 0
    async for piece in pieces:
        gathered.append(piece)
        size += len(piece)
        if size >= _PIECE_BYTES:
            yield b"".join(gathered)
            gathered, size = [], 0
    if gathered:
        yield b"".join(gathered)


async def _to_its_end(work: Callable[..., Result], *arguments: Any) -> Result:
    """Work in a thread. If the call is cancelled, the thread ends before anything else is done with its files."""
    done = asyncio.ensure_future(asyncio.to_thread(work, *arguments))
    try:
        return await asyncio.shield(done)
    except asyncio.CancelledError:
        await asyncio.wait({done})
        raise
