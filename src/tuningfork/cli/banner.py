"""What a starting server tells: its address, where the key is, and three commands to paste."""

import json
import logging
import shlex
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from tuningfork import __version__
from tuningfork.cli import output
from tuningfork.logs.formats import LogFormat
from tuningfork.settings import Settings
from tuningfork.tutorial import EXAMPLES

if TYPE_CHECKING:
    from tuningfork.server.ports import GrpcAddress

NO_AUTH_WARNING = """\
!! NO AUTHENTICATION (--no-auth): every program and every person on this machine may use, change and delete
!! every model here. Keys and tokens are not looked at. Web pages are kept out."""

logger = logging.getLogger(__name__)

_MODEL = "number-generator"


def announce(url: str, settings: Settings, new_key: str | None, grpc: "GrpcAddress | None" = None) -> None:
    """Tell where the server listens: print the text of `welcome`, or with a log in JSON write one record.

    The key is shown on a terminal only, since other output is often kept and read by others.
    """
    if settings.log_format is LogFormat.TEXT:
        output.result(welcome(url, settings, new_key, grpc, shows_key=sys.stdout.isatty()))
        return
    places = {
        "url": url,
        "studio": f"{url}/studio",
        "data_directory": str(settings.data_dir),
        "key_file": str(settings.key_file),
    }
    if grpc is not None:
        places["grpc"] = grpc.target
    told = {"action": "started", "version": __version__, "authenticates": not settings.no_auth, **places}
    logger.info("Tuningfork %s listens on %s", __version__, url, extra=told)


def welcome(
    url: str,
    settings: Settings,
    new_key: str | None,
    grpc: "GrpcAddress | None" = None,
    *,
    shows_key: bool = False,
) -> str:
    """The text to print once the ports are bound.

    Args:
        url: where the server listens.
        settings: its settings.
        new_key: the key that the first start created; None on later starts.
        grpc: where the server listens for gRPC; None: it has no gRPC port.
        shows_key: whether the text has a new key, or only the place of its file.

    """
    return "\n".join(
        [
            f"Tuningfork {__version__}",
            f"  URL             {url}",
            f"  Studio          {url}/studio",
            *_grpc(grpc),
            f"  data directory  {settings.data_dir}",
            f"  API key         {_key(settings, new_key, shows_key=shows_key)}",
            "",
            *([NO_AUTH_WARNING, ""] if settings.no_auth else []),
            *(line for title, command in curl_commands(url, settings) for line in (f"# {title}", command, "")),
        ]
    )


def _grpc(address: "GrpcAddress | None") -> Iterator[str]:
    if address is None:
        return
    yield f"  gRPC            {address.target}"
    if address.root_file is not None:
        yield "                  Google's clients trust it with this variable:"
        yield f"                  export GRPC_DEFAULT_SSL_ROOTS_FILE_PATH={shlex.quote(str(address.root_file))}"


def _key(settings: Settings, new_key: str | None, *, shows_key: bool) -> str:
    key_file = settings.key_file
    if settings.no_auth:
        return "none is asked for"
    if new_key and not shows_key:
        return f"made, and kept in {key_file}, which only you can read"
    if new_key:
        return f"{new_key}\n                  shown only now; kept in {key_file}, which only you can read"
    if key_file.exists():
        return f"in {key_file}"
    return f"make one with: tuningfork keys create --data-dir {shlex.quote(str(settings.data_dir))}"


def curl_commands(url: str, settings: Settings) -> list[tuple[str, str]]:
    """The commands that create, poll and generate, each with its title, to paste into a shell on this machine."""
    header = f"{_key_header(settings)} " if not settings.no_auth else ""
    body = {
        "displayName": "number generator",
        "baseModel": "models/gemini-1.0-pro-001",
        "tuningTask": {
            "hyperparameters": {"batchSize": 4, "learningRate": 0.001, "epochCount": 5},
            "trainingData": {
                "examples": {
                    "examples": [{"textInput": text_input, "output": output} for text_input, output in EXAMPLES]
                }
            },
        },
    }
    question = {"contents": [{"parts": [{"text": "LXIII"}]}]}
    model = f"{url}/v1beta/tunedModels/{_MODEL}"
    return [
        (
            "Create a tuned model",
            f"curl {header}'{url}/v1beta/tunedModels?tunedModelId={_MODEL}' -d {shlex.quote(json.dumps(body))}",
        ),
        ("Watch its state and its loss", f"curl {header}'{model}'"),
        ("Call it, once its state is ACTIVE", f"curl {header}'{model}:generateContent' -d '{json.dumps(question)}'"),
    ]


def _key_header(settings: Settings) -> str:
    key = f"$(cat {shlex.quote(str(settings.key_file))})" if settings.key_file.exists() else "YOUR_KEY"
    return f'-H "x-goog-api-key: {key}"'
