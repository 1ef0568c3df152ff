"""What a visitor sees when the API refuses, does not answer, or does not know whatever a page is about."""

from http import HTTPStatus
from urllib.parse import quote

from starlette.responses import RedirectResponse, Response

from tuningfork.studio.frame.address import address
from tuningfork.studio.frame.api_client import ApiRefusal, ApiUnreachable
from tuningfork.studio.frame.visit import Visit

_RETRY_MS = 5_000


def signed_out(visit: Visit) -> Response:
    """To the form, and back to this page afterwards; a script is told, so that what is typed on its page stays."""
    if visit.fragment is not None:
        return Response(status_code=HTTPStatus.UNAUTHORIZED)
    # A form that was sent cannot be sent again from there: back to where it came from would be a guess.
    back = visit.here if visit.request.method == "GET" else address("/library")
    left = "&out=1" if visit.cookies.credential is not None else ""
    response = RedirectResponse(f"{address('/sign-in')}?next={quote(back, safe='')}{left}", 303)
    visit.cookies.sign_out(response)
    return response


def page_of(visit: Visit, error: ApiRefusal | ApiUnreachable) -> Response:
    """The page for an error that no page has handled."""
    if isinstance(error, ApiUnreachable):
        return _page(visit, "unreachable", str(error), 502, retries=True)
    # Without any credential the API says that it is missing: 403, as Google does.
    if error.signed_out or (error.status == HTTPStatus.FORBIDDEN and visit.cookies.credential is None):
        return signed_out(visit)
    if error.status == HTTPStatus.FORBIDDEN:
        return _page(visit, "forbidden", error.message, error.status)
    if error.status == HTTPStatus.NOT_FOUND:
        return _page(visit, "not_found", error.message, error.status)
    later = error.status == HTTPStatus.TOO_MANY_REQUESTS or error.status >= HTTPStatus.INTERNAL_SERVER_ERROR
    return _page(visit, "refused", error.message, error.status, retries=later and visit.request.method == "GET")


def not_found(visit: Visit) -> Response:
    """The page for a path that is none."""
    return _page(visit, "no_page", "", HTTPStatus.NOT_FOUND)


def too_large(visit: Visit) -> Response:
    """The page for a form that is too large."""
    return _page(visit, "too_large", "", HTTPStatus.REQUEST_ENTITY_TOO_LARGE)


def _page(visit: Visit, kind: str, said: str, status: int, *, retries: bool = False) -> Response:
    if visit.fragment is not None:
        # Whoever has the page keeps what it shows, and says what is wrong beside it.
        return Response(said, status, media_type="text/plain; charset=utf-8")
    return visit.render("failure.html", status=status, kind=kind, said=said, retry_ms=_RETRY_MS if retries else 0)
