"""Signing in at the OpenID Connect issuer that the operator has configured: to it, and back with a session."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

from starlette.responses import RedirectResponse, Response

from tuningfork.studio.frame.address import PREFIX, address
from tuningfork.studio.frame.api_client import ApiRefusal, ApiUnreachable
from tuningfork.studio.frame.openid import HOP_SECONDS, Hop, IssuerFailed, OpenIdSignIn
from tuningfork.studio.frame.visit import Page, Visit
from tuningfork.studio.pages.sign_in import end_session, exchange, form_page, safe_path

_BACK = "/sign-in/callback"
_ERROR = re.compile(r"[a-z_]{1,40}")


@dataclass(frozen=True, slots=True)
class IssuerSignIn:
    """The two pages. Nothing is shown on either: both lead on, or to the form, which says what is wrong."""

    openid: OpenIdSignIn

    def pages(self) -> tuple[Page, ...]:
        """The way to the issuer, and the way back."""
        return (
            Page("GET", "/sign-in/issuer", self.leave, public=True),
            Page("GET", _BACK, self.come_back, public=True),
        )

    async def leave(self, visit: Visit) -> Response:
        """To the issuer. What the browser has to bring back is in a cookie."""
        hop = Hop.begin(safe_path(visit.query.get("next", "")))
        try:
            there = await self.openid.address(hop, _redirect_uri(visit))
        except IssuerFailed as error:
            return self._failed(visit, hop.next_path, "issuer_failed", HTTPStatus.BAD_GATEWAY, reason=str(error))
        response = RedirectResponse(there, 303)
        visit.cookies.keep_hop(response, hop.write(), HOP_SECONDS)
        return response

    async def come_back(self, visit: Visit) -> Response:
        """A session for the ID token that the issuer gives for the code in the address."""
        hop, code = Hop.read(visit.cookies.hop), visit.query.get("code", "")
        if hop is None or not hop.came_back(visit.query.get("state", "")):
            return self._failed(visit, f"{PREFIX}/library", "issuer_again", HTTPStatus.BAD_REQUEST)
        next_path = safe_path(hop.next_path)
        if not code:
            said = _ERROR.fullmatch(visit.query.get("error", ""))
            reason = said[0] if said else "?"
            return self._failed(visit, next_path, "issuer_refused", HTTPStatus.FORBIDDEN, reason=reason)
        try:
            token = await self.openid.id_token(code, hop, _redirect_uri(visit))
            session = await exchange(visit, token)
        except IssuerFailed as error:
            return self._failed(visit, next_path, "issuer_failed", HTTPStatus.BAD_GATEWAY, reason=str(error))
        except ApiRefusal as error:
            return self._failed(visit, next_path, "issuer_unknown", HTTPStatus.FORBIDDEN, reason=error.message)
        except ApiUnreachable as error:
            return self._failed(visit, next_path, "unreachable", HTTPStatus.BAD_GATEWAY, reason=str(error))
        await end_session(visit)
        response = visit.redirect(next_path.removeprefix(PREFIX))
        visit.cookies.forget_hop(response)
        visit.cookies.sign_in(response, str(session["credential"]), session.get("expireTime"), visit.now)
        return response

    def _failed(self, visit: Visit, next_path: str, kind: str, status: int, **values: str) -> Response:
        words: Mapping[str, str] = {"issuer": self.openid.host, **values}
        error = visit.texts(f"sign_in.{kind}", **words)
        response = form_page(visit, next_path, issuer_error=error, status=status)
        visit.cookies.forget_hop(response)
        return response


def _redirect_uri(visit: Visit) -> str:
    """Where the issuer sends the browser back to; it is registered there."""
    url = visit.request.url
    return f"{url.scheme}://{url.netloc}{address(_BACK)}"
