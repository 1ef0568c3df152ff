"""What refresh tokens and service accounts have in common: a name, an API key, an end by revoking, and a limit."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeVar

from tuningfork.domain.api_key import ApiKeyId
from tuningfork.domain.errors import FieldViolation, InvalidArgument, Reason, ResourceExhausted
from tuningfork.domain.permission import LOCAL_PRINCIPAL, Email, Principal
from tuningfork.domain.refresh_token import MAX_NAME_CHARACTERS
from tuningfork.service.identity.keys import Access

MOST_FOR_EACH_PERSON = 100


class Revocable(Protocol):
    """A row that ends when it is revoked. `revoke_time` None: it is not."""

    @property
    def id(self) -> str:
        """The id by which it is revoked."""
        ...

    @property
    def revoke_time(self) -> datetime | None:
        """When it was revoked."""
        ...


Row = TypeVar("Row", bound=Revocable)


@dataclass(frozen=True, slots=True)
class Kind:
    """What such rows are called in sentences, and the commands that list and revoke them."""

    plural: str
    commands: str


def check_name(name: str) -> None:
    """Check the name of a new row.

    Raises:
        InvalidArgument: it is too long, or not printable.

    """
    if len(name) > MAX_NAME_CHARACTERS or not name.isprintable():
        described = f"name must be at most {MAX_NAME_CHARACTERS} printable characters; {len(name)} were given"
        violation = FieldViolation(field="name", description=described, reason=Reason.TOO_LONG)
        raise InvalidArgument(violations=(violation,))


def surplus(known: Sequence[Row], kind: Kind, email: Email) -> Sequence[Row]:
    """The rows of a person to forget before one more is made: as many as are needed of those revoked first.

    Raises:
        ResourceExhausted: the person has as many as are allowed that are not revoked.

    """
    revoked = [(each.revoke_time, each.id, each) for each in known if each.revoke_time is not None]
    too_many = len(known) + 1 - MOST_FOR_EACH_PERSON
    if too_many > len(revoked):
        raise ResourceExhausted(
            f"{MOST_FOR_EACH_PERSON} {kind.plural} of {email} are in use, and more are not allowed; revoke some with "
            f"`tuningfork {kind.commands} revoke ID`."
        )
    revoked.sort(key=lambda found: found[:2])
    return [each for _, _, each in revoked[: max(too_many, 0)]]


def has_keyless(email: Email) -> bool:
    """Whether rows without a key are this person's: a server that asks for no keys makes them for all."""
    return email == LOCAL_PRINCIPAL.email


def holder_of(access: Access, key_id: ApiKeyId) -> Principal:
    """The holder of a row's API key. `key_id` "": a server that asks for no keys made the row.

    Raises:
        ApiKeyNotValid: the key is revoked.

    """
    if not key_id:
        # An access token for nobody is good for nothing where credentials are asked for.
        return access.principal(LOCAL_PRINCIPAL.email, LOCAL_PRINCIPAL.project, "")
    return access.holder(key_id)
