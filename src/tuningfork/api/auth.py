"""Where an HTTP request carries its credential: as `x-goog-api-key`, as `?key=` or as `Authorization: Bearer`."""

from starlette.requests import Request

from tuningfork.dialect.gate import Shown


def find_credential(request: Request) -> Shown | None:
    """The credential that counts: a key before a token, the header before the query; empty ones are none."""
    return Shown.among(
        key=request.headers.get("x-goog-api-key") or _parameter(request, "key"),
        token=_parameter(request, "access_token") or _parameter(request, "oauth_token"),
        authorization=request.headers.get("authorization"),
    )


def _parameter(request: Request, name: str) -> str | None:
    """A system parameter, in either of its spellings."""
    return request.query_params.get(name) or request.query_params.get(f"${name}")
