"""A small OpenID Connect issuer over real HTTP: it publishes its keys, signs tokens, rotates, and may be away."""

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

CONFIGURATION = "/.well-known/openid-configuration"
KEYS = "/keys"


class Issuer:
    """What it says can be changed by a test: `documents` by path, `status` for all, `asked` lists the paths."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.status = 200
        self.asked: list[str] = []
        self.key_id = ""
        self.documents: dict[str, Any] = {CONFIGURATION: {"issuer": self.url, "jwks_uri": f"{self.url}{KEYS}"}}
        self.rotate()

    def rotate(self, algorithm: str = "RS256") -> None:
        """Sign with a new key from now on, and publish no other."""
        self.algorithm = algorithm
        self.key_id = f"key{int(self.key_id[3:] or 0) + 1}"
        if algorithm == "RS256":
            self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
            published = RSAAlgorithm.to_jwk(self.key.public_key(), as_dict=True)
        else:
            self.key = ec.generate_private_key(ec.SECP256R1())
            published = ECAlgorithm.to_jwk(self.key.public_key(), as_dict=True)
        published |= {"kid": self.key_id, "use": "sig", "alg": algorithm}
        self.documents[KEYS] = {"keys": [{"kty": "something-new", "kid": "unreadable"}, published]}

    def token(
        self, *, header: dict[str, Any] | None = None, key: Any = None, algorithm: str = "", **claims: Any
    ) -> str:
        """A signed token; claims that are None are left out."""
        present = {name: value for name, value in claims.items() if value is not None}
        headers = {"kid": self.key_id, **(header or {})}
        return jwt.encode(present, key or self.key, algorithm or self.algorithm, headers=headers)


class HeldTransport(httpx.AsyncHTTPTransport):
    """The network, which lets no request of the client through until the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = False
        self._opened = threading.Event()

    def go_on(self) -> None:
        """Let all requests through."""
        self._opened.set()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.asked = True
        await asyncio.to_thread(self._opened.wait)
        return await super().handle_async_request(request)


@contextmanager
def running() -> Iterator[Issuer]:
    """An issuer on a free loopback port, for as long as the context lasts."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            issuer.asked.append(self.path)
            document = issuer.documents.get(self.path)
            body = document if isinstance(document, bytes) else json.dumps(document).encode()
            self.send_response(issuer.status if document is not None else 404)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        issuer = Issuer(server.server_port)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield issuer
        finally:
            server.shutdown()
            thread.join()
