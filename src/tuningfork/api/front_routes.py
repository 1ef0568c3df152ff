"""Routes for whoever opens the server's address: what this is, and the document of its API.

No credential is needed, and nothing here depends on the server's data.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from tuningfork import __version__
from tuningfork.api.carrying import Endpoint
from tuningfork.api.openapi import Document
from tuningfork.api.reference_page import page, reference_page

_HTML = "text/html; charset=UTF-8"
_JSON = "application/json; charset=UTF-8"
_NO_SCRIPTS = {"content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"}
_LINKS = {
    "/docs": "every method, readable",
    "/openapi.json": "the same as OpenAPI 3.1",
    "/healthz": "whether the server can work",
    "/readyz": "the same for each of its parts",
}
_WHAT = "Tuningfork: self-hosted fine-tuning of language models."


@dataclass(frozen=True)
class FrontRoutes:
    """The routes. `make_document` is called once, when somebody asks for the document, since making it takes time.

    `check_client` looks at the headers of requests for `/`, and refuses those of clients that lost their path.
    """

    make_document: Callable[[], Document]
    check_client: Callable[[Mapping[str, str]], None]

    def routes(self) -> tuple[tuple[str, str, Endpoint], ...]:
        """Every verb and path, with its endpoint."""
        return (
            ("GET", "/", self.front),
            ("GET", "/openapi.json", self.openapi),
            ("GET", "/docs", self.docs),
        )

    async def front(self, request: Request) -> Response:
        """What this server is, and where its documents are: a page for browsers, JSON for programs."""
        self.check_client(request.headers)
        headers = {"vary": "Accept", **_NO_SCRIPTS}
        if _wants_html(request.headers.get("accept", "")):
            return Response(_FRONT_PAGE, media_type=_HTML, headers=headers)
        return Response(_FRONT_JSON, media_type=_JSON, headers=headers)

    async def openapi(self, _request: Request) -> Response:
        """The document of the API: OpenAPI 3.1."""
        return Response(await run_in_threadpool(lambda: self._as_json), media_type=_JSON)

    async def docs(self, _request: Request) -> Response:
        """The document of the API as a page, which loads nothing from elsewhere."""
        return Response(await run_in_threadpool(lambda: self._as_page), media_type=_HTML, headers=_NO_SCRIPTS)

    @cached_property
    def _document(self) -> Document:
        return self.make_document()

    @cached_property
    def _as_json(self) -> str:
        return json.dumps(self._document) + "\n"

    @cached_property
    def _as_page(self) -> str:
        return reference_page(self._document)


def _wants_html(accept: str) -> bool:
    """Whether a browser asks: only they name HTML, and name it before JSON."""
    kinds = [each.partition(";")[0].strip().lower() for each in accept.split(",")]
    return "text/html" in kinds and "application/json" not in kinds[: kinds.index("text/html")]


_FRONT_PAGE = page(
    "Tuningfork",
    f"<h1>Tuningfork {__version__}</h1><p>{_WHAT}</p><ul>"
    + "".join(f'<li><a href="{path[1:]}">{path}</a>: {what}</li>' for path, what in _LINKS.items())
    + "</ul>",
)
_FRONT_JSON = (
    json.dumps({"name": "Tuningfork", "version": __version__, "what": _WHAT, "links": _LINKS}, indent=2) + "\n"
)
