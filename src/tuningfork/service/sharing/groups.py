"""Groups of people, kept on this server. A tuned model can be shared with all members of a group by its address.

A group exists as long as it has members. Groups do not nest. The members of a group are looked up at every call, so a
change takes effect with the next call.
"""

from collections.abc import Callable, Sequence
from datetime import datetime

from tuningfork.domain.errors import FieldViolation, InvalidArgument, NotFound, Reason
from tuningfork.domain.permission import Email, parse_email
from tuningfork.store import access
from tuningfork.store.database import Database, Transaction, lock_name

_DIRECTORY = "the directory of groups"


class Groups:
    """The use cases of groups, for the server's operator."""

    def __init__(self, database: Database, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._clock = clock

    def add(self, group: str, members: Sequence[str]) -> None:
        """Add people to a group. People who are in it already are ignored.

        Raises:
            InvalidArgument: a text is not an e-mail address, or one group would be a member of another.

        """
        name, newcomers = _addresses(group, members)
        with self._database.write() as connection:
            lock_name(connection, _DIRECTORY)
            _refuse_nesting(connection, name, newcomers)
            known = access.members_of(connection, name)
            access.add_members(connection, name, sorted(set(newcomers) - set(known)), self._clock())

    def remove(self, group: str, members: Sequence[str]) -> None:
        """Remove people from a group. If one of them is not in it, nobody is removed.

        Raises:
            InvalidArgument: a text is not an e-mail address.
            NotFound: somebody is not in the group.

        """
        name, leavers = _addresses(group, members)
        with self._database.write() as connection:
            lock_name(connection, _DIRECTORY)
            if strangers := sorted(set(leavers) - set(access.members_of(connection, name))):
                are = "is" if len(strangers) == 1 else "are"
                raise NotFound(f"{', '.join(strangers)} {are} not in {name}; `groups list {name}` shows who is.")
            access.remove_members(connection, name, leavers)

    def list(self) -> Sequence[tuple[Email, int]]:
        """All groups by address, each with the number of its members."""
        with self._database.read() as connection:
            return access.groups(connection)

    def members(self, group: str) -> Sequence[Email]:
        """The members of a group, sorted by address.

        Raises:
            InvalidArgument: `group` is not an e-mail address.
            NotFound: there is no such group.

        """
        name, _ = _addresses(group, ())
        with self._database.read() as connection:
            found = access.members_of(connection, name)
        if not found:
            raise NotFound(f"There is no group {name}; `groups list` shows those there are.")
        return found


def _refuse_nesting(connection: Transaction, group: Email, newcomers: Sequence[Email]) -> None:
    found = [
        FieldViolation(
            field="member",
            description=f"{each} is a group itself, and groups do not nest",
            reason=Reason.NOT_ALLOWED,
        )
        for each in newcomers
        if each == group or access.members_of(connection, each)
    ]
    if above := sorted(access.groups_of(connection, group)):
        described = f"{group} is in {', '.join(above)}, and groups do not nest"
        found.append(FieldViolation(field="group", description=described, reason=Reason.NOT_ALLOWED))
    if found:
        raise InvalidArgument(violations=tuple(found))


def _addresses(group: str, members: Sequence[str]) -> tuple[Email, Sequence[Email]]:
    found: list[FieldViolation] = []
    parsed: list[Email] = []
    for field, text in (("group", group), *(("member", member) for member in members)):
        try:
            parsed.append(parse_email(text))
        except ValueError as error:
            found.append(FieldViolation(field=field, description=f"{field} {error}", reason=Reason.MALFORMED))
    if found:
        raise InvalidArgument(violations=tuple(found))
    return parsed[0], parsed[1:]
