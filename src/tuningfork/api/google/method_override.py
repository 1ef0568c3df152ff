"""`X-HTTP-Method-Override`: another verb inside a POST, for clients behind proxies that know only GET and POST."""

from collections.abc import Mapping

_VERBS = frozenset({"GET", "PUT", "PATCH", "DELETE"})


def meant_verb(verb: str, headers: Mapping[str, str]) -> str:
    """The header's verb instead of POST; if the header's verb is unknown, POST, which the router then refuses."""
    meant = headers.get("x-http-method-override", "").strip().upper() if verb == "POST" else ""
    return meant if meant in _VERBS else verb
