"""Puts a file in place when it is whole."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from tuningfork.domain.errors import BaseUnusable, InvalidArgument
from tuningfork.modeling.files.disk import reach_disk


@contextmanager
def placed_whole(target: Path, base: Path) -> Iterator[Path]:
    """Give the path of a file to write, beside `target`, and rename it to `target` at the end of the block.

    After an error nothing of it stays.

    Raises:
        InvalidArgument: `target` is there already, or the block raised `BaseUnusable`, whose message is a part of a
            sentence about the base.
        OSError: the file cannot be written.

    """
    if target.exists():
        raise InvalidArgument(f"{target} is there already; name a new file")
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = target.with_name(f".{target.name}.{uuid4().hex}")
    try:
        yield aside
        reach_disk(aside)
        aside.rename(target)
    except BaseUnusable as error:
        raise InvalidArgument(f"the base in {base} cannot be written as a GGUF file: {error.message}") from error
    finally:
        aside.unlink(missing_ok=True)
    reach_disk(target.parent)
