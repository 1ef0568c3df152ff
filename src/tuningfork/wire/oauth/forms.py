"""Parses the forms that programs send to exchange a refresh token or an assertion, or to ask about a token."""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote_plus

from tuningfork.wire.oauth.answers import OAuthError, OAuthFault

FORM = "application/x-www-form-urlencoded"
MOST_BODY_BYTES = 16 * 1024
_MOST_PARAMETERS = 50
_JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"


@dataclass(frozen=True, slots=True, kw_only=True)
class SentClient:
    """The client that a program says to be (RFC 6749, section 2.3.1). "" is what it did not send."""

    id: str = ""
    secret: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshRequest:
    """A request to exchange a refresh token (RFC 6749, section 6). `scopes` (): none were asked for."""

    client: SentClient
    refresh_token: str = field(repr=False)
    scopes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AssertionRequest:
    """A request to exchange an assertion (RFC 7523, section 2.1). Scopes are among its claims."""

    assertion: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class IntrospectionRequest:
    """A question about a token (RFC 7662, section 2.1)."""

    client: SentClient
    token: str = field(repr=False)


def parse_grant(content_type: str, authorization: str, body: bytes) -> RefreshRequest | AssertionRequest:
    """What is to be exchanged: a refresh token, with the client that sent it, or an assertion.

    Args:
        content_type: the header of this name; "": none was sent.
        authorization: the header of this name; "": none was sent.
        body: a form.

    Raises:
        OAuthFault: the body is not a form, lacks a parameter, or asks for another grant.

    """
    sent = _parameters(content_type, body)
    match grant := _required(sent, "grant_type"):
        case "refresh_token":
            client = _client(authorization, sent)
            scopes = tuple(dict.fromkeys(sent.get("scope", "").split()))
            return RefreshRequest(client=client, refresh_token=_required(sent, "refresh_token"), scopes=scopes)
        case str() if grant == _JWT_BEARER:
            return AssertionRequest(assertion=_required(sent, "assertion"))
    raise OAuthFault(
        OAuthError.UNSUPPORTED_GRANT_TYPE,
        f"grant_type must be refresh_token or {_JWT_BEARER}; {grant[:60]} was sent. `tuningfork auth "
        "application-default login --adc FILE` and `tuningfork auth service-account create FILE` write files of "
        "credentials whose programs send the right one",
    )


def parse_introspection(content_type: str, authorization: str, body: bytes) -> IntrospectionRequest:
    """The token that is asked about, and the client that asks.

    Raises:
        OAuthFault: the body is not a form, or lacks a parameter.

    """
    sent = _parameters(content_type, body)
    return IntrospectionRequest(client=_client(authorization, sent), token=_required(sent, "token"))


def _parameters(content_type: str, body: bytes) -> Mapping[str, str]:
    """The parameters of a form. Empty ones count as not sent, and none may be repeated (RFC 6749, section 3.2)."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind != FORM:
        raise _invalid(f"the body must be a form, {FORM}; {kind[:60] or 'nothing'} was sent")
    try:
        text = body.decode("ascii")
        pairs = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=_MOST_PARAMETERS)
    except ValueError as error:
        raise _invalid(f"the body must be a form of at most {_MOST_PARAMETERS} parameters in UTF-8") from error
    names = [name for name, _ in pairs]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise _invalid(f"{repeated[0][:60]} was sent more than once")
    return {name: value for name, value in pairs if value}


def _required(sent: Mapping[str, str], name: str) -> str:
    if name not in sent:
        raise _invalid(f"the parameter {name} is required")
    return sent[name]


def _client(authorization: str, sent: Mapping[str, str]) -> SentClient:
    """The client by HTTP Basic, or by parameters of the form; no program may send both."""
    scheme, _, encoded = authorization.strip().partition(" ")
    if not scheme:
        return SentClient(id=sent.get("client_id", ""), secret=sent.get("client_secret", ""))
    if scheme.lower() != "basic":
        raise OAuthFault(OAuthError.INVALID_CLIENT, "the client must be sent by HTTP Basic, or in the form")
    if "client_secret" in sent:
        raise _invalid("the client was sent twice, by HTTP Basic and in the form")
    try:
        name, separator, secret = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
    except (binascii.Error, ValueError) as error:
        raise OAuthFault(OAuthError.INVALID_CLIENT, "the credentials of HTTP Basic cannot be read") from error
    if not separator:
        raise OAuthFault(OAuthError.INVALID_CLIENT, "the credentials of HTTP Basic have no colon")
    return SentClient(id=unquote_plus(name), secret=unquote_plus(secret))


def _invalid(description: str) -> OAuthFault:
    return OAuthFault(OAuthError.INVALID_REQUEST, description)
