"""Sessions: credentials that browsers keep instead of an API key, for as long as two weeks.

A session is begun with a key or an access token, and may do what that may, but make no further credentials. It ends
when it is ended, when it expires, or when its key is revoked.
"""

import hashlib
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from tuningfork.domain.api_key import ApiKeyId
from tuningfork.domain.authorization import Credential, CredentialKind
from tuningfork.domain.errors import (
    ApiKeyNotValid,
    FailedPrecondition,
    FieldViolation,
    InvalidArgument,
    NotFound,
    Reason,
)
from tuningfork.domain.ids import ID_BITS, random_id
from tuningfork.domain.operators import Operators
from tuningfork.domain.permission import Email, Grant, Principal
from tuningfork.domain.session import (
    ISSUERS_LIFETIME,
    LIFETIME,
    MAX_NAME_CHARACTERS,
    MOST_FOR_EACH_PERSON,
    Session,
    SessionId,
)
from tuningfork.service.identity.keys import KEY_PREFIX, Access
from tuningfork.service.identity.recognised import Recognised
from tuningfork.service.remembered import Remembered
from tuningfork.store import sessions as rows
from tuningfork.store.database import Database, lock_name

SESSION_PREFIX = f"{KEY_PREFIX}session_"
_CREDENTIAL_BYTES = 32
MOST_LISTED = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSession:
    """A new session. Its credential is known only here; the database keeps the credential's hash."""

    session: Session
    credential: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Known:
    """A session that was read from the database, and its holder."""

    session: Session
    holder: Principal

    def recognised(self) -> Recognised:
        session = self.session
        grant = Grant(
            scopes=session.scopes,
            expire_time=session.expire_time,
            session=session.id,
            by_issuer=not session.key_id,
        )
        kind = CredentialKind.API_KEY if session.scopes is None else CredentialKind.ACCESS_TOKEN
        credential = Credential(kind=kind, scopes=session.scopes or frozenset(), is_session=True)
        return Recognised(principal=replace(self.holder, grant=grant), credential=credential)


