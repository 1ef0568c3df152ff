"""The caller's side: a synchronous client of the public HTTP API, and what a person at a terminal needs around it.

Offers calls that return plain values and errors that say what to do; knows only the API, never the server's insides.
"""

from tuningfork.client.errors import (
    ClientError,
    PlotUnavailable,
    ServerUnreachable,
    ServiceRefusal,
    TextWithheld,
    TrainingFileError,
    UnexpectedAnswer,
)
from tuningfork.client.gemini import Client
from tuningfork.client.training_files import Columns, TrainingData
from tuningfork.client.training_files import read as read_training_data

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
]
