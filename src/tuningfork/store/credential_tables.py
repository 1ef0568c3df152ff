"""The tables of what callers are recognised by: API keys, and what is made for their holders. No secret is stored.

All but the keys that sign access tokens are hashes and public keys, from which the secrets cannot be found.
"""

from sqlalchemy import CheckConstraint, Column, ForeignKey, LargeBinary, String, Table, Text

from tuningfork.store.column_types import Id, UtcDateTime
from tuningfork.store.metadata import metadata

# The keys that sign access tokens, shared by all servers on one database, so that tokens are valid on each.
signing_keys = Table(
    "signing_keys",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("secret", LargeBinary, nullable=False),
    Column("create_time", UtcDateTime, nullable=False),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Id(32), primary_key=True),
    Column("name", Text, nullable=False),
    Column("email", Text, nullable=False),
    Column("project", Text, nullable=False),
    Column("prefix", String(16), nullable=False),
    Column("key_hash", String(64), nullable=False, unique=True),
    Column("create_time", UtcDateTime, nullable=False),
    Column("revoke_time", UtcDateTime),
)

# What programs exchange for access tokens. Keys are revoked and never deleted, so a token's key is always there.
refresh_tokens = Table(
    "refresh_tokens",
    metadata,
    Column("id", Id(32), primary_key=True),
    Column("name", Text, nullable=False),
    # NULL: a server that asks for no keys made it.
    Column("key_id", ForeignKey("api_keys.id"), index=True),
    Column("token_hash", String(64), nullable=False, unique=True),
    Column("client_secret_hash", String(64), nullable=False, unique=True),
    Column("create_time", UtcDateTime, nullable=False),
    Column("revoke_time", UtcDateTime),
)

# What browsers keep instead of an API key. One that is ended, or has expired, is deleted.
sessions = Table(
    "sessions",
    metadata,
    Column("id", Id(32), primary_key=True),
    Column("display_name", Text, nullable=False),
    Column("email", Text, nullable=False, index=True),
    # NULL: it was begun with the token of an external issuer.
    Column("key_id", ForeignKey("api_keys.id"), index=True),
    # A blank between two. NULL: it was begun with a key, and has all rights of the key.
    Column("scopes", Text),
    Column("credential_hash", String(64), nullable=False, unique=True),
    Column("create_time", UtcDateTime, nullable=False),
    Column("expire_time", UtcDateTime, nullable=False, index=True),
    CheckConstraint("key_id IS NOT NULL OR scopes IS NOT NULL", name="scopes_unless_of_key"),
)

# Programs that exchange signed assertions for access tokens. `key_id` is that of refresh tokens.
service_accounts = Table(
    "service_accounts",
    metadata,
    Column("id", Id(32), primary_key=True),
    Column("name", Text, nullable=False),
    Column("key_id", ForeignKey("api_keys.id"), index=True),
    Column("token_uri", Text, nullable=False),
    Column("public_key", Text, nullable=False),
    Column("create_time", UtcDateTime, nullable=False),
    Column("revoke_time", UtcDateTime),
)
