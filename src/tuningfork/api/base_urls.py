"""Replaces paths before routing: of programs whose base URL is wrong, and those that are split before they are decoded.

A base URL may end with a slash, or have the version that the program adds itself.
"""

import re
from urllib.parse import quote

from starlette.types import ASGIApp, Receive, Scope, Send

from tuningfork.api.mounts import Mounts

_SLASHES = re.compile(r"/{2,}")


class RepairedPaths:
    """ASGI middleware: before routing, replaces a path by the one that is meant.

    Doubled slashes become one, and a slash at the end is dropped. Of two prefixes in a row (`/v1beta/v1beta/models`)
    the second counts: the program wrote it, and the first is from the base URL.
    """

    def __init__(self, app: ASGIApp, mounts: Mounts) -> None:
        self._app = app
        self._mounts = mounts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with the path that is meant."""
        if scope["type"] == "http" and (path := self.meant(scope["path"])) != scope["path"]:
            scope = {**scope, "path": path, "raw_path": path.encode()}
        await self._app(scope, receive, send)

    def meant(self, path: str) -> str:
        """The path that is meant by this one."""
        path = _SLASHES.sub("/", path)
        path = path.rstrip("/") or "/"
        while (rest := self._below_a_prefix(path)) is not None and self._below_a_prefix(rest) is not None:
            path = rest
        return path

    def _below_a_prefix(self, path: str) -> str | None:
        prefix = self._mounts.prefix_of(path)
        return None if prefix is None else path[len(prefix) :]


class EncodedPaths:
    """ASGI middleware: before routing, replaces the path by the one that was sent, below some dialects' prefixes.

    So an encoded slash does not become one at which the path is split.
    """

    def __init__(self, app: ASGIApp, mounts: Mounts) -> None:
        self._app = app
        self._mounts = mounts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with its path as it was sent."""
        if scope["type"] == "http" and self._mounts.has_encoded_paths(_SLASHES.sub("/", scope["path"])):
            sent = scope.get("raw_path") or quote(scope["path"]).encode()
            scope = {**scope, "path": sent.partition(b"?")[0].decode("latin-1")}
        await self._app(scope, receive, send)
