"""Signing in with a key or a token, which the API exchanges for a session, and signing out."""

import math
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from starlette.responses import Response

from tuningfork.studio.frame.address import PREFIX
from tuningfork.studio.frame.api_client import ApiRefusal, ApiUnreachable, Json
from tuningfork.studio.frame.attempts import Attempts
from tuningfork.studio.frame.session import address_of, fits_a_header
from tuningfork.studio.frame.visit import Page, Visit

_SESSIONS = "/tuningfork/v1/sessions"
_MOST_NAME = 200


@dataclass(frozen=True, slots=True)
class SignIn:
    """The form, which needs no script: password managers fill it in, and browsers send it."""

    attempts: Attempts

    def pages(self) -> tuple[Page, ...]:
        """The form, and what it sends."""
        return (
            Page("GET", "/sign-in", self.form, public=True),
            Page("POST", "/sign-in", self.enter, public=True),
            Page("POST", "/sign-out", leave, public=True),
        )

    async def form(self, visit: Visit) -> Response:
        """The empty form."""
        return form_page(visit, next_path=safe_path(visit.query.get("next", "")), left="out" in visit.query)

    async def enter(self, visit: Visit) -> Response:
        """A session for the key, and on to the page that was asked for; or the form again, which says what is wrong."""
        fields = await visit.form()
        secret, next_path = fields.get("key", "").strip(), safe_path(fields.get("next", ""))
        address = address_of(visit.request)
        if wait := self.attempts.seconds_to_wait(address):
            return _paused(visit, next_path, wait)
        if not secret:
            return form_page(visit, next_path, error=visit.texts("sign_in.empty"))
        if not fits_a_header(secret):
            return form_page(visit, next_path, error=visit.texts("sign_in.unknown"))
        try:
            session = await exchange(visit, secret)
        except ApiRefusal as error:
            return self._refused(visit, next_path, address, error)
        except ApiUnreachable as error:
            said = visit.texts("sign_in.unreachable", reason=str(error))
            return form_page(visit, next_path, error=said, status=HTTPStatus.BAD_GATEWAY)
        self.attempts.was_right(address)
        await end_session(visit)
        response = visit.redirect(next_path.removeprefix(PREFIX))
        visit.cookies.sign_in(response, str(session["credential"]), session.get("expireTime"), visit.now)
        return response

    def _refused(self, visit: Visit, next_path: str, address: str, error: ApiRefusal) -> Response:
        if error.status == HTTPStatus.TOO_MANY_REQUESTS:
            return _paused(visit, next_path, error.retry_after or 30)
        if error.signed_out or error.status in {HTTPStatus.BAD_REQUEST, HTTPStatus.FORBIDDEN}:
            self.attempts.was_wrong(address)
            return form_page(visit, next_path, error=visit.texts("sign_in.unknown"))
        return form_page(visit, next_path, error=error.message, status=error.status)


async def leave(visit: Visit) -> Response:
    """The session ends for every tab; the cookie too, whatever the server says."""
    await end_session(visit)
    response = visit.redirect("/sign-in?out=1")
    visit.cookies.sign_out(response)
    return response


async def exchange(visit: Visit, secret: str) -> Json:
    """A session for a key or a token."""
    name = visit.request.headers.get("user-agent", "")[:_MOST_NAME]
    with_secret = visit.api.api.called_by(secret, visit.api.address)
    return await with_secret.send("POST", _SESSIONS, {"displayName": name} if name else {})


async def end_session(visit: Visit) -> None:
    """End the session that the browser had until now, if it had one."""
    if visit.cookies.credential is None:
        return
    try:
        await visit.api.send("DELETE", f"{_SESSIONS}/current")
    except (ApiRefusal, ApiUnreachable):
        # It has ended already, or ends by itself.
        return


def _paused(visit: Visit, next_path: str, seconds: float) -> Response:
    error = visit.texts("sign_in.paused", count=math.ceil(seconds))
    response = form_page(visit, next_path, error=error, status=HTTPStatus.TOO_MANY_REQUESTS)
    response.headers["retry-after"] = str(math.ceil(seconds))
    return response


def form_page(
    visit: Visit,
    next_path: str,
    *,
    error: str = "",
    issuer_error: str = "",
    left: bool = False,
    status: int = HTTPStatus.OK,
) -> Response:
    """The form, with what is wrong and whether somebody has just signed out."""
    status = HTTPStatus.BAD_REQUEST if error and status == HTTPStatus.OK else status
    shown: dict[str, Any] = {"error": error, "issuer_error": issuer_error, "left": left}
    if issuer_error:
        # The address of this page has the issuer's answer, which nothing should lead back to.
        shown["here"] = f"{PREFIX}/sign-in"
    return visit.render("sign_in.html", status=status, next_path=next_path, **shown)


def safe_path(path: str) -> str:
    """A path of the Studio. Anything else could lead a visitor who has just typed a key to a foreign page."""
    fits = path.startswith(f"{PREFIX}/") and "\\" not in path and path.isprintable()
    return path if fits else f"{PREFIX}/library"
