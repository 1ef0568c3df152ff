"""Builds what knows the callers of a server, and makes its first API key."""

from functools import partial

from tuningfork.dialect.gemini.methods import SCOPES, Scope
from tuningfork.domain.permission import LOCAL_PRINCIPAL
from tuningfork.server.belonging import keep_first_key
from tuningfork.server.data_directory import now
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


def identity_of(settings: Settings, database: Database, access: Access) -> Identity:
    """What authenticates callers: by keys, sessions, tokens of this server, and those of the issuer in the settings."""
    tokens = AccessTokens(database, now, scopes=SCOPES, audience=SERVICE)
    issuer = settings.trusted_issuer
    outside = None if issuer is None else OpenIdTokens(issuer, IssuerKeys(issuer.url), now)
    return Identity(access=access, tokens=tokens, sessions=Sessions(database, now, access), outside=outside)


def refresh_tokens_of(database: Database, identity: Identity) -> RefreshTokens:
    """What makes and exchanges refresh tokens. Programs that ask for no scope get the one that allows everything."""
    scopes = (Scope.CLOUD_PLATFORM.value,)
    return RefreshTokens(
        database=database, clock=now, access=identity.access, tokens=identity.tokens, default_scopes=scopes
    )


def first_key(settings: Settings, access: Access) -> str | None:
    """On the first start, make a key, store it in a file that only the server's user can read, and return it.

    None on later starts. The file is written first: a start that is interrupted leaves no key that nobody has.
    """
    if settings.no_auth or access.has_keys():
        return None
    whose = (LOCAL_PRINCIPAL.email, LOCAL_PRINCIPAL.project)
    return access.create_key("first key", *whose, keep=partial(keep_first_key, settings)).key
