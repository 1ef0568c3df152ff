"""Which commands this installation and this machine can run, and what to install for the others."""

from collections.abc import Iterator
from contextlib import contextmanager

from tuningfork.client import ClientError

SERVERS_COMMANDS = {"tutorial", "serve", "pull", "keys", "groups", "backup", "restore", "check", "set-aside"}
"""The commands that run a server, or work on the data of one."""

_OWN = "tuningfork"
_WINDOWS = {"win32", "cygwin"}


@contextmanager
def explaining_missing_packages() -> Iterator[None]:
    """Within the `with` block, an import of a package that is not installed ends in an error that says how to get it.

    Raises:
        ClientError: a package is missing. Clients need few packages; those of a server come with an extra.

    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or _OWN).partition(".")[0]
        if package == _OWN:
            raise
        raise ClientError(
            f"This command needs the package {package}, which is not installed.",
            advice="The commands that run a server, keep its data or merge models need more than those of a client. "
            "Install it with: pip install 'tuningfork[server]'",
        ) from error


def check_platform(command: str | None, platform: str) -> None:
    """Check that this platform (as `sys.platform` names it) can run this command.

    Raises:
        ClientError: the command runs a server or works on its data, and this is Windows.

    """
    if command in SERVERS_COMMANDS and platform in _WINDOWS:
        raise ClientError(
            f"`tuningfork {command}` is for servers, which run on Linux and macOS, and this is Windows.",
            advice="Run the server in WSL 2, in a container or on another machine. The commands of a client, such as "
            "`tuningfork tune`, work here with --url.",
        )
