"""`tuningfork groups`: who is in the groups that models can be shared with, of a server on this machine."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tuningfork.cli.operating import DataDirectory, refuse, settings_of

if TYPE_CHECKING:
    # The whole service takes a second to import; `--help` needs none of it.
    from tuningfork.service.groups import Groups

groups = typer.Typer(
    help="Groups of people to share models with, of a server on this machine, running or not.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Group = Annotated[str, typer.Argument(metavar="GROUP", help="The group's address, such as team@example.com.")]
Members = Annotated[
    list[str], typer.Argument(metavar="MEMBER...", help="Addresses of people, as their keys have them.")
]


@groups.command("add")
def add_members(group: Group, members: Members, data_dir: DataDirectory = None) -> None:
    """Put people into a group; the first one makes it.

    They have its roles from their next call on. A group cannot be in another group.
    """
    with _groups(data_dir) as opened:
        opened.add(group, members)


@groups.command("remove")
def remove_members(group: Group, members: Members, data_dir: DataDirectory = None) -> None:
    """Take people out of a group; it is gone with the last.

    What was shared with the group stays shared with it, should it be made again.
    """
    with _groups(data_dir) as opened:
        opened.remove(group, members)


@groups.command("list")
def list_groups(
    group: Annotated[
        str | None, typer.Argument(metavar="[GROUP]", help="A group's address; left out, all groups are shown.")
    ] = None,
    data_dir: DataDirectory = None,
) -> None:
    """Show all groups with the number of their members, or the members of one."""
    with _groups(data_dir) as opened:
        if group is None:
            for name, count in opened.list():
                typer.echo(f"{name}\t{count}")
        else:
            for member in opened.members(group):
                typer.echo(member)


@contextmanager
def _groups(data_dir: Path | None) -> Iterator["Groups"]:
    from tuningfork.domain.errors import InvalidArgument, NotFound  # noqa: PLC0415
    from tuningfork.server import StartError, open_groups  # noqa: PLC0415

    try:
        with open_groups(settings_of(data_dir=data_dir)) as opened:
            yield opened
    except InvalidArgument as error:
        refuse("; ".join(violation.description for violation in error.violations))
    except NotFound as error:
        refuse(error.message)
    except StartError as error:
        refuse(str(error))
