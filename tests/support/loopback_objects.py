"""The files of a directory as objects over a loopback socket, for workers that share no directory with the server.

`ObjectServer` serves a root; `LoopbackObjects` implements `artifacts.cached.ObjectStore` against it. A call is one
connection and one pickled message each way.
"""

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from multiprocessing.connection import Client, Connection, Listener, answer_challenge, deliver_challenge
from pathlib import Path
from typing import Any
from uuid import uuid4

from patience import paths_below

AUTHORITY = b"loopback objects"


class ObjectServer:
    """Answers until it is closed. `calls` are what was asked, in order, as (method, key)."""

    def __init__(self, root: Path) -> None:
        self._root = root
        # Without the key: `accept` would exchange it with one client while all others wait, and end with that client.
        self._listener = Listener(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listener.address[1]
        self.calls: list[tuple[str, str]] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                connection = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: Connection) -> None:
        # A worker that is killed breaks off wherever it is.
        with connection, suppress(EOFError, OSError):
            deliver_challenge(connection, AUTHORITY)
            answer_challenge(connection, AUTHORITY)
            method, key, *content = connection.recv()
            self.calls.append((method, key))
            try:
                connection.send(getattr(self, f"_{method}")(key, *content))
            except OSError as error:
                connection.send(error)

    def _get(self, key: str) -> bytes:
        return (self._root / key).read_bytes()

    def _put(self, key: str, content: bytes) -> None:
        path = self._root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_name(f".{uuid4().hex}")
        with aside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        aside.rename(path)

    def _keys(self, prefix: str) -> list[str]:
        # Of other connections some put and delete meanwhile.
        files = (path for path in paths_below(self._root) if path.is_file())
        keys = (path.relative_to(self._root).as_posix() for path in files)
        return sorted(key for key in keys if key.startswith(prefix))

    def _delete(self, key: str) -> None:
        path = self._root / key
        if path.is_file():
            path.unlink()


class LoopbackObjects:
    """Implements `ObjectStore` with a server of this port."""

    def __init__(self, port: int) -> None:
        self._address = ("127.0.0.1", port)

    def get(self, key: str) -> Iterator[bytes]:
        yield self._call("get", key)

    def put(self, key: str, content: Iterator[bytes]) -> None:
        self._call("put", key, b"".join(content))

    def keys(self, prefix: str) -> Sequence[str]:
        return self._call("keys", prefix)

    def delete(self, key: str) -> None:
        self._call("delete", key)

    def _call(self, *asked: Any) -> Any:
        with Client(self._address, authkey=AUTHORITY) as connection:
            connection.send(asked)
            answer = connection.recv()
        if isinstance(answer, OSError):
            raise answer
        return answer
