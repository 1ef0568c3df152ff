"""What refresh tokens and service accounts have in common for callers: the lines of a list, and a private file."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol, TypeVar

from tuningfork.client import answer_fields as fields
from tuningfork.client import private_file
from tuningfork.client.answer_fields import Json
from tuningfork.client.errors import ClientError

Parsed = TypeVar("Parsed")

_MOST_FILE_BYTES = 1024 * 1024


class Read(Protocol):
    """Calls a method of the server, and parses its answer."""

    def __call__(self, parse: Callable[[Json], Parsed], method: str, path: str, **sent: Any) -> Parsed:
        """The parsed answer."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RevocableEntry:
    """One line of `refreshTokens.list` or `serviceAccounts.list`. `revoke_time` None: it is not revoked."""

    id: str
    name: str
    key_id: str
    create_time: datetime
    revoke_time: datetime | None
    answer: Json = field(default_factory=dict, repr=False, compare=False)
    """The JSON that it was read from."""


def parse_entry(answer: Json) -> RevocableEntry:
    """One line of a list."""
    return RevocableEntry(
        id=fields.name(answer, "id"),
        name=fields.text(answer, "name", ""),
        key_id=fields.name(answer, "keyId", ""),
        create_time=fields.time(answer, "createTime"),
        revoke_time=fields.time(answer, "revokeTime") if "revokeTime" in answer else None,
        answer=answer,
    )


def parse_entries(answer: Json, name: str) -> list[RevocableEntry]:
    """The lines of the list that the answer has under this name."""
    return [parse_entry(each) for each in fields.objects(answer, name)]


def check_place(path: Path, is_ours: Callable[[Any], bool], *, kind: str, advice: str) -> None:
    """Check that a file may be written here: nothing is there, or one that is replaced.

    Args:
        path: the file.
        is_ours: whether the JSON of the file that is there is of a file to replace; it may raise KeyError, TypeError
            or AttributeError, since the JSON may be of any kind.
        kind: what such a file is called.
        advice: what to do where another file is there.

    Raises:
        ClientError: something else is there.

    """
    try:
        with path.open("rb") as file:
            ours = is_ours(json.loads(file.read(_MOST_FILE_BYTES)))
    except FileNotFoundError:
        return
    except OSError as error:
        raise ClientError(f"{path} cannot be used: {error.strerror}.") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        ours = False
    if not ours:
        raise ClientError(f"{path} is there, and is no {kind} for Tuningfork.", advice=advice)


def write_file(path: Path, content: Json) -> None:
    """Write the file, which only its user can read.

    Raises:
        ClientError: it cannot be written.

    """
    try:
        private_file.write(path, json.dumps(content, indent=2) + "\n")
    except OSError as error:
        raise ClientError(f"{path} cannot be written: {error.strerror}.") from error
