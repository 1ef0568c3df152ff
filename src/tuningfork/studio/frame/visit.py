"""One request for a page: who asks, in which language, and how a page answers."""

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from tuningfork.studio.frame.address import address
from tuningfork.studio.frame.api_client import ApiCaller
from tuningfork.studio.frame.rendering import Person, Rendering, tag_of
from tuningfork.studio.frame.session import Cookies
from tuningfork.studio.texts.catalog import Texts
from tuningfork.studio.texts.formats import parse_time

FRAGMENT = "studio-fragment"
"""The header of requests for one block of a page."""

EVERY = "studio-every"
"""The header of answers that says after how many milliseconds to ask again; 0: not at all."""

MOST_FORM_BYTES = 1024 * 1024
_MOST_FORM_FIELDS = 2_000


class FormTooLarge(Exception):
    """A form's fields are more, or longer, than any page sends."""


@dataclass(frozen=True, slots=True)
class Page:
    """A path below the Studio's, and the function that answers for it. `public` ones need no one to be signed in."""

    method: str
    path: str
    view: Callable[["Visit"], Awaitable[Response]]
    public: bool = False
    is_shared: bool = False
    """Whether one part of the page may serve all open pages of one person for a moment."""


@dataclass(frozen=True)
class Visit:
    """One request for a page."""

    request: Request
    api: ApiCaller
    texts: Texts
    cookies: Cookies
    rendering: Rendering
    now: datetime
    person: Person | None

    @property
    def path(self) -> Mapping[str, str]:
        """The parameters in the path."""
        return self.request.path_params

    @property
    def query(self) -> QueryParams:
        """The parameters of the query."""
        return self.request.query_params

    @property
    def fragment(self) -> str | None:
        """The block that is asked for; None: the whole page is."""
        return self.request.headers.get(FRAGMENT)

    @property
    def here(self) -> str:
        """The path and the query of this page."""
        query = self.request.url.query
        return self.request.url.path + (f"?{query}" if query else "")

    async def form(self) -> dict[str, str]:
        """The fields of a form; of fields with one name the last.

        Raises:
            FormTooLarge: they are too many or too long.

        """
        body = b""
        async for piece in self.request.stream():
            body += piece
            if len(body) > MOST_FORM_BYTES:
                raise FormTooLarge
        try:
            return dict(
                parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=_MOST_FORM_FIELDS)
            )
        except ValueError as error:
            raise FormTooLarge from error

    def render(self, template: str, *, status: int = 200, every_ms: int | None = None, **values: Any) -> Response:
        """The page of a template, or the block of it that is asked for.

        Args:
            template: its file.
            status: the HTTP status.
            every_ms: after how many milliseconds live parts of the page ask again; 0: not at all.
            values: further names for the template.

        """
        notice, names = self.cookies.notice, self._names(values)
        headers = {} if every_ms is None else {EVERY: str(every_ms)}
        names["every_ms"] = every_ms or 0
        if self.fragment is not None:
            return self._block(template, names, status, headers)
        response = HTMLResponse(self.rendering.page(template, self.texts, names), status, headers)
        if notice is not None:
            self.cookies.told(response)
        return response

    def _block(self, template: str, names: dict[str, Any], status: int, headers: dict[str, str]) -> Response:
        text = self.rendering.block(template, self.fragment or "", self.texts, names)
        if text is None:
            return Response(status_code=404)
        headers["etag"] = tag_of(text)
        return HTMLResponse(text, status, headers)

    def redirect(self, path: str, notice: tuple[str, Mapping[str, object]] | None = None) -> Response:
        """Go to another page of the Studio, which then tells the notice: a text's id, and values for it."""
        response = RedirectResponse(address(path), 303)
        if notice is not None:
            text_id, values = notice
            told = {name: value if isinstance(value, int) else str(value)[:200] for name, value in values.items()}
            self.cookies.tell(response, json.dumps([text_id, told]).encode().hex())
        return response

    def _names(self, values: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "person": self.person,
            "theme": self.cookies.theme.value,
            "here": self.here,
            "notice": _notice(self.cookies.notice, self.texts),
            "active": "",
            "ago": lambda then: self.texts.formats.ago(parse_time(then), self.now),
            "moment": lambda then: self.texts.formats.moment(parse_time(then)),
            **values,
        }


def _notice(written: str | None, texts: Texts) -> str | None:
    """What the cookie tells to say; None: nothing, or the cookie is not one of ours."""
    if written is None:
        return None
    try:
        text_id, values = json.loads(bytes.fromhex(written))
        return texts(text_id, **values)
    except (ValueError, KeyError, TypeError):
        return None
