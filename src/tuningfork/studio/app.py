"""The Studio as an ASGI application: the pages, the files, the way through to the API, and the gate before them all."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from http import HTTPStatus

import httpx
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from tuningfork.studio.frame import failures
from tuningfork.studio.frame.address import PREFIX
from tuningfork.studio.frame.api_client import Api, ApiRefusal, ApiUnreachable
from tuningfork.studio.frame.attempts import Attempts
from tuningfork.studio.frame.gate import StudioGate
from tuningfork.studio.frame.openid import OpenIdSignIn
from tuningfork.studio.frame.pass_through import PassThrough
from tuningfork.studio.frame.rendering import Person, Rendering
from tuningfork.studio.frame.session import Cookies, address_of
from tuningfork.studio.frame.shared_answers import SharedAnswers, WholeAnswer
from tuningfork.studio.frame.static_files import StaticFiles
from tuningfork.studio.frame.visit import EVERY, FormTooLarge, Page, Visit
from tuningfork.studio.pages.issuer_sign_in import IssuerSignIn
from tuningfork.studio.pages.sign_in import SignIn
from tuningfork.studio.routes import PAGES
from tuningfork.studio.texts.catalog import Texts, choose_language

SHARED_PART = 0.8
"""The part of the time between two questions of a page for which an answer serves the person's other pages too."""

_PASSED_VERBS = ("GET", "POST", "PATCH", "DELETE")


@dataclass(frozen=True)
class Studio:
    """What all visits share."""

    api: Api
    rendering: Rendering
    shared: SharedAnswers

    def visit(self, request: Request, person: Person | None = None) -> Visit:
        """A visit of somebody who is not known yet."""
        cookies = Cookies.of(request)
        language = choose_language(cookies.language, request.headers.get("accept-language", ""))
        return Visit(
            request=request,
            api=self.api.called_by(cookies.credential, address_of(request)),
            texts=Texts(language),
            cookies=cookies,
            rendering=self.rendering,
            now=datetime.now(UTC),
            person=person,
        )

    def endpoint(self, page: Page) -> Callable[[Request], Awaitable[Response]]:
        """What answers for a page."""

        async def answer(request: Request) -> Response:
            visit = self.visit(request)
            if request.method != "GET":
                self.shared.forget(visit.cookies.credential)
            if visit.fragment is None:
                return await self._whole(page, visit)
            return await self._part(page, visit)

        return answer

    async def _part(self, page: Page, visit: Visit) -> Response:
        """A part of a page. Those who have it already are told that nothing is new."""

        async def make() -> WholeAnswer:
            made = await self._whole(page, visit)
            pause = int(made.headers.get(EVERY, "0")) / 1000 if made.status_code == HTTPStatus.OK else 0.0
            return WholeAnswer.of(made, pause * SHARED_PART)

        known = visit.request.headers.get("if-none-match")
        if page.is_shared:
            what = (visit.fragment, visit.here, visit.texts.language)
            return (await self.shared.of(visit.cookies.credential, what, make)).response(known)
        made = await self._whole(page, visit)
        return WholeAnswer.of(made).response(known) if "etag" in made.headers else made

    async def _whole(self, page: Page, visit: Visit) -> Response:
        """What the page's own function answers, or why it cannot."""
        try:
            if not page.public and visit.fragment is None:
                visit = replace(visit, person=await _person(visit))
            return await page.view(visit)
        except (ApiRefusal, ApiUnreachable) as error:
            return failures.page_of(visit, error)
        except FormTooLarge:
            return failures.too_large(visit)

    async def no_page(self, request: Request, _error: Exception) -> Response:
        """The answer to a path that is none."""
        return failures.not_found(self.visit(request))


async def _person(visit: Visit) -> Person:
    """Who the visitor is.

    Raises:
        ApiRefusal: nobody is signed in, and the server wants to know who asks.
        ApiUnreachable: the API does not answer.

    """
    caller = await visit.api.get("/tuningfork/v1/caller")
    return Person(
        email=str(caller.get("email", "")),
        operator=bool(caller.get("operator")),
        open_server=caller.get("credential") == "NONE",
    )


def studio_app(
    api_url: str,
    *,
    transport: httpx.AsyncBaseTransport | None = None,
    clock: Callable[[], float] = time.monotonic,
    openid: OpenIdSignIn | None = None,
) -> ASGIApp:
    """The Studio for the server at this address. It answers for paths below `/studio`, and leads `/` there.

    Args:
        api_url: the address of the server's API.
        transport: how to reach it; None: over TCP.
        clock: seconds, for the pauses after wrong keys, and for how long pages share an answer.
        openid: the issuer at which people can sign in; None: with a key or a token alone.

    """
    static = StaticFiles()
    paths, issuer = frozenset(page.path for page in PAGES), "" if openid is None else openid.host
    studio = Studio(Api(api_url, transport), Rendering(static, paths, issuer), SharedAnswers(clock))
    sign_in = SignIn(Attempts(clock))
    at_issuer = () if openid is None else IssuerSignIn(openid).pages()
    pages = [
        Route(f"{PREFIX}{page.path}", studio.endpoint(page), methods=[page.method])
        for page in (*sign_in.pages(), *at_issuer, *PAGES)
    ]
    return Starlette(
        routes=[
            *(Route(path, _to_library) for path in ("/", PREFIX, f"{PREFIX}/")),
            Route(f"{PREFIX}/static/{{digest}}/{{name}}", static.answer),
            Route(f"{PREFIX}/api/{{path:path}}", PassThrough(studio.api, studio.shared).answer, methods=_PASSED_VERBS),
            *pages,
        ],
        middleware=[Middleware(StudioGate)],
        exception_handlers={404: studio.no_page},
    )


async def _to_library(_request: Request) -> Response:
    return RedirectResponse(f"{PREFIX}/library", 303)
