"""Refuses environment variables of the program's that do not exist, since a misspelled one would do nothing."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import typer

from tuningfork.cli.operating import refuse

_PREFIX = "TUNINGFORK_"

_OF_TOOLS = ("TUNINGFORK_TEST_", "TUNINGFORK_BENCH_")
"""What variables of the test suite and of the benchmarks begin with."""

_OF_KUBERNETES = re.compile(r".*_(SERVICE_HOST|SERVICE_PORT(_.*)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)")
"""Kubernetes sets such variables for each Service, in every container of its namespace. They are nobody's mistake."""

_ADDRESS = re.compile(r"(tcp|udp|sctp)://.*")
"""The value of another such variable, NAME_PORT."""


def check_variables(context: typer.Context, environment: Mapping[str, str]) -> None:
    """Refuse variables that begin with `TUNINGFORK_` and that nothing reads, unless Kubernetes has set them.

    Args:
        context: the context of the whole command line.
        environment: the environment variables.

    Raises:
        typer.Exit: there is such a variable; standard error says which, and which may be meant.

    """
    given = sorted(
        name for name, value in environment.items() if name.upper().startswith(_PREFIX) and not _is_link(name, value)
    )
    unknown = set(given) - set(_of_commands(context.command, "TUNINGFORK"))
    if not unknown:
        return
    # Importing the settings takes a sixth of a second, which client commands do not need to spend.
    from tuningfork.execution.local.environment import VARIABLES  # noqa: PLC0415

    try:
        from tuningfork.settings import variables  # noqa: PLC0415
        from tuningfork.settings_file import LIST_OF_SETTINGS, nearest  # noqa: PLC0415
    except ModuleNotFoundError:
        # Only a client is installed here. It cannot tell a server's settings from misspelled variables.
        return

    settings = variables()
    known = {*settings, *_of_commands(context.command, "TUNINGFORK"), *VARIABLES}
    left = [name for name in given if name.upper() not in known and not name.upper().startswith(_OF_TOOLS)]
    if not left:
        return
    faults = "; ".join(f"{name}{nearest(name.upper(), known, prefix=_PREFIX) or ' (unset it)'}" for name in left)
    refuse(f"unknown environment variables: {faults}. {LIST_OF_SETTINGS} lists those that there are")


def _is_link(name: str, value: str) -> bool:
    """Whether Kubernetes has set it to tell where a Service is."""
    name = name.upper()
    return bool(_OF_KUBERNETES.fullmatch(name) or (name.endswith("_PORT") and _ADDRESS.fullmatch(value)))


def _of_commands(command: Any, prefix: str) -> Iterator[str]:
    """The variables that set options of this command and its subcommands; Typer's classes of commands are private."""
    for parameter in command.params:
        names: Any = parameter.envvar
        if names:
            yield from [names] if isinstance(names, str) else names
        elif parameter.name and getattr(parameter, "allow_from_autoenv", False):
            yield f"{prefix}_{parameter.name.upper()}"
    for name, subcommand in getattr(command, "commands", {}).items():
        yield from _of_commands(subcommand, f"{prefix}_{name.replace('-', '_').upper()}")
