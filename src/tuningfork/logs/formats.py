"""How a record of the log is written: as a line for people, or as a line of JSON for programs."""

import logging
from enum import StrEnum

from tuningfork.logs.tracebacks import traceback_of

_TEXT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_IN_BRACKETS = ("model", "request")
"""What the line for people names behind the message, if the record has it."""

_JSON_NAMES = {"levelname": "level", "name": "logger", "exc_info": "exception"}


class LogFormat(StrEnum):
    """The formats."""

    TEXT = "text"
    JSON = "json"


def formatter(form: LogFormat, role: str, *, shows_all: bool = False) -> logging.Formatter:
    """The formatter of a process.

    Args:
        form: the format.
        role: what the process is, such as `trainer`.
        shows_all: whether the messages of all errors are shown, even if they may quote a request.

    """
    if form is LogFormat.TEXT:
        return TextFormatter(shows_all=shows_all)
    # Only this format needs the library.
    from pythonjsonlogger.json import JsonFormatter  # noqa: PLC0415

    fields = ["levelname", "name", "message", "process"]
    written = JsonFormatter(fields, rename_fields=_JSON_NAMES, static_fields={"role": role}, timestamp="time")
    return _WithTracebacks(written, shows_all=shows_all)


class TextFormatter(logging.Formatter):
    """A line for each record. Characters that are not printable are escaped, so no text can forge a line.

    The lines of a traceback follow, indented.
    """

    def __init__(self, *, shows_all: bool = False) -> None:
        super().__init__(_TEXT)
        self._shows_all = shows_all

    def format(self, record: logging.LogRecord) -> str:
        """The record as text."""
        record.message = record.getMessage().rstrip("\n")
        record.asctime = self.formatTime(record)
        named = [f"{name} {value}" for name in _IN_BRACKETS if (value := getattr(record, name, ""))]
        line = self.formatMessage(record) + (f" ({', '.join(named)})" if named else "")
        if not line.isprintable():
            line = escaped(line)
        if record.exc_info and record.exc_info[1] is not None:
            trace = traceback_of(record.exc_info[1], shows_all=self._shows_all)
            line = "\n".join([line, *(f"    {escaped(each)}" for each in trace.split("\n"))])
        return line


class _WithTracebacks(logging.Formatter):
    """Another formatter, with tracebacks that quote no request."""

    def __init__(self, written: logging.Formatter, *, shows_all: bool) -> None:
        super().__init__()
        self._written = written
        self._shows_all = shows_all

    def format(self, record: logging.LogRecord) -> str:
        """The record as the other formatter writes it."""
        if record.exc_info and record.exc_info[1] is not None:
            trace = traceback_of(record.exc_info[1], shows_all=self._shows_all)
            # A copy, since the record may have other handlers.
            record = logging.makeLogRecord({**record.__dict__, "exc_info": None, "exc_text": trace})
        return self._written.format(record)


def escaped(text: str) -> str:
    """The text with what is not printable written as in Python: line breaks, colours, directions, lone surrogates."""
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape", "surrogatepass").decode() for each in text
    )
