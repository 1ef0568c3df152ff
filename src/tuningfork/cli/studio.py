"""`tuningfork studio`: the web pages as a process of their own, for a server anywhere."""

from typing import Annotated

import typer

from tuningfork.cli import output
from tuningfork.cli.connection import LOCAL_URL
from tuningfork.cli.operating import refuse

_URL_PARTS = ("http://", "https://")

Issuer = Annotated[
    str | None,
    typer.Option(
        envvar="TUNINGFORK_OIDC_ISSUER", metavar="URL", help="The issuer that the server trusts, to sign in there."
    ),
]
ClientId = Annotated[
    str | None,
    typer.Option(envvar="TUNINGFORK_OIDC_CLIENT_ID", metavar="ID", help="What the Studio is called at this issuer."),
]
ClientSecret = Annotated[
    str,
    typer.Option(
        envvar="TUNINGFORK_OIDC_CLIENT_SECRET",
        metavar="SECRET",
        show_default=False,
        help="Its secret there, if it has one. Other people of the machine can see options: prefer the variable.",
    ),
]


def studio(
    api: Annotated[
        str, typer.Option("--api", envvar="TUNINGFORK_URL", metavar="URL", help="The server that the pages show.")
    ] = LOCAL_URL,
    host: Annotated[
        str, typer.Option(envvar="TUNINGFORK_STUDIO_HOST", metavar="ADDRESS", help="Address to listen on.")
    ] = "127.0.0.1",
    port: Annotated[
        int,
        typer.Option(
            envvar="TUNINGFORK_STUDIO_PORT",
            metavar="PORT",
            help="Port to listen on; 0 takes a free one.",
            min=0,
            max=65535,
        ),
    ] = 8001,
    oidc_issuer: Issuer = None,
    oidc_client_id: ClientId = None,
    oidc_client_secret: ClientSecret = "",
) -> None:
    """Serve the Studio alone, for a server on this machine or elsewhere. `tuningfork serve` has it at /studio."""
    if not api.startswith(_URL_PARTS):
        refuse(f"--api is the address of a server, such as {LOCAL_URL}, and not {api!r}.")
    import uvicorn  # noqa: PLC0415 - `--help` does not need these imports

    from tuningfork.logs.configuration import configure  # noqa: PLC0415
    from tuningfork.logs.formats import LogFormat  # noqa: PLC0415
    from tuningfork.server.data_directory import StartError  # noqa: PLC0415
    from tuningfork.server.ports import host_and_port, listen  # noqa: PLC0415
    from tuningfork.studio.app import studio_app  # noqa: PLC0415
    from tuningfork.studio.frame.address import PREFIX  # noqa: PLC0415
    from tuningfork.studio.frame.openid import openid_at  # noqa: PLC0415

    configure("info", LogFormat.TEXT, "studio")
    try:
        with listen(host, port) as listener:
            output.result(f"Studio  http://{host_and_port(*listener.getsockname()[:2])}{PREFIX}  for {api}")
            app = studio_app(api, openid=openid_at(oidc_issuer, oidc_client_id, oidc_client_secret))
            config = uvicorn.Config(
                app, log_config=None, access_log=False, server_header=False, ws="none", lifespan="off"
            )
            uvicorn.Server(config).run(sockets=[listener])
    except StartError as error:
        refuse(str(error))
