"""What lets callers in without a credential, and where a server may do so."""

from tuningfork.domain.loopback import is_loopback
from tuningfork.server.data_directory import StartError
from tuningfork.settings import Settings


def check_open_doors(settings: Settings) -> None:
    """Check that a server that lets in who has no credential listens on loopback only, and not to all web pages.

    Raises:
        StartError: it does not.

    """
    if settings.no_auth:
        _check(settings, "--no-auth", "lets in everybody who reaches the server")
    if settings.storage_without_credentials:
        door = "TUNINGFORK_STORAGE_WITHOUT_CREDENTIALS"
        _check(settings, door, "lets everybody who reaches the server read and write the buckets of its owner")


def _check(settings: Settings, door: str, effect: str) -> None:
    if not is_loopback(settings.host):
        raise StartError(
            f"{door} {effect}, so it must listen on this machine alone, and {settings.host!r} is no loopback address; "
            f"leave out --host, or leave out {door} and make keys with `tuningfork keys create`"
        )
    if "*" in settings.cors_origins:
        raise StartError(
            f"{door} together with the setting cors_origins * would let in every web page that anybody on this machine "
            f"looks at; name the origins that may call, or leave out {door}"
        )
