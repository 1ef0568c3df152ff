"""Finds the GGUF file that a base model's location names, and the directory that it was converted into.

Conversions are kept in the user's cache. Nothing else is there: what is removed is made again at the next start.
"""

import hashlib
import logging
import re
from pathlib import Path

from tuningfork.domain.errors import NotFound
from tuningfork.domain.user_directories import cache_directory
from tuningfork.modeling.files.gguf.header import is_gguf

logger = logging.getLogger(__name__)

_FORM = 2
"""To be counted up when conversions change, so that older ones are not used any more."""
_SUFFIX = ".gguf"
_HUB_FILE = re.compile(r"(?P<id>[\w-][\w.-]*/[\w-][\w.-]*)/(?P<name>[\w-][\w./-]*\.gguf)", re.IGNORECASE)
_TENTHS = 10


def gguf_file_of(location: str, revision: str | None = None) -> Path | None:
    """The GGUF file that a location names; None: it names no GGUF file.

    A location names one if it is such a file, a directory with one such file and no config.json, or a Hub id with the
    file's path after it (`org/repo/file.gguf`), which is downloaded if needed.

    Raises:
        NotFound: there is no such file, or several are in the directory; the message is a part of a sentence.

    """
    path = Path(location)
    if path.is_dir():
        return None if (path / "config.json").is_file() else _only_file_in(path)
    if path.is_file():
        return path if is_gguf(path) or path.suffix.lower() == _SUFFIX else None
    if path.suffix.lower() != _SUFFIX:
        return None
    if found := _HUB_FILE.fullmatch(location):
        return _from_hub(found["id"], found["name"], revision)
    raise NotFound(f"there is no file {location}")


def converted(file: Path) -> Path:
    """The directory of the model in a GGUF file, converted if it is not there yet. What takes long is logged.

    Raises:
        BaseUnusable: the file cannot be converted.
        OSError, NoHomeDirectory: there is no place for the directory.

    """
    directory = cache_directory() / "gguf" / _name_of(file)
    if (directory / "config.json").is_file():
        return directory
    # Imported late: it loads numpy.
    from tuningfork.modeling.files.gguf.process import convert_gguf  # noqa: PLC0415

    progress = _Progress(file.name)
    logger.info(
        "converting %s (%d MiB) into %s; this is done once",
        file,
        file.stat().st_size // 2**20,
        directory,
        extra={"action": "gguf_converting"},
    )
    convert_gguf(file, directory, progress.told)
    logger.info("converted %s", file.name, extra={"action": "gguf_converted"})
    return directory


class _Progress:
    """Logs each tenth of a conversion."""

    def __init__(self, name: str) -> None:
        self._name, self._tenths = name, 0

    def told(self, written: int, total: int) -> None:
        tenths = _TENTHS * written // total
        if tenths > self._tenths:
            self._tenths = tenths
            logger.info("%s: %d %% converted", self._name, 10 * tenths, extra={"action": "gguf_converting"})


def _name_of(file: Path) -> str:
    """A directory's name for what the file is now: another one after it was replaced."""
    known = file.stat()
    # The target of a link: Hub files are links into a store, under names that say their content.
    said = f"{file.resolve()} {known.st_size} {known.st_mtime_ns} {_FORM}"
    return f"{file.stem}-{hashlib.sha256(said.encode()).hexdigest()[:16]}"


def _only_file_in(directory: Path) -> Path | None:
    files = sorted(path for path in directory.iterdir() if path.suffix.lower() == _SUFFIX)
    # The projector of a model that sees pictures lies beside it.
    models = [path for path in files if not path.name.lower().startswith("mmproj")]
    if len(models) > 1:
        raise NotFound(f"{directory} has {len(models)} GGUF files; say which one: {', '.join(map(str, models[:4]))}")
    return models[0] if models else None


def _from_hub(repository: str, name: str, revision: str | None) -> Path:
    # Slow to import, and only needed for Hub ids.
    from huggingface_hub import hf_hub_download  # noqa: PLC0415
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError  # noqa: PLC0415

    try:
        return Path(hf_hub_download(repository, name, revision=revision))
    except (OSError, ValueError, HfHubHTTPError, HFValidationError) as error:
        raise NotFound(
            f"there is no file {repository}/{name} on this machine, and it could not be fetched from the Hub: {error}"
        ) from error
