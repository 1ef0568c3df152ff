"""Finds the credential of a request: in `x-goog-api-key`, `?key=`, `Authorization` or `?access_token=`."""

from tuningfork.dialect.form import RequestHead
from tuningfork.dialect.gate import SentCredential


def find_credential(head: RequestHead) -> SentCredential | None:
    """The credential to use: a key before a token, a header before the query. An empty one counts as not sent."""
    return SentCredential.among(
        key=head.headers.get("x-goog-api-key") or _parameter(head, "key"),
        token=_parameter(head, "access_token") or _parameter(head, "oauth_token"),
        authorization=head.headers.get("authorization"),
    )


def _parameter(head: RequestHead, name: str) -> str | None:
    """A system parameter, in either of its spellings."""
    return head.query.get(name) or head.query.get(f"${name}")
