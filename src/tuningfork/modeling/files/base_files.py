"""Finds a base model's files on this machine, by the location that the catalog or an adapter names."""

import json
import re
from pathlib import Path

from tuningfork.domain.base_model import EMBEDDED_NAME
from tuningfork.domain.errors import InvalidArgument, NotFound, TuningforkError
from tuningfork.domain.user_directories import below_home
from tuningfork.embedded import model_directory
from tuningfork.modeling.files.stored_weights import fingerprint

_ONE_FILE = "model.safetensors"
_INDEX = "model.safetensors.index.json"

_HUB_ID = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?")
_EMBEDDED_PARTS = model_directory().parts[-3:]
_COMPANIONS = ("*.json", "*.jinja", "*.model", "*.txt", "LICENSE*", "NOTICE*")
_NOT_COMPANIONS = ("adapter_config.json", "*.index.json")
_FETCHED = [*_COMPANIONS, "*.safetensors"]


def base_directory_of(adapter: Path) -> Path:
    """The directory of the base that an adapter in PEFT's format was made for, downloaded from the Hub if needed.

    Raises:
        InvalidArgument: the adapter does not name its base.
        NotFound: the base is not on this machine and cannot be downloaded.

    """
    try:
        config = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
        location, revision = config["base_model_name_or_path"], config.get("revision")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidArgument(f"the adapter in {adapter} does not say what its base model is: {error!r}") from error
    return base_directory(str(location), revision=revision)


def fingerprint_of(location: str, revision: str | None) -> str | None:
    """The fingerprint of a loaded base; None if its files are not on this machine any more."""
    try:
        return fingerprint(weight_files(base_directory(location, revision=revision, fetch=False)))
    except (TuningforkError, OSError):
        return None


def base_directory(
    location: str, *, revision: str | None = None, cache: Path | None = None, fetch: bool = True
) -> Path:
    """The base's directory: a local one, this package's, or one in the Hub's cache, downloaded if needed.

    Args:
        location: a directory, a Hub id, or the name of the embedded model or another installation's directory of it.
        revision: the revision of a Hub id; None: its main branch.
        cache: the directory of the Hub's cache; None: the default.
        fetch: whether files of a Hub id that are not in the cache are downloaded.

    Raises:
        NotFound: the base is not on this machine and cannot be downloaded.

    """
    path = below_home(location)
    if (path / "config.json").is_file():
        return path
    # The embedded model is the same wherever the package is installed. Earlier adapters name its directory.
    if location == EMBEDDED_NAME or path.parts[-3:] == _EMBEDDED_PARTS:
        return model_directory()
    if path.is_dir() or not _HUB_ID.fullmatch(location):
        reason = "has no config.json" if path.is_dir() else "is no directory of this machine"
        raise NotFound(f"the base model cannot be read: {location} {reason}")
    return _of_hub(location, revision, cache, fetch=fetch)


def weight_files(directory: Path) -> list[Path]:
    """The weight files that transformers would read: one file, or the files that the index names. Some may be missing.

    Raises:
        InvalidArgument: the index cannot be read.

    """
    if not (directory / _INDEX).is_file() or (directory / _ONE_FILE).is_file():
        return [directory / _ONE_FILE]
    try:
        read = json.loads((directory / _INDEX).read_text(encoding="utf-8"))
        names = {Path(name) for name in read["weight_map"].values()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidArgument(f"{directory / _INDEX} is no index of weights: {error}") from error
    if strange := [path for path in names if path != Path(path.name)]:
        raise InvalidArgument(f"{directory / _INDEX} names a file outside its directory: {strange[0]}")
    return [directory / name for name in sorted(names)]


def companions(directory: Path) -> list[Path]:
    """The files that a model needs besides its weights: configurations, tokenizer, chat template, licence."""
    found = {path for pattern in _COMPANIONS for path in directory.glob(pattern) if path.is_file()}
    found -= {path for pattern in _NOT_COMPANIONS for path in directory.glob(pattern)}
    if weight_files(directory) != [directory / _ONE_FILE]:
        found.add(directory / _INDEX)
    return sorted(found)


def _of_hub(location: str, revision: str | None, cache: Path | None, *, fetch: bool) -> Path:
    # Slow to import, and only needed for Hub ids.
    from huggingface_hub import snapshot_download  # noqa: PLC0415
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError  # noqa: PLC0415

    faults = (OSError, ValueError, HfHubHTTPError, HFValidationError, TuningforkError)
    try:
        kept = Path(snapshot_download(location, revision=revision, cache_dir=cache, local_files_only=True))
    except faults:
        pass
    else:
        if all(path.is_file() for path in (kept / "config.json", *weight_files(kept))):
            return kept
    try:
        if not fetch:
            raise NotFound("it was not to be fetched")
        return Path(snapshot_download(location, revision=revision, cache_dir=cache, allow_patterns=_FETCHED))
    except faults as error:
        raise NotFound(
            f"the base model cannot be read: {location} is no directory of this machine, nor wholly in its cache of "
            f"the Hugging Face Hub, and could not be fetched: {error}"
        ) from error
