"""Tags of answers, for callers who ask the same again and again (RFC 9110, sections 8.8.3 and 13.1.2)."""

import hashlib
from collections.abc import Mapping
from http import HTTPStatus

from starlette.responses import Response

_TAG_BYTES = 16


def tagged(response: Response, asked: Mapping[str, str]) -> Response:
    """The answer with the tag of its content; an empty one of status 304 if the caller has sent this tag.

    Args:
        response: an answer of status 200 that is written at once.
        asked: the headers of the request, by names in lower case.

    """
    tag = f'"{hashlib.blake2b(bytes(response.body), digest_size=_TAG_BYTES).hexdigest()}"'
    # The answer depends on who asks, so only the caller's own program may keep it, and has to ask each time.
    headers = {"etag": tag, "cache-control": "private, no-cache"}
    if _is_among(tag, asked.get("if-none-match", "")):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    for name, value in headers.items():
        response.headers[name] = value
    return response


def _is_among(tag: str, sent: str) -> bool:
    """Whether this tag is among those of an `If-None-Match`, in its weak form too."""
    return sent.strip() == "*" or tag in {each.strip().removeprefix("W/") for each in sent.split(",")}
