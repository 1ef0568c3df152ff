"""Scripts and styles, under an address that changes with their contents, so that browsers keep them for ever."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from tuningfork.studio.frame.address import PREFIX

_FOLDER = Path(__file__).parents[1] / "static"
_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_FOR_EVER = "public, max-age=31536000, immutable"


@dataclass(frozen=True)
class StaticFiles:
    """The files of `static/`, read once. One digest stands for all: modules import each other by relative names."""

    folder: Path = _FOLDER

    @cached_property
    def _contents(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in sorted(self.folder.iterdir()) if path.suffix in _TYPES}

    @cached_property
    def digest(self) -> str:
        """Of all names and contents."""
        whole = hashlib.sha256()
        for name, content in self._contents.items():
            whole.update(f"{name}\0{len(content)}\0".encode() + content)
        return whole.hexdigest()[:16]

    def address(self, name: str) -> str:
        """The path of one file.

        Raises:
            KeyError: there is no such file; a bug in a template.

        """
        if name not in self._contents:
            raise KeyError(f"{name} is not in {self.folder}")
        return f"{PREFIX}/static/{self.digest}/{name}"

    async def answer(self, request: Request) -> Response:
        """One file. With the digest of another version the answer is not kept, since it may be the wrong one."""
        name = request.path_params["name"]
        content = self._contents.get(name)
        if content is None:
            return PlainTextResponse("There is no such file.", 404)
        current = request.path_params["digest"] == self.digest
        headers = {"cache-control": _FOR_EVER} if current else {}
        return Response(content, media_type=f"{_TYPES[Path(name).suffix]}; charset=utf-8", headers=headers)
