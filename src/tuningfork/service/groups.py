"""Groups of people, by whose address a tuned model can be shared with all of them: a small directory on this server.

A group is its members: the first one makes it, and it is gone with the last. Groups do not nest. Who is in a group is
looked up at every call, so a change counts from the next one on.
"""

from collections.abc import Callable, Sequence
from datetime import datetime

from tuningfork.domain.errors import FieldViolation, InvalidArgument, NotFound
from tuningfork.domain.permission import Email, parse_email
from tuningfork.store import access
from tuningfork.store.database import Database, Transaction, hold_word

_DIRECTORY = "the directory of groups"


class Groups:
    """The use cases of groups, for whoever runs the server."""

    def __init__(self, database: Database, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._clock = clock

    def add(self, group: str, members: Sequence[str]) -> None:
        """Put people into a group; who is in it already stays.

        Raises:
            InvalidArgument: an address is none, or a group would be in another.

        """
        name, newcomers = _addresses(group, members)
        with self._database.write() as connection:
            hold_word(connection, _DIRECTORY)
            _refuse_nesting(connection, name, newcomers)
            known = access.members_of(connection, name)
            access.add_members(connection, name, sorted(set(newcomers) - set(known)), self._clock())

    def remove(self, group: str, members: Sequence[str]) -> None:
        """Take people out of a group, all of them or, if one is not in it, none.

        Raises:
            InvalidArgument: an address is none.
            NotFound: somebody is not in the group.

        """
        name, leavers = _addresses(group, members)
        with self._database.write() as connection:
            hold_word(connection, _DIRECTORY)
            if strangers := sorted(set(leavers) - set(access.members_of(connection, name))):
                are = "is" if len(strangers) == 1 else "are"
                raise NotFound(f"{', '.join(strangers)} {are} not in {name}; `groups list {name}` shows who is.")
            access.remove_members(connection, name, leavers)

    def list(self) -> Sequence[tuple[Email, int]]:
        """All groups by address, each with the number of its members."""
        with self._database.read() as connection:
            return access.groups(connection)

    def members(self, group: str) -> Sequence[Email]:
        """Who is in a group, by address.

        Raises:
            InvalidArgument: the address is none.
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
        FieldViolation(field="member", description=f"{each} is a group itself, and groups do not nest")
        for each in newcomers
        if each == group or access.members_of(connection, each)
    ]
    if above := sorted(access.groups_of(connection, group)):
        described = f"{group} is in {', '.join(above)}, and groups do not nest"
        found.append(FieldViolation(field="group", description=described))
    if found:
        raise InvalidArgument.of("AddMembersRequest", tuple(found))


def _addresses(group: str, members: Sequence[str]) -> tuple[Email, Sequence[Email]]:
    found: list[FieldViolation] = []
    parsed: list[Email] = []
    for field, text in (("group", group), *(("member", member) for member in members)):
        try:
            parsed.append(parse_email(text))
        except ValueError as error:
            found.append(FieldViolation(field=field, description=f"{field} {error}"))
    if found:
        raise InvalidArgument.of("GroupRequest", tuple(found))
    return parsed[0], parsed[1:]
