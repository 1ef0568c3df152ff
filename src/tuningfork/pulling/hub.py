"""Fetches base models from the Hub into a server's data directory, with the Hub's own client."""

import hashlib
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tuningfork.domain.errors import BaseUnusable
from tuningfork.pulling.errors import PullError
from tuningfork.pulling.fetching import Convert, Told, alone, bring_back, check_free, put, side_directories
from tuningfork.pulling.kept import KeptBase, bases_below, write_description

if TYPE_CHECKING:
    from huggingface_hub.hf_api import RepoSibling

_WANTED = ("*.safetensors", "*.json", "*.jinja", "tokenizer.model", "*.tiktoken", "merges.txt", "vocab.txt")
_LICENCES = ("LICENSE*", "LICENCE*", "NOTICE*", "USE_POLICY*")
_SECONDS_TO_ANSWER = 10
_MOST_REASON_CHARACTERS = 200
_WITHOUT_NETWORK = (
    "Get the model's files on another machine, and name their directory: tuningfork serve --base-model NAME=DIRECTORY."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class HubSource:
    """What to fetch from the Hub.

    Attributes:
        repository: such as `Qwen/Qwen3-0.6B`.
        file: a GGUF file in it; "": its safetensors files.
        revision: a branch, tag or commit; None: its main branch.

    """

    repository: str
    file: str = ""
    revision: str | None = None


def source_named(text: str, revision: str | None = None) -> HubSource | None:
    """The source that `ORGANISATION/REPOSITORY` or `ORGANISATION/REPOSITORY/FILE.gguf` names; None if it is neither."""
    organisation, _, rest = text.partition("/")
    repository, _, file = rest.partition("/")
    if not (organisation and repository) or (file and not file.lower().endswith(".gguf")):
        return None
    return HubSource(repository=f"{organisation}/{repository}", file=file, revision=revision)


def fetch_from_hub(
    source: HubSource, data_directory: Path, convert: Convert, told: Told, *, base: KeptBase, again: bool = False
) -> Path:
    """Fetch a base model from the Hub. What an interrupted call has downloaded is not downloaded again.

    Args:
        source: what to fetch.
        data_directory: the server's data directory.
        convert: converts GGUF files.
        told: how the caller hears what goes on.
        base: what the model is to be called. Its licence and source are filled in.
        again: whether a model of that name that is there already is replaced.

    Returns:
        The directory of the model's files.

    Raises:
        AlreadyThere: there is a model of this name.
        PullError: it could not be fetched. What was there before is unchanged.

    """
    place = bases_below(data_directory) / base.name
    try:
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with alone(place):
            bring_back(place)
            check_free(base, data_directory, again=again)
            told.said(f"Looking for {source.repository} on the Hub ...")
            licence, wanted, commit = _described(source)
            named = f"{source.repository} at {commit}" + (f", {source.file}" if source.file else "")
            aside = _side_directory(place, named)
            _check_disk(place.parent, wanted)
            size = sum(each.size or 0 for each in wanted)
            told.said(f"Downloading {len(wanted)} files ({size / 1e6:.0f} MB, licence: {licence or 'not named'}) ...")
            _download(source, commit, wanted, aside / "files")
            made = aside / "files"
            shutil.rmtree(made / ".cache", ignore_errors=True)
            if source.file:
                told.said("Converting it, once, so that it can be tuned ...")
                convert(made / source.file, aside / "model", told.converted)
                made = aside / "model"
            write_description(made, replace(base, licence=licence, source=named))
            put(made, place)
            shutil.rmtree(aside, ignore_errors=True)
    except BaseUnusable as error:
        raise PullError(f"{source.file} cannot be used: {error}") from error
    except OSError as error:
        raise PullError(f"{error.filename or place.parent}: {error.strerror or error}.") from error
    return place


def _side_directory(place: Path, named: str) -> Path:
    """The directory for what is downloaded from this source; those for other sources are removed.

    Downloads that an interrupted call has left there go on; what it made of them is made again.
    """
    aside = place.parent / f".{place.name}~{hashlib.sha256(named.encode()).hexdigest()[:16]}"
    for left in side_directories(place):
        shutil.rmtree(left / "model" if left == aside else left, ignore_errors=True)
    return aside


def _described(source: HubSource) -> tuple[str, list["RepoSibling"], str]:
    """The licence, the files to fetch, and the commit that the revision means now."""
    # Slow to import, and needed for the Hub only.
    from huggingface_hub import HfApi  # noqa: PLC0415

    with _explained(source, "The Hub was not reached: this machine may be offline", _WITHOUT_NETWORK):
        info = HfApi().model_info(
            source.repository, revision=source.revision, timeout=_SECONDS_TO_ANSWER, files_metadata=True
        )
    licence = str(getattr(info.card_data, "license", "") or "")
    return licence, _wanted(source, list(info.siblings or ())), str(info.sha)


@contextmanager
def _explained(source: HubSource, failed: str, cure: str) -> Iterator[None]:
    """Errors of the Hub's client as sentences. `failed` and `cure` are for those of the network."""
    from huggingface_hub.errors import (  # noqa: PLC0415
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    name = source.repository
    try:
        yield
    except GatedRepoError as error:
        raise PullError(
            f"{name} is behind a licence: accept it on its page of the Hub, make a token there, and set HF_TOKEN."
        ) from error
    except RevisionNotFoundError as error:
        raise PullError(f"{name} has no revision {source.revision}.") from error
    except RepositoryNotFoundError as error:
        raise PullError(
            f"The Hub has no repository {name} that this machine may see; for a private one, set HF_TOKEN."
        ) from error
    except HFValidationError as error:
        raise PullError(f"{name} is no name of a repository on the Hub: {error}") from error
    except Exception as error:
        # The client's HTTP library, whose errors come through, differs from version to version.
        library = type(error).__module__.partition(".")[0]
        if not (isinstance(error, OSError | HfHubHTTPError | OfflineModeIsEnabled) or library.startswith("http")):
            raise
        reason = next(iter(str(error).splitlines()), type(error).__name__)[:_MOST_REASON_CHARACTERS]
        raise PullError(f"{failed} ({reason}). {cure}") from error


def _wanted(source: HubSource, siblings: list["RepoSibling"]) -> list["RepoSibling"]:
    names = [each.rfilename for each in siblings]
    ggufs = [name for name in names if name.lower().endswith(".gguf")]
    if source.file:
        if source.file not in names:
            raise PullError(f"{source.repository} has no file {source.file}. It has: {_listed(ggufs)}.")
        return [each for each in siblings if each.rfilename == source.file or _matches(each.rfilename, _LICENCES)]
    if any(name.endswith(".safetensors") and "/" not in name for name in names):
        return [each for each in siblings if _matches(each.rfilename, (*_WANTED, *_LICENCES))]
    if ggufs:
        raise PullError(
            f"{source.repository} has GGUF files only; name one: {source.repository}/FILE.gguf, of {_listed(ggufs)}."
        )
    raise PullError(
        f"{source.repository} has neither safetensors nor GGUF files, which are what can be read here. Pickled weights "
        "(*.bin) are never read."
    )


def _matches(name: str, patterns: Iterable[str]) -> bool:
    """Whether a file is wanted. Files in folders are other formats of the same weights."""
    return "/" not in name and any(Path(name).match(pattern) for pattern in patterns)


def _listed(names: list[str]) -> str:
    shown = ", ".join(names[:12])
    return f"{shown} and {len(names) - 12} more" if len(names) > 12 else shown or "none"


def _check_disk(directory: Path, wanted: list["RepoSibling"]) -> None:
    needed = sum(each.size or 0 for each in wanted)
    # A quantized file is converted to two bytes for a weight.
    needed += sum(5 * (each.size or 0) for each in wanted if each.rfilename.lower().endswith(".gguf"))
    free = shutil.disk_usage(directory).free
    if free < needed:
        raise PullError(f"This needs up to {needed / 1e9:.1f} GB in {directory}; {free / 1e9:.1f} GB are free.")


def _download(source: HubSource, commit: str, wanted: list["RepoSibling"], into: Path) -> None:
    from huggingface_hub import snapshot_download  # noqa: PLC0415

    patterns = [each.rfilename for each in wanted]
    with _explained(source, "The download broke off", "The same command goes on where it stopped."):
        snapshot_download(source.repository, revision=commit, local_dir=into, allow_patterns=patterns)
