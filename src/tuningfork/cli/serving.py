"""`tuningfork serve` and `tuningfork keys`: the commands of whoever runs the server."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tuningfork.cli.operating import DataDirectory, refuse, settings_of
from tuningfork.domain.permission import LOCAL_PRINCIPAL

if TYPE_CHECKING:
    # The whole service takes a second to import; `--help` and the commands of clients need none of it.
    from tuningfork.service.access import Access

keys = typer.Typer(
    help="API keys of a server on this machine, running or not.", no_args_is_help=True, rich_markup_mode=None
)


Host = Annotated[
    str | None, typer.Option(envvar="TUNINGFORK_HOST", show_default="127.0.0.1", help="Address to listen on.")
]
Port = Annotated[
    int | None,
    typer.Option(
        envvar="TUNINGFORK_PORT", show_default="8000", help="Port to listen on; 0 takes a free one.", min=0, max=65535
    ),
]
BaseModels = Annotated[
    list[str] | None,
    typer.Option(
        envvar="TUNINGFORK_BASE_MODEL",
        metavar="NAME=HUB_ID_OR_DIR",
        help="A further base model to tune and to serve; may be repeated.",
    ),
]
CatalogFile = Annotated[
    Path | None, typer.Option(envvar="TUNINGFORK_CATALOG", help="TOML file that describes further base models.")
]
GrpcPort = Annotated[
    int | None,
    typer.Option(
        envvar="TUNINGFORK_GRPC_PORT",
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
        show_default="one that is made, with a root to trust",
        help="PEM file of the certificate that gRPC shows, and of those that signed it.",
    ),
]
GrpcPrivateKey = Annotated[
    Path | None,
    typer.Option(envvar="TUNINGFORK_GRPC_PRIVATE_KEY", help="PEM file of the private key of this certificate."),
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
        envvar="TUNINGFORK_LOG_LEVEL", show_default="info", help="Least level to log: debug, info, warning, error."
    ),
]


def serve(
    host: Host = None,
    port: Port = None,
    grpc_port: GrpcPort = None,
    grpc_certificate: GrpcCertificate = None,
    grpc_private_key: GrpcPrivateKey = None,
    data_dir: DataDirectory = None,
    base_model: BaseModels = None,
    catalog: CatalogFile = None,
    no_auth: NoAuth = False,
    cors_origins: CorsOrigins = None,
    safety: Safety = None,
    log_level: LogLevel = None,
) -> None:
    """Start a server that stays until it is interrupted."""
    settings = settings_of(
        host=host,
        port=port,
        grpc_port=grpc_port,
        grpc_certificate=grpc_certificate,
        grpc_private_key=grpc_private_key,
        data_dir=data_dir,
        base_model=base_model,
        catalog=catalog,
        # False is what the option has when it was not given; a variable may still say otherwise.
        no_auth=no_auth or None,
        cors_origins=cors_origins,
        safety=safety,
        log_level=log_level,
    )
    import logging  # noqa: PLC0415

    from tuningfork.catalog import CatalogError  # noqa: PLC0415
    from tuningfork.cli.banner import welcome  # noqa: PLC0415
    from tuningfork.server import StartError, compose  # noqa: PLC0415

    logging.basicConfig(level=settings.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    if settings.log_level.lower() != "debug":
        # What they say at a start is no news to an operator.
        for talkative in ("alembic", "uvicorn"):
            logging.getLogger(talkative).setLevel(logging.WARNING)
    try:
        with compose(settings) as server:
            typer.echo(welcome(server.url, settings, server.new_key, server.grpc))
            server.run()
    except (CatalogError, StartError) as error:
        refuse(str(error))


@keys.command("create")
def create_key(
    data_dir: DataDirectory = None,
    name: Annotated[str, typer.Option(help="What the key is for.")] = "",
    email: Annotated[
        str, typer.Option(help="Whom it speaks for; keys with one address own the same models.")
    ] = LOCAL_PRINCIPAL.email,
    project: Annotated[str, typer.Option(help="The project it belongs to.")] = LOCAL_PRINCIPAL.project,
) -> None:
    """Make a key and print it, and only it: it is stored as a hash and cannot be shown again."""
    from tuningfork.domain.errors import InvalidArgument  # noqa: PLC0415

    with _access(data_dir) as access:
        try:
            typer.echo(access.create_key(name, email, project).key)
        except InvalidArgument as error:
            refuse("; ".join(violation.description for violation in error.violations))


@keys.command("list")
def list_keys(data_dir: DataDirectory = None) -> None:
    """Show all keys: id, beginning, name, address, project, and when it was made or revoked."""
    with _access(data_dir) as access:
        for key in access.list_keys():
            made = f"{key.create_time:%Y-%m-%d %H:%M}Z"
            state = f"revoked {key.revoke_time:%Y-%m-%d %H:%M}Z" if key.revoke_time else "valid"
            whose = (key.principal.email, key.principal.project)
            typer.echo("\t".join((key.id, f"{key.prefix}...", key.name or "-", *whose, made, state)))


@keys.command("revoke")
def revoke_key(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="The key's id, as `keys list` shows it.")],
    data_dir: DataDirectory = None,
) -> None:
    """Make a key useless from now on. The models of its owner stay."""
    from tuningfork.domain.errors import NotFound  # noqa: PLC0415

    with _access(data_dir) as access:
        try:
            access.revoke_key(key_id)
        except NotFound as error:
            refuse(error.message)


@contextmanager
def _access(data_dir: Path | None) -> Iterator["Access"]:
    from tuningfork.server import StartError, open_access  # noqa: PLC0415

    try:
        with open_access(settings_of(data_dir=data_dir)) as access:
            yield access
    except StartError as error:
        refuse(str(error))
