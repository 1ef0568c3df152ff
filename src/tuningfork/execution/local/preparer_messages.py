"""The messages between the server and a preparer: frozen dataclasses, like those of `execution/local/messages.py`."""

from dataclasses import dataclass

from tuningfork.domain.errors import TuningforkError
from tuningfork.execution.preparation import PreparationRequest, Prepared


@dataclass(frozen=True, slots=True)
class Prepare:
    """To a preparer, once: make the files of this request."""

    request: PreparationRequest


@dataclass(frozen=True, slots=True)
class RowsRead:
    """From a preparer: it can use the base, and has read and counted so many rows of a file."""

    rows: int


@dataclass(frozen=True, slots=True)
class DataPrepared:
    """From a preparer: the files are complete."""

    prepared: Prepared


@dataclass(frozen=True, slots=True)
class DataRefused:
    """From a preparer: the data, or the base, cannot be used."""

    error: TuningforkError


PreparerReport = RowsRead | DataPrepared | DataRefused
