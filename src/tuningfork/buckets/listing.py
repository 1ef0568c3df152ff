"""Lists the objects of a bucket's directory in the order of their names, page by page."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tuningfork.buckets.errors import InvalidName
from tuningfork.buckets.names import segments_of
from tuningfork.buckets.opening import directory_below


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which names are listed. "" and None: all.

    Names begin with `prefix`, come from `start` on, before `end`, and after `after`. Names that have the delimiter
    after the prefix are summed up: by what they have up to the delimiter, once.
    """

    prefix: str = ""
    delimiter: str = ""
    start: str = ""
    end: str = ""
    after: str = ""
    most: int = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Some names, and the beginnings of others, both in order. `more_after` "": there are no more."""

    keys: tuple[str, ...]
    prefixes: tuple[str, ...]
    more_after: str


def list_keys(directory: Path, wanted: Wanted) -> Page:
    """One page of the names of objects below a directory."""
    keys: list[str] = []
    prefixes: list[str] = []
    last = ""
    for key in _keys(directory, wanted.prefix):
        if not _is_wanted(key, wanted):
            continue
        summed = _summed(key, wanted)
        if summed is not None and prefixes and prefixes[-1] == summed:
            continue
        if len(keys) + len(prefixes) == wanted.most:
            return Page(keys=tuple(keys), prefixes=tuple(prefixes), more_after=last)
        last = key if summed is None else summed
        (keys if summed is None else prefixes).append(last)
    return Page(keys=tuple(keys), prefixes=tuple(prefixes), more_after="")


def has_objects(directory: Path) -> bool:
    """Whether there is any object below this directory."""
    return next(keys_below(directory), None) is not None


def keys_below(directory: Path) -> Iterator[str]:
    """The names of all objects below a directory, in the order of their bytes."""
    return _keys(directory, "")


def _is_wanted(key: str, wanted: Wanted) -> bool:
    order = key.encode()
    if not key.startswith(wanted.prefix) or order < wanted.start.encode():
        return False
    if wanted.end and order >= wanted.end.encode():
        return False
    if not wanted.after:
        return True
    is_summed_before = bool(wanted.delimiter) and wanted.after.endswith(wanted.delimiter)
    return order > wanted.after.encode() and not (is_summed_before and key.startswith(wanted.after))


def _summed(key: str, wanted: Wanted) -> str | None:
    if not wanted.delimiter:
        return None
    found = key.find(wanted.delimiter, len(wanted.prefix))
    return None if found < 0 else key[: found + len(wanted.delimiter)]


def _keys(directory: Path, prefix: str) -> Iterator[str]:
    """The names of all objects that can begin with the prefix, in the order of their bytes."""
    with directory_below(directory, ()) as opened:
        yield from _keys_below(opened, "", prefix)


def _keys_below(directory: int, above: str, prefix: str) -> Iterator[str]:
    with os.scandir(directory) as entries:
        # With its slash a directory's name has the place that the names below it have.
        found = [
            f"{entry.name}/" if entry.is_dir(follow_symlinks=False) else entry.name
            for entry in entries
            if entry.is_dir(follow_symlinks=False) or entry.is_file(follow_symlinks=False)
        ]
    for name in sorted(filter(_is_name, found), key=str.encode):
        key = above + name
        if not (key.startswith(prefix) or prefix.startswith(key)):
            continue
        if not name.endswith("/"):
            yield key
            continue
        try:
            below = os.open(name[:-1], os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
        except OSError:
            # Somebody has removed or replaced it meanwhile.
            continue
        try:
            yield from _keys_below(below, key, prefix)
        finally:
            os.close(below)


def _is_name(name: str) -> bool:
    """Whether an object could be named like it: the operator may have put anything there."""
    try:
        segments_of(name.removesuffix("/"))
    except InvalidName:
        return False
    return True
