"""`tuningfork groups`: who is in the groups that models can be shared with, of a server on this machine."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tuningfork.cli import output
from tuningfork.cli.help import Commands
from tuningfork.cli.operating import ConfigFile, DataDirectory, refuse, settings_of

if TYPE_CHECKING:
    # Importing the service takes a second, which `--help` does not need.
    from tuningfork.service.sharing.groups import Groups

groups = Commands(None, "Groups of people to share models with, of a server on this machine, running or not.")

AsJson = Annotated[
    bool,
    output.as_json_option('{"groups": [{"group", "memberCount"}, ...]}, or for one {"group", "members": [...]}'),
]
Group = Annotated[str, typer.Argument(metavar="GROUP", help="The group's address, such as team@example.com.")]
Members = Annotated[
    list[str], typer.Argument(metavar="MEMBER...", help="Addresses of people, as their keys have them.")
]


@groups.command("add")
def add_members(group: Group, members: Members, data_dir: DataDirectory = None, config: ConfigFile = None) -> None:
    """Put people into a group; the first one makes it.

    They have its roles from their next call on. A group cannot be in another group.
    """
    with _groups(data_dir, config) as opened:
        opened.add(group, members)


@groups.command("remove")
def remove_members(group: Group, members: Members, data_dir: DataDirectory = None, config: ConfigFile = None) -> None:
    """Take people out of a group; it is gone with the last.

    What was shared with the group stays shared with it, should it be made again.
    """
    with _groups(data_dir, config) as opened:
        opened.remove(group, members)


@groups.command("list")
def list_groups(
    group: Annotated[
        str | None, typer.Argument(metavar="[GROUP]", help="A group's address; left out, all groups are shown.")
    ] = None,
    *,
    as_json: AsJson = False,
    data_dir: DataDirectory = None,
    config: ConfigFile = None,
) -> None:
    """Show all groups with the number of their members, or the members of one."""
    with _groups(data_dir, config) as opened:
        if group is None:
            _show_groups(opened.list(), as_json=as_json)
        else:
            _show_members(group, opened.members(group), as_json=as_json)


def _show_groups(groups: Sequence[tuple[str, int]], *, as_json: bool) -> None:
    if as_json:
        output.result_json({"groups": [{"group": name, "memberCount": count} for name, count in groups]})
    elif output.is_for_a_person():
        from tuningfork.cli import tables  # noqa: PLC0415 - `--help` does not need it

        tables.show("Groups", ("group", "members"), [(name, str(count)) for name, count in groups])
    else:
        for row in groups:
            output.result_row(*row)


def _show_members(group: str, members: Sequence[str], *, as_json: bool) -> None:
    if as_json:
        output.result_json({"group": group, "members": list(members)})
    else:
        for member in members:
            output.result_row(member)


@contextmanager
def _groups(data_dir: Path | None, config: Path | None) -> Iterator["Groups"]:
    from tuningfork.domain.errors import InvalidArgument, NotFound  # noqa: PLC0415
    from tuningfork.server.data_directory import StartError, open_groups  # noqa: PLC0415

    try:
        with open_groups(settings_of(data_dir=data_dir, config=config)) as opened:
            yield opened
    except InvalidArgument as error:
        refuse("; ".join(violation.description for violation in error.violations))
    except NotFound as error:
        refuse(error.message)
    except StartError as error:
        refuse(str(error))
