"""A small OpenID Connect issuer over real HTTP: it publishes its keys, signs tokens, rotates, and may be away.

People sign in there without a page of their own: `/authorize` sends the browser back at once, as `person`.
"""

import asyncio
import base64
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

import httpx
import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

CLIENT_ID = "tuningfork-studio"
CLIENT_SECRET = "a secret: with % and +"
CONFIGURATION = "/.well-known/openid-configuration"
KEYS = "/keys"


class Issuer:
    """What it says can be changed by a test: `documents` by path, `status` for all, `asked` lists the paths.

    `person` are the claims of whoever signs in; `claims` take the place of those in the ID token. With a `refusal` the
    browser is sent back without a code.
    """

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.status = 200
        self.asked: list[str] = []
        self.key_id = ""
        self.documents: dict[str, Any] = {
            CONFIGURATION: {
                "issuer": self.url,
                "jwks_uri": f"{self.url}{KEYS}",
                "authorization_endpoint": f"{self.url}/authorize",
                "token_endpoint": f"{self.url}/token",
            }
        }
        self.person: dict[str, Any] = {"email": "ada@example.com", "email_verified": True}
        self.refusal = ""
        self.claims: dict[str, Any] = {}
        self._codes: dict[str, dict[str, str]] = {}
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

    def authorize(self, query: str) -> str:
        """Where the browser is sent back to."""
        asked = dict(parse_qsl(query, strict_parsing=True))
        assert (asked["response_type"], asked["code_challenge_method"]) == ("code", "S256")
        assert asked["client_id"] == CLIENT_ID
        assert "openid" in asked["scope"].split()
        if self.refusal:
            return f"{asked['redirect_uri']}?{urlencode({'error': self.refusal, 'state': asked['state']})}"
        code = secrets.token_urlsafe(16)
        self._codes[code] = asked
        return f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state']})}"

    def exchange(self, authorization: str, body: str) -> tuple[int, dict[str, Any]]:
        """The answer to a code: an ID token, once, for the client and the verifier that it belongs to."""
        client = base64.b64decode(authorization.removeprefix("Basic ")).decode().split(":")
        if [unquote(each) for each in client] != [CLIENT_ID, CLIENT_SECRET]:
            return 401, {"error": "invalid_client"}
        sent = dict(parse_qsl(body, strict_parsing=True))
        asked = self._codes.pop(sent["code"], None)
        digest = hashlib.sha256(sent["code_verifier"].encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        if asked is None or (asked["code_challenge"], asked["redirect_uri"]) != (challenge, sent["redirect_uri"]):
            return 400, {"error": "invalid_grant"}
        now = int(time.time())
        claims = {"iss": self.url, "aud": CLIENT_ID, "iat": now, "exp": now + 300, "nonce": asked["nonce"]}
        return 200, {"token_type": "Bearer", "id_token": self.token(**{**claims, **self.person, **self.claims})}


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
            parts = urlsplit(self.path)
            if parts.path == "/authorize":
                self.send_response(303)
                self.send_header("location", issuer.authorize(parts.query))
                self.send_header("content-length", "0")
                self.end_headers()
                return
            document = issuer.documents.get(self.path)
            body = document if isinstance(document, bytes) else json.dumps(document).encode()
            self.send_response(issuer.status if document is not None else 404)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            issuer.asked.append(self.path)
            sent = self.rfile.read(int(self.headers["content-length"])).decode()
            status, answer = issuer.exchange(self.headers.get("authorization", ""), sent)
            body = json.dumps(answer).encode()
            self.send_response(status)
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
