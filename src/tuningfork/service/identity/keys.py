"""API keys and their holders, and `model_for`, which checks every access to a tuned model."""

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from tuningfork.domain.api_key import ApiKey, ApiKeyId
from tuningfork.domain.authorization import CallDecision, decide_role
from tuningfork.domain.errors import ApiKeyNotValid, FieldViolation, InvalidArgument, NotFound, Reason
from tuningfork.domain.ids import ID_BITS, random_id
from tuningfork.domain.permission import Action, Email, Principal, parse_email, role_of
from tuningfork.domain.references import TunedRef
from tuningfork.domain.refusals import ResourceNotFound, RoleInsufficient
from tuningfork.domain.tuned_model import TunedModel, TunedModelId
from tuningfork.service.remembered import Remembered
from tuningfork.store import access, sessions, tuned_models
from tuningfork.store.database import Database, Transaction

KEY_PREFIX = "tf_"
_KEY_BYTES = 24
_SHOWN_CHARACTERS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class NewKey:
    """A new API key. The key itself is known only here; `record` is what the database keeps."""

    key: str
    record: ApiKey


class Access:
    """Makes, authenticates and revokes API keys. All keys with one e-mail address belong to the same person."""

    def __init__(self, database: Database, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._clock = clock
        self._holders: Remembered[str, Principal] = Remembered(database)
        self._people: Remembered[tuple[str, str, str], Principal] = Remembered(database)

    def authenticate(self, key: str) -> Principal:
        """The holder of this key.

        Raises:
            ApiKeyNotValid: the key is unknown or revoked.

        """
        key_hash = _hash(key)
        return self._holders.of(key_hash, lambda: self._read_holder(key_hash))

    def authenticate_at_once(self, key: str) -> Principal | None:
        """Like `authenticate`, from memory alone; None if the database has to be read."""
        return self._holders.find(_hash(key))

    def holder(self, key_id: ApiKeyId) -> Principal:
        """The holder of the key with this id.

        Raises:
            ApiKeyNotValid: the key is unknown or revoked.

        """
        with self._database.read() as connection:
            return _holder(connection, access.find_key_of_id(connection, key_id))

    def principal(self, email: Email, project: str, credential: str) -> Principal:
        """The person with this address, with the groups that they are in now.

        Args:
            email: an address that `parse_email` returned.
            project: the project for which the person calls.
            credential: the id of the credential that they sent; quotas are counted for each credential.

        """
        known = Principal(email=email, project=project, credential=credential)
        return self._people.of(_named(known), lambda: self._read_groups(known))

    def principal_at_once(self, known: Principal) -> Principal | None:
        """Like `principal`, from memory alone; None if the database has to be read."""
        return self._people.find(_named(known))

    def create_key(
        self, name: str, email: str, project: str, *, keep: Callable[[str], None] = lambda _key: None
    ) -> NewKey:
        """Make a key for the person with this e-mail address. The database keeps only the key's hash.

        `keep` is called with the key before the database has it. If `keep` raises an error, or the process ends, there
        is no such key.

        Raises:
            InvalidArgument: `email` is not an e-mail address.

        """
        key = KEY_PREFIX + secrets.token_urlsafe(_KEY_BYTES)
        record = ApiKey(
            id=ApiKeyId(random_id(secrets.randbits(ID_BITS))),
            name=name,
            principal=Principal(email=_email(email), project=project),
            prefix=key[:_SHOWN_CHARACTERS],
            create_time=self._clock(),
        )
        with self._database.write() as connection:
            access.insert_key(connection, record, _hash(key))
            keep(key)
        return NewKey(key=key, record=record)

    def list_keys(self) -> list[ApiKey]:
        """All keys, including revoked ones, the oldest first."""
        with self._database.read() as connection:
            return access.keys(connection)

    def count_sessions(self) -> dict[ApiKeyId, int]:
        """How many sessions each key has that have not ended; keys without any are left out."""
        with self._database.read() as connection:
            return sessions.count_by_key(connection, self._clock())

    def revoke_key(self, key_id: str) -> None:
        """Refuse this key from now on; revoking again changes nothing.

        Raises:
            NotFound: there is no key with this id.

        """
        with self._database.write() as connection:
            if not access.revoke_key(connection, ApiKeyId(key_id), self._clock()):
                raise NotFound(f"API key {key_id} does not exist; `keys list` shows the ids.")

    def has_keys(self) -> bool:
        """Whether there is any key that has not been revoked."""
        return any(key.revoke_time is None for key in self.list_keys())

    def _read_holder(self, key_hash: str) -> Principal:
        with self._database.read() as connection:
            return _holder(connection, access.find_key(connection, key_hash))

    def _read_groups(self, known: Principal) -> Principal:
        with self._database.read() as connection:
            return _with_groups(connection, known)


def model_for(connection: Transaction, principal: Principal, model_id: TunedModelId, action: Action) -> TunedModel:
    """Read a model for an action, and check that the caller may do it.

    Raises:
        NotFound: there is no such model.
        PermissionDenied: none of the caller's roles allows the action.

    """
    model = tuned_models.find(connection, model_id)
    if model is None:
        raise ResourceNotFound(TunedRef(model_id))
    role = role_of(principal, access.permissions_for(connection, model_id, principal), model.reader_project_numbers)
    if decide_role(action, role) is not CallDecision.ALLOWED:
        raise RoleInsufficient(TunedRef(model_id), action)
    return model


def _holder(connection: Transaction, key: ApiKey | None) -> Principal:
    if key is None or key.revoke_time is not None:
        raise ApiKeyNotValid
    return _with_groups(connection, replace(key.principal, credential=key.id))


def _with_groups(connection: Transaction, principal: Principal) -> Principal:
    return replace(principal, groups=access.groups_of(connection, principal.email))


def _named(principal: Principal) -> tuple[str, str, str]:
    # The cache's key includes the credential, which the equality of principals ignores.
    return principal.email, principal.project, principal.credential


def _hash(key: str) -> str:
    # A slow, salted hash is needed for secrets that can be guessed. 192 random bits cannot be guessed, so a fast,
    # unsalted SHA-256 is as safe. It lets an index find the key, and takes microseconds for each request.
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def _email(given: str) -> Email:
    try:
        return parse_email(given)
    except ValueError as error:
        violation = FieldViolation(field="email", description=f"email {error}", reason=Reason.MALFORMED)
        raise InvalidArgument(violations=(violation,)) from error
