"""A server on loopback that answers as the Hub does, for one repository."""

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository:
    """A repository of the Hub: its name and its files."""

    name: str
    files: Mapping[str, bytes]
    gated: bool = False
    licence: str = "mit"

    def answer(self, path: str) -> tuple[int, bytes, dict[str, str]]:
        """Status, body and headers of the answer for a path."""
        if path.startswith(f"/api/models/{self.name}/tree/"):
            tree = [
                {"type": "file", "path": name, "size": len(content), "oid": COMMIT}
                for name, content in self.files.items()
            ]
            return 200, json.dumps(tree).encode(), {"content-type": "application/json"}
        if path.startswith(f"/api/models/{self.name}"):
            siblings = [{"rfilename": name, "size": len(content)} for name, content in self.files.items()]
            card = {"license": self.licence}
            described = {"id": self.name, "sha": COMMIT, "siblings": siblings, "cardData": card}
            return 200, json.dumps(described).encode(), {"content-type": "application/json"}
        content = self.files.get(path.partition("/resolve/")[2].partition("/")[2])
        if not path.startswith(f"/{self.name}/") or content is None:
            return 404, b"{}", {"x-error-code": "RepoNotFound"}
        if self.gated:
            return 403, b"{}", {"x-error-code": "GatedRepo"}
        return 200, content, {"etag": f'"{hashlib.sha256(content).hexdigest()}"', "x-repo-commit": COMMIT}


class _Server(ThreadingHTTPServer):
    request_queue_size = 64


@contextmanager
def toy_hub(repository: Repository) -> Iterator[tuple[str, list[str]]]:
    """The address of a server with this repository, and the paths that it was asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._send(*repository.answer(self.path.partition("?")[0]), with_body=False)

        def do_GET(self) -> None:
            asked.append(self.path)
            self._send(*repository.answer(self.path.partition("?")[0]), with_body=True)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

        def _send(self, status: int, body: bytes, headers: dict[str, str], *, with_body: bool) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            if with_body:
                self.wfile.write(body)

    server = _Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
