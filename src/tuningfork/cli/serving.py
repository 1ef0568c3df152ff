"""`tuningfork serve` and `tuningfork keys`: the commands for the server's operator."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tuningfork.cli import output
from tuningfork.cli.help import Commands
from tuningfork.cli.operating import ConfigFile, DataDirectory, refuse, settings_of
from tuningfork.domain.base_model import WeightType
from tuningfork.domain.permission import LOCAL_PRINCIPAL

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    # Importing the service takes a second, which `--help` and client commands do not need.
    from tuningfork.domain.api_key import ApiKey
    from tuningfork.service.identity.keys import Access
    from tuningfork.settings import Settings

keys = Commands(None, "API keys of a server on this machine, running or not.")

KeyAsJson = Annotated[bool, output.as_json_option('{"key", "id", "prefix", "name", "email", "project", "createTime"}')]
KeysAsJson = Annotated[
    bool,
    output.as_json_option(
        '{"keys": [...]}, each like that of `keys create` without its key, with its number of "sessions"; revoked ones '
        'have a "revokeTime"'
    ),
]
Host = Annotated[
    str | None,
    typer.Option(envvar="TUNINGFORK_HOST", metavar="ADDRESS", show_default="127.0.0.1", help="Address to listen on."),
]
Port = Annotated[
    int | None,
    typer.Option(
        envvar="TUNINGFORK_PORT",
        metavar="PORT",
        show_default="8000",
        help="Port to listen on; 0 takes a free one.",
        min=0,
        max=65535,
    ),
]
BaseModels = Annotated[
    list[str] | None,
    typer.Option(
        envvar="TUNINGFORK_BASE_MODEL",
        metavar="NAME=LOCATION",
        help="A further base model to tune and to serve: a Hub id, a directory or a GGUF file; may be repeated.",
    ),
]
CatalogFile = Annotated[
    Path | None,
    typer.Option(envvar="TUNINGFORK_CATALOG", metavar="FILE", help="TOML file that describes further base models."),
]
GrpcPort = Annotated[
    int | None,
    typer.Option(
        envvar="TUNINGFORK_GRPC_PORT",
        metavar="PORT",
        show_default="no gRPC",
        help="Port for gRPC over TLS, which needs the extra: pip install 'tuningfork[grpc]'. 0 takes a free one.",
        min=0,
        max=65535,
    ),
]
GrpcCertificate = Annotated[
    Path | None,
    typer.Option(
        envvar="TUNINGFORK_GRPC_CERTIFICATE",
        metavar="FILE",
        show_default="one that is made, with a root to trust",
        help="PEM file of the certificate that gRPC shows, and of those that signed it.",
    ),
]
GrpcPrivateKey = Annotated[
    Path | None,
    typer.Option(
        envvar="TUNINGFORK_GRPC_PRIVATE_KEY", metavar="FILE", help="PEM file of the private key of this certificate."
    ),
]
Weights = Annotated[
    WeightType | None,
    typer.Option(
        envvar="TUNINGFORK_WEIGHTS",
        metavar="stored|int8",
        show_default="stored",
        help="What base models' weights are kept in: as stored, or rounded to int8, in half of the memory; CPUs only.",
    ),
]
NoAuth = Annotated[
    bool,
    typer.Option(
        "--no-auth",
        envvar="TUNINGFORK_NO_AUTH",
        help="Ask nobody for a key: whoever reaches the server owns everything. On a loopback address only.",
    ),
]
CorsOrigins = Annotated[
    list[str] | None,
    typer.Option(
        "--cors-origin",
        envvar="TUNINGFORK_CORS_ORIGINS",
        metavar="ORIGIN",
        help="An origin whose web pages may call, such as https://example.com; * for all. May be repeated.",
    ),
]
Safety = Annotated[
    str | None,
    typer.Option(
        envvar="TUNINGFORK_SAFETY",
        metavar="off|lexical|TOML_FILE",
        show_default="off",
        help="Who rates prompts and answers for harm: nobody, word lists, or the model that a file describes.",
    ),
]
LogLevel = Annotated[
    str | None,
    typer.Option(
        envvar="TUNINGFORK_LOG_LEVEL",
        metavar="LEVEL",
        show_default="info",
        help="Least level to log: debug, info, warning, error.",
    ),
]
LogLayout = Annotated[
    str | None,
    typer.Option(
        "--log-format",
        envvar="TUNINGFORK_LOG_FORMAT",
        metavar="text|json",
        show_default="text",
        help="Log lines for people, or a JSON object on each line. With json the welcome is in the log too.",
    ),
]


def serve(
    host: Host = None,
    port: Port = None,
    grpc_port: GrpcPort = None,
    grpc_certificate: GrpcCertificate = None,
    grpc_private_key: GrpcPrivateKey = None,
    data_dir: DataDirectory = None,
    config: ConfigFile = None,
    base_model: BaseModels = None,
    catalog: CatalogFile = None,
    weights: Weights = None,
    no_auth: NoAuth = False,
    cors_origins: CorsOrigins = None,
    safety: Safety = None,
    log_level: LogLevel = None,
    log_format: LogLayout = None,
) -> None:
    """Start a server that stays until it is interrupted."""
    # What is imported now is no garbage, and collections would look at it for a sixth of a second. `Server.run` turns
    # them on while it serves.
    with _without_collections():
        settings = settings_of(
            host=host,
            port=port,
            grpc_port=grpc_port,
            grpc_certificate=grpc_certificate,
            grpc_private_key=grpc_private_key,
            data_dir=data_dir,
            config=config,
            base_model=base_model,
            catalog=catalog,
            weights=weights,
            # The option is False if it was not given. Then None lets the environment variable decide.
            no_auth=no_auth or None,
            cors_origins=cors_origins,
            safety=safety,
            log_level=log_level,
            log_format=log_format,
        )
        from tuningfork.catalog import CatalogError  # noqa: PLC0415
        from tuningfork.cli.banner import announce  # noqa: PLC0415
        from tuningfork.logs.configuration import configure  # noqa: PLC0415
        from tuningfork.server.compose import compose  # noqa: PLC0415
        from tuningfork.server.data_directory import StartError  # noqa: PLC0415
        from tuningfork.studio.frame.address import PREFIX  # noqa: PLC0415
        from tuningfork.studio.mounting import OnFirstRequest, address_on_this_machine  # noqa: PLC0415

        configure(settings.log_level, settings.log_format, "server", access=settings.access_log)
        try:
            with compose(settings) as server:
                announce(server.url, settings, server.new_key, server.grpc)
                server.run({PREFIX: OnFirstRequest(partial(_studio, address_on_this_machine(server.url), settings))})
        except (CatalogError, StartError) as error:
            refuse(str(error))


def _studio(api_url: str, settings: "Settings") -> "ASGIApp":
    """The pages for the server at this address."""
    from tuningfork.studio.app import studio_app  # noqa: PLC0415 - loaded when the first browser asks for a page
    from tuningfork.studio.frame.openid import openid_at  # noqa: PLC0415

    openid = openid_at(settings.oidc_issuer, settings.oidc_client_id, settings.oidc_client_secret)
    return studio_app(api_url, openid=openid)


@contextmanager
def _without_collections() -> Iterator[None]:
    """No garbage collections within; afterwards they are on if they were before."""
    were_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if were_on:
            gc.enable()


@keys.command("create")
def create_key(
    data_dir: DataDirectory = None,
    config: ConfigFile = None,
    name: Annotated[str, typer.Option(metavar="NAME", help="What the key is for.")] = "",
    email: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Whom it speaks for; keys with one address own the same models.")
    ] = LOCAL_PRINCIPAL.email,
    as_json: KeyAsJson = False,
    project: Annotated[str, typer.Option(metavar="NAME", help="The project it belongs to.")] = LOCAL_PRINCIPAL.project,
) -> None:
    """Make a key and print it, and only it: it is stored as a hash and cannot be shown again."""
    from tuningfork.domain.errors import InvalidArgument  # noqa: PLC0415

    with _access(data_dir, config) as access:
        try:
            made = access.create_key(name, email, project)
        except InvalidArgument as error:
            refuse("; ".join(violation.description for violation in error.violations))
    if as_json:
        output.result_json({"key": made.key, **_key_as_json(made.record)})
    else:
        output.result(made.key)


@keys.command("list")
def list_keys(*, as_json: KeysAsJson = False, data_dir: DataDirectory = None, config: ConfigFile = None) -> None:
    """Show all keys: id, beginning, name, address, project, when it was made, and whether it is valid.

    A valid key says how many sessions it has, which browsers keep instead of it.

    On a terminal as a table; elsewhere one line a key, its fields separated by tabs.
    """
    with _access(data_dir, config) as access:
        found, sessions = access.list_keys(), access.count_sessions()
    rows = [_key_row(key, sessions.get(key.id, 0)) for key in found]
    if as_json:
        output.result_json({"keys": [_key_as_json(key) | {"sessions": sessions.get(key.id, 0)} for key in found]})
    elif output.is_for_a_person():
        from tuningfork.cli import tables  # noqa: PLC0415 - `--help` does not need it

        tables.show("API keys", ("id", "key", "name", "address", "project", "made", "state"), rows)
    else:
        for row in rows:
            output.result_row(*row)


def _key_row(key: "ApiKey", sessions: int) -> tuple[str, ...]:
    made = f"{key.create_time:%Y-%m-%d %H:%M}Z"
    state = f"revoked {key.revoke_time:%Y-%m-%d %H:%M}Z" if key.revoke_time else "valid"
    if sessions:
        state += f", {sessions} session{'' if sessions == 1 else 's'}"
    return key.id, f"{key.prefix}...", key.name or "-", key.principal.email, key.principal.project, made, state


def _key_as_json(key: "ApiKey") -> dict[str, object]:
    return {
        "id": key.id,
        "prefix": key.prefix,
        "name": key.name,
        "email": key.principal.email,
        "project": key.principal.project,
        "createTime": key.create_time,
        **({"revokeTime": key.revoke_time} if key.revoke_time else {}),
    }


@keys.command("revoke")
def revoke_key(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="The key's id, as `keys list` shows it.")],
    data_dir: DataDirectory = None,
    config: ConfigFile = None,
) -> None:
    """Make a key useless from now on. The models of its owner stay."""
    from tuningfork.domain.errors import NotFound  # noqa: PLC0415

    with _access(data_dir, config) as access:
        try:
            access.revoke_key(key_id)
        except NotFound as error:
            refuse(error.message)


@contextmanager
def _access(data_dir: Path | None, config: Path | None) -> Iterator["Access"]:
    from tuningfork.server.data_directory import StartError, open_access  # noqa: PLC0415

    try:
        with open_access(settings_of(data_dir=data_dir, config=config)) as access:
            yield access
    except StartError as error:
        refuse(str(error))
