"""Where an HTTP request carries its credential: as `x-goog-api-key`, as `?key=` or as `Authorization: Bearer`."""

from starlette.requests import Request

from tuningfork.dialect.gate import Credential


def find_credential(request: Request) -> Credential | None:
    """The credential that counts: a key before a token, the header before the query; empty ones are none."""
    query = request.query_params
    return Credential.among(
        key=request.headers.get("x-goog-api-key") or query.get("key") or query.get("$key"),
        token=query.get("access_token") or query.get("oauth_token"),
        authorization=request.headers.get("authorization"),
    )
