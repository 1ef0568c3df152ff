"""Who is calling, and whether they may: keys, the people behind them, and the one gate before every tuned model."""

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from tuningfork.domain.api_key import ApiKey, ApiKeyId
from tuningfork.domain.authorization import Verdict, decide_role
from tuningfork.domain.errors import ApiKeyNotValid, FieldViolation, InvalidArgument, NotFound, PermissionDenied
from tuningfork.domain.permission import Action, Email, Principal, parse_email, role_of
from tuningfork.domain.tuned_model import TunedModel, TunedModelId, new_operation_id
from tuningfork.service.remembered import Remembered
from tuningfork.store import access, tuned_models
from tuningfork.store.database import Database, Transaction

KEY_PREFIX = "tf_"
_KEY_BYTES = 24
_SHOWN_CHARACTERS = 8

_NO_ACCESS = "You do not have permission to access tuned model"
_TO_OWNERS = "You need to be the owner of the resource to transfer ownership"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewKey:
    """A key at the only moment when it is known. `record` is what is kept."""

    key: str
    record: ApiKey


class Access:
    """Makes, recognises and revokes API keys. Keys with the same e-mail address are the same person."""

    def __init__(self, database: Database, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._clock = clock
        self._holders: Remembered[str, Principal] = Remembered(database)
        self._people: Remembered[tuple[str, str, str], Principal] = Remembered(database)

    def authenticate(self, key: str) -> Principal:
        """Who speaks with this key.

        Raises:
            ApiKeyNotValid: it is unknown or revoked.

        """
        key_hash = _hash(key)
        return self._holders.of(key_hash, lambda: self._read_holder(key_hash))

    def authenticate_at_once(self, key: str) -> Principal | None:
        """Who speaks with this key, where that is known without waiting for the database."""
        return self._holders.find(_hash(key))

    def holder(self, key_id: ApiKeyId) -> Principal:
        """Whoever holds the key of this id, as if they had shown it.

        Raises:
            ApiKeyNotValid: it is unknown or revoked.

        """
        with self._database.read() as connection:
            return _holder(connection, access.find_key_of_id(connection, key_id))

    def principal(self, email: Email, project: str, credential: str) -> Principal:
        """The person with this address, with the groups that they are in now.

        Args:
            email: as `parse_email` makes it.
            project: on whose behalf they call.
            credential: the id of what they showed, by which quotas are counted.

        """
        known = Principal(email=email, project=project, credential=credential)
        return self._people.of(_named(known), lambda: self._read_groups(known))

    def principal_at_once(self, known: Principal) -> Principal | None:
        """The same person with their groups, where these are known without waiting for the database."""
        return self._people.find(_named(known))

    def create_key(self, name: str, email: str, project: str) -> NewKey:
        """Make a key for the person with this e-mail address. The key itself is kept nowhere.

        Raises:
            InvalidArgument: the address is none.

        """
        key = KEY_PREFIX + secrets.token_urlsafe(_KEY_BYTES)
        record = ApiKey(
            id=ApiKeyId(new_operation_id(secrets.randbits(62))),
            name=name,
            principal=Principal(email=_email(email), project=project),
            prefix=key[:_SHOWN_CHARACTERS],
            create_time=self._clock(),
        )
        with self._database.write() as connection:
            access.insert_key(connection, record, _hash(key))
        return NewKey(key=key, record=record)

    def list_keys(self) -> list[ApiKey]:
        """All keys, revoked ones included, the oldest first."""
        with self._database.read() as connection:
            return access.keys(connection)

    def revoke_key(self, key_id: str) -> None:
        """Refuse this key from now on; revoking again changes nothing.

        Raises:
            NotFound: there is no key of this id.

        """
        with self._database.write() as connection:
            if not access.revoke_key(connection, ApiKeyId(key_id), self._clock()):
                raise NotFound(f"API key {key_id} does not exist; `keys list` shows the ids.")

    def has_keys(self) -> bool:
        """Whether anybody can call at all."""
        return any(key.revoke_time is None for key in self.list_keys())

    def _read_holder(self, key_hash: str) -> Principal:
        with self._database.read() as connection:
            return _holder(connection, access.find_key(connection, key_hash))

    def _read_groups(self, known: Principal) -> Principal:
        with self._database.read() as connection:
            return _with_groups(connection, known)


def model_for(connection: Transaction, principal: Principal, model_id: TunedModelId, action: Action) -> TunedModel:
    """The model, if this person may do this with it.

    Raises:
        NotFound: there is none.
        PermissionDenied: no role of theirs allows the action.

    """
    model = tuned_models.find(connection, model_id)
    if model is None:
        raise NotFound(f"Tuned model tunedModels/{model_id} does not exist.")
    role = role_of(principal, access.permissions_for(connection, model_id, principal), model.reader_project_numbers)
    if decide_role(action, role) is not Verdict.ALLOWED:
        raise PermissionDenied(_TO_OWNERS if action is Action.TRANSFER else f"{_NO_ACCESS} {model.name}")
    return model


def _holder(connection: Transaction, key: ApiKey | None) -> Principal:
    if key is None or key.revoke_time is not None:
        raise ApiKeyNotValid
    return _with_groups(connection, replace(key.principal, credential=key.id))


def _with_groups(connection: Transaction, principal: Principal) -> Principal:
    return replace(principal, groups=access.groups_of(connection, principal.email))


def _named(principal: Principal) -> tuple[str, str, str]:
    # Principals are equal whatever they showed; here that counts.
    return principal.email, principal.project, principal.credential


def _hash(key: str) -> str:
    # A slow, salted hash protects secrets that can be guessed. 192 random bits cannot, so one fast unsalted SHA-256
    # loses nothing, lets the key be found by an index, and costs microseconds a request.
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def _email(given: str) -> Email:
    try:
        return parse_email(given)
    except ValueError as error:
        violation = FieldViolation(field="email", description=f"email {error}")
        raise InvalidArgument.of("CreateKeyRequest", (violation,)) from error
