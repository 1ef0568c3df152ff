"""What every answer of the Studio carries, and which requests never reach a page.

A browser sends the session's cookie with every request to this host, whichever page has caused it. So requests that
change something, and requests for the API's answers, must show that a page of this very origin has sent them.
"""

from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tuningfork.studio.frame.address import PREFIX

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'; "
    # Text becomes markup in one place only, `static/live.js`, which takes it from this server's own pages.
    "require-trusted-types-for 'script'; trusted-types studio-pages"
)
"""What the pages may load and run: files of this origin, and nothing that is written into a page."""

_HEADERS = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_API = f"{PREFIX}/api/"


class StudioGate:
    """ASGI middleware: refuses requests of foreign pages and every WebSocket, and adds the headers of security."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": "The Studio has no WebSockets."})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(_HEADERS)
                headers.setdefault("cache-control", "no-store")
            await send(message)

        refusal = _refusal(scope["method"], scope["path"], Headers(scope=scope))
        app = self._app if refusal is None else PlainTextResponse(refusal, 403)
        await app(scope, receive, send_guarded)


def _refusal(method: str, path: str, headers: Headers) -> str | None:
    """Why a request may be a foreign page's; None: it is not, or it does no harm."""
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if method in _SAFE:
        foreign = path.startswith(_API) and site in {"cross-site", "same-site"}
        return "Only pages of the Studio may ask here." if foreign else None
    if site is not None:
        # Browsers write it themselves, and no script can.
        own = site == "same-origin"
    else:
        # The scheme is left out: behind a proxy that ends TLS it differs.
        own = origin is not None and urlsplit(origin).netloc == headers.get("host")
    if own:
        return None
    return (
        f"This request came from {(origin or 'an unknown page')[:100]!r}. Only pages of the Studio itself may send it. "
        "Behind a proxy, let the proxy pass the Host header on."
    )
