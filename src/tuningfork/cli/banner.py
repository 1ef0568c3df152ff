"""What a starting server says: where it is, where the key is, and three commands to paste."""

import json
import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING

from tuningfork import __version__
from tuningfork.settings import Settings
from tuningfork.tutorial import EXAMPLES

if TYPE_CHECKING:
    from tuningfork.server import GrpcAddress

NO_AUTH_WARNING = """\
!! NO AUTHENTICATION (--no-auth): every program and every person on this machine may use, change and delete
!! every model here. Keys and tokens are not looked at. Web pages are kept out."""

_MODEL = "number-generator"


def welcome(url: str, settings: Settings, new_key: str | None, grpc: "GrpcAddress | None" = None) -> str:
    """The text to print once the ports are bound.

    Args:
        url: where the server listens.
        settings: its settings.
        new_key: the key of a first start, which is shown this once; None on later starts.
        grpc: where the server listens for gRPC; None if it does not.

    """
    return "\n".join(
        [
            f"Tuningfork {__version__}",
            f"  URL             {url}",
            *_grpc(grpc),
            f"  data directory  {settings.data_dir}",
            f"  API key         {_key(settings, new_key)}",
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


def _key(settings: Settings, new_key: str | None) -> str:
    key_file = settings.key_file
    if settings.no_auth:
        return "none is asked for"
    if new_key:
        return f"{new_key}\n                  shown only now; kept in {key_file}, which only you can read"
    if key_file.exists():
        return f"in {key_file}"
    return f"make one with: tuningfork keys create --data-dir {shlex.quote(str(settings.data_dir))}"


def curl_commands(url: str, settings: Settings) -> list[tuple[str, str]]:
    """Create, poll and generate, each with its title, ready to paste into a shell on this machine."""
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
