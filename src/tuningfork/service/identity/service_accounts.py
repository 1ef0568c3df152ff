"""Service accounts: key pairs for programs, which sign assertions with the private key.

They are for programs that want a key file of a service account. The server makes the pair, gives the private key away
once, and keeps the public one. A service account does not expire; it ends when it is revoked, or when its API key is.
"""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import urlsplit

from tuningfork.domain.api_key import ApiKeyId
from tuningfork.domain.errors import FieldViolation, InvalidArgument, NotFound, Reason
from tuningfork.domain.ids import ID_BITS, random_id
from tuningfork.domain.permission import Email, Principal
from tuningfork.domain.service_account import MAX_TOKEN_URI_CHARACTERS, ServiceAccount, ServiceAccountId
from tuningfork.service.identity.revocable import Kind, check_name, has_keyless, surplus
from tuningfork.store import service_accounts as rows
from tuningfork.store.database import Database, Transaction, lock_name

_KIND = Kind("service accounts", "auth service-account")
_KEY_BITS = 2_048
"""What RFC 7518 (section 3.3) asks for at least, and what clients expect of such a file."""
_PUBLIC_EXPONENT = 65_537


@dataclass(frozen=True, slots=True, kw_only=True)
class NewServiceAccount:
    """A new service account. Its private key, in PEM (PKCS #8), is known only here."""

    account: ServiceAccount
    private_key: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceAccounts:
    """Makes, lists and revokes service accounts. A person's are those of all keys with their address."""

    database: Database
    clock: Callable[[], datetime]

    def create(self, principal: Principal, name: str, token_uri: str) -> NewServiceAccount:
        """Make a service account for the key that `principal.credential` names.

        A person has at most a hundred. For a further one, the one that was revoked first is forgotten.

        Args:
            principal: the key's holder.
            name: where the private key will be.
            token_uri: the URL at which the program will exchange assertions, as it reaches the server.

        Raises:
            InvalidArgument: the name is too long or not printable, or `token_uri` is no such URL.
            ResourceExhausted: the person has a hundred that are not revoked.

        """
        check_name(name)
        _check_token_uri(token_uri)
        account = ServiceAccount(
            id=ServiceAccountId(random_id(secrets.randbits(ID_BITS))),
            name=name,
            key_id=ApiKeyId(principal.credential),
            token_uri=token_uri,
            create_time=self.clock(),
        )
        private_key, public_key = _key_pair()
        with self.database.write() as connection:
            lock_name(connection, f"service accounts of {principal.email}")
            full = surplus(_of(connection, principal.email), _KIND, principal.email)
            rows.forget(connection, [each.id for each in full])
            rows.insert(connection, account, public_key)
        return NewServiceAccount(account=account, private_key=private_key)

    def list(self, principal: Principal) -> Sequence[ServiceAccount]:
        """All service accounts of a person, revoked ones too, the oldest first."""
        with self.database.read() as connection:
            return _of(connection, principal.email)

    def revoke(self, principal: Principal, account_id: ServiceAccountId) -> ServiceAccount:
        """Refuse the assertions of a person's service account from now on; revoking again changes nothing.

        Access tokens that it obtained before stay valid for the rest of their hour.

        Raises:
            NotFound: the person has no service account with this id.

        """
        email = principal.email
        with self.database.write() as connection:
            rows.revoke(connection, account_id, email, self.clock(), keyless=has_keyless(email))
            found = [each for each in _of(connection, email) if each.id == account_id]
        if not found:
            raise NotFound(f"Service account {account_id} does not exist; `auth service-account list` shows the ids.")
        return found[0]


def _of(connection: Transaction, email: Email) -> Sequence[ServiceAccount]:
    return rows.of_person(connection, email, keyless=has_keyless(email))


def _check_token_uri(token_uri: str) -> None:
    if not token_uri:
        described, reason = "token_uri is required: the URL of the server's /token", Reason.MISSING
    elif len(token_uri) > MAX_TOKEN_URI_CHARACTERS:
        described = f"token_uri must have at most {MAX_TOKEN_URI_CHARACTERS} characters; {len(token_uri)} were given"
        reason = Reason.TOO_LONG
    elif not _is_token_route(token_uri):
        example = "such as http://127.0.0.1:8000/token"
        described = f"token_uri must be the URL of the server's /token, {example}; {token_uri[:200]!a} was given"
        reason = Reason.MALFORMED
    else:
        return
    raise InvalidArgument(violations=(FieldViolation(field="token_uri", description=described, reason=reason),))


def _is_token_route(url: str) -> bool:
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        return False
    return url.isprintable() and parts.scheme in {"http", "https"} and bool(host) and parts.path.endswith("/token")


def _key_pair() -> tuple[str, str]:
    """A new private key and its public key, in PEM."""
    # Importing it takes a tenth of a second, which most servers need not spend.
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import rsa  # noqa: PLC0415

    key = rsa.generate_private_key(public_exponent=_PUBLIC_EXPONENT, key_size=_KEY_BITS)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return private.decode(), public.decode()
