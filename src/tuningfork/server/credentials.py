"""Builds what knows the callers of a server, and makes its first API key."""

from collections.abc import Callable
from datetime import datetime
from functools import partial

from tuningfork.dialect.scopes import SCOPES, Scope
from tuningfork.domain.operators import Operators
from tuningfork.domain.permission import LOCAL_PRINCIPAL
from tuningfork.server.belonging import keep_first_key
from tuningfork.server.data_directory import now
from tuningfork.service.identity.assertions import AssertionAudiences, Assertions
from tuningfork.service.identity.identity import Identity
from tuningfork.service.identity.issuer_keys import IssuerKeys
from tuningfork.service.identity.keys import Access
from tuningfork.service.identity.openid import OpenIdTokens
from tuningfork.service.identity.refresh_tokens import RefreshTokens
from tuningfork.service.identity.sessions import Sessions
from tuningfork.service.identity.tokens import AccessTokens
from tuningfork.settings import Settings
from tuningfork.store.database import Database
from tuningfork.wire.gemini.service import SERVICE

_EVERYTHING = (Scope.CLOUD_PLATFORM.value,)
"""The scopes of programs that ask for none."""
AUDIENCES = AssertionAudiences(
    # google-auth writes these, whatever the `token_uri` of the key file is.
    tokens=frozenset({"https://oauth2.googleapis.com/token", "https://www.googleapis.com/oauth2/v4/token"}),
    # Of assertions that programs send as access tokens: the name of the service that a client is made for.
    services={
        "https://aiplatform.googleapis.com/": _EVERYTHING,
        "https://generativelanguage.googleapis.com/": (Scope.GENERATIVE_LANGUAGE.value,),
        "https://storage.googleapis.com/": (Scope.STORAGE.value,),
    },
)
"""What assertions of service accounts may be for, besides the `token_uri` of their key file."""


def identity_of(settings: Settings, database: Database, access: Access) -> Identity:
    """What authenticates callers: by keys, sessions, tokens of this server, and those of the issuer in the settings."""
    tokens = AccessTokens(database, now, scopes=SCOPES, audience=SERVICE)
    issuer = settings.trusted_issuer
    outside = None if issuer is None else OpenIdTokens(issuer, IssuerKeys(issuer.url), now)
    assertions = assertions_of(database, now, access, tokens)
    sessions = Sessions(database, now, access, Operators.of(settings.operators))
    return Identity(access=access, tokens=tokens, sessions=sessions, assertions=assertions, outside=outside)


def assertions_of(
    database: Database, clock: Callable[[], datetime], access: Access, tokens: AccessTokens
) -> Assertions:
    """What verifies the assertions of service accounts."""
    return Assertions(
        database=database,
        clock=clock,
        access=access,
        tokens=tokens,
        scopes=SCOPES,
        default_scopes=_EVERYTHING,
        audiences=AUDIENCES,
    )


def refresh_tokens_of(database: Database, identity: Identity) -> RefreshTokens:
    """What makes and exchanges refresh tokens. Programs that ask for no scope get the one that allows everything."""
    access, tokens = identity.access, identity.tokens
    return RefreshTokens(database=database, clock=now, access=access, tokens=tokens, default_scopes=_EVERYTHING)


def first_key(settings: Settings, access: Access) -> str | None:
    """On the first start, make a key, store it in a file that only the server's user can read, and return it.

    None on later starts. The file is written first: a start that is interrupted leaves no key that nobody has.
    """
    if settings.no_auth or access.has_keys():
        return None
    whose = (LOCAL_PRINCIPAL.email, LOCAL_PRINCIPAL.project)
    return access.create_key("first key", *whose, keep=partial(keep_first_key, settings)).key
