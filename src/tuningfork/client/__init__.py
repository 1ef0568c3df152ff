"""The caller's side: a synchronous client of the public HTTP API, and what a person at a terminal needs around it.

Offers calls that return plain values and errors that say what to do; knows only the API, never the server's insides.
The client and the readers of files are imported when they are first used: that takes a tenth of a second, which
`tuningfork --help` does not need to spend.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from tuningfork.client.errors import (
    ClientError,
    PlotUnavailable,
    ServerUnreachable,
    ServiceRefusal,
    TextWithheld,
    TrainingFileError,
    UnexpectedAnswer,
)

if TYPE_CHECKING:
    from tuningfork.client.gemini import Client
    from tuningfork.client.training_files import Columns, TrainingData
    from tuningfork.client.training_files import read as read_training_data
    from tuningfork.client.training_files import read_files as read_training_files

_IMPORTED_WHEN_USED = {
    "Client": ("gemini", "Client"),
    "Columns": ("training_files", "Columns"),
    "TrainingData": ("training_files", "TrainingData"),
    "read_training_data": ("training_files", "read"),
    "read_training_files": ("training_files", "read_files"),
}

__all__ = [
    "Client",
    "ClientError",
    "Columns",
    "PlotUnavailable",
    "ServerUnreachable",
    "ServiceRefusal",
    "TextWithheld",
    "TrainingData",
    "TrainingFileError",
    "UnexpectedAnswer",
    "read_training_data",
    "read_training_files",
]


def __getattr__(name: str) -> object:
    if name not in _IMPORTED_WHEN_USED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _IMPORTED_WHEN_USED[name]
    return getattr(import_module(f"{__name__}.{module}"), attribute)