class Sessions:
    """Begins, authenticates, lists and ends sessions.

    Attributes:
        operators: who may see and end the sessions of others.

    """

    def __init__(
        self,
        database: Database,
        clock: Callable[[], datetime],
        access: Access,
        operators: Operators = Operators(),  # noqa: B008 - a frozen value
    ) -> None:
        self._database = database
        self._clock = clock
        self._access = access
        self.operators = operators
        self._known: Remembered[str, _Known] = Remembered(database)

    def begin(self, principal: Principal, display_name: str) -> NewSession:
        """Make a session for the credential of the call.

        With an API key it lasts two weeks; with an access token of this server as long as the token; with an external
        issuer's token twelve hours. A person has at most a hundred: for a further one, the oldest ends.

        Args:
            principal: the caller, with what limits their credential.
            display_name: where the session is used, such as a browser's name.

        Raises:
            InvalidArgument: the name is too long, or not printable.
            FailedPrecondition: this server asks for no credentials, so that there is nothing to be a session of.

        """
        _check_name(display_name)
        if not principal.credential:
            raise FailedPrecondition("This server asks for no credentials (--no-auth), so it needs no sessions.")
        now = self._clock()
        session = Session(
            id=SessionId(random_id(secrets.randbits(ID_BITS))),
            display_name=display_name,
            email=principal.email,
            key_id=ApiKeyId("" if principal.grant and principal.grant.by_issuer else principal.credential),
            scopes=None if principal.grant is None else principal.grant.scopes,
            create_time=now,
            expire_time=_end_of(principal.grant, now),
        )
        made = NewSession(session=session, credential=SESSION_PREFIX + secrets.token_urlsafe(_CREDENTIAL_BYTES))
        with self._database.write() as connection:
            lock_name(connection, f"sessions of {principal.email}")
            rows.delete_expired(connection, now)
            known = rows.of_person(connection, principal.email, now)
            rows.delete(connection, [each.id for each in known[MOST_FOR_EACH_PERSON - 1 :]])
            rows.insert(connection, session, _hash(made.credential))
        return made

    def authenticate(self, credential: str) -> Recognised:
        """The holder of the session with this credential, within the session's scopes.

        Raises:
            ApiKeyNotValid: the credential is unknown, or its session has ended.

        """
        credential_hash = _hash(credential)
        known = self._known.of(credential_hash, lambda: self._read(credential_hash))
        if known.session.is_over(self._clock()):
            raise ApiKeyNotValid
        return known.recognised()

    def authenticate_at_once(self, credential: str) -> Recognised | None:
        """Like `authenticate`, from memory alone; None if the database has to be read, or the session has ended."""
        known = self._known.find(_hash(credential))
        return None if known is None or known.session.is_over(self._clock()) else known.recognised()

    def list(self, principal: Principal) -> Sequence[Session]:
        """The sessions of a person that have not ended, the newest first."""
        with self._database.read() as connection:
            return rows.of_person(connection, principal.email, self._clock())

    def list_everybodys(self, principal: Principal) -> Sequence[Session]:
        """The sessions of all people that have not ended, the newest 1,000 of them, the newest first.

        Raises:
            PermissionDenied: the caller does not run the server.

        """
        self.operators.check(principal, "look at the sessions of others")
        with self._database.read() as connection:
            return rows.of_everybody(connection, self._clock(), MOST_LISTED)

    def current(self, principal: Principal) -> Session | None:
        """The session whose credential the caller has sent; None: they have sent another kind of credential."""
        wanted = "" if principal.grant is None else principal.grant.session
        return next((each for each in self.list(principal) if each.id == wanted), None) if wanted else None

    def end(self, principal: Principal, session_id: SessionId) -> None:
        """End a session of the caller, or for whoever runs the server anybody's: its credential is refused from now on.

        Raises:
            NotFound: there is no session with this id that the caller may end.

        """
        with self._database.write() as connection:
            if self.operators.includes(principal):
                endable = {each.id for each in rows.of_everybody(connection, self._clock())}
            else:
                endable = {each.id for each in rows.of_person(connection, principal.email, self._clock())}
            if session_id not in endable:
                raise NotFound(f"Session {session_id} does not exist, or has ended.")
            rows.delete(connection, [session_id])

    def end_current(self, principal: Principal) -> None:
        """End the session whose credential the caller has sent; nothing happens if it is another kind of credential."""
        if principal.grant is not None and principal.grant.session:
            with self._database.write() as connection:
                rows.delete(connection, [SessionId(principal.grant.session)])

    def _read(self, credential_hash: str) -> _Known:
        with self._database.read() as connection:
            session = rows.find(connection, credential_hash)
        if session is None:
            raise ApiKeyNotValid
        if session.key_id:
            return _Known(session, self._access.holder(session.key_id))
        return _Known(session, person_of_issuer(self._access, session.email))


def person_of_issuer(access: Access, email: Email) -> Principal:
    """The person with this address in an external issuer's token, with the groups that they are in now."""
    return access.principal(email, "", f"openid:{email}")


def _end_of(grant: Grant | None, now: datetime) -> datetime:
    if grant is not None and grant.by_issuer:
        return now + ISSUERS_LIFETIME
    latest = now + LIFETIME
    return latest if grant is None or grant.expire_time is None else min(latest, grant.expire_time)


def _check_name(name: str) -> None:
    if len(name) > MAX_NAME_CHARACTERS or not name.isprintable():
        described = f"display_name must be at most {MAX_NAME_CHARACTERS} printable characters; {len(name)} were given"
        violation = FieldViolation(field="display_name", description=described, reason=Reason.TOO_LONG)
        raise InvalidArgument(violations=(violation,))


def _hash(credential: str) -> str:
    # As with API keys: 256 random bits cannot be guessed, so they need no slow hash.
    return hashlib.sha256(credential.encode("utf-8", "surrogatepass")).hexdigest()
