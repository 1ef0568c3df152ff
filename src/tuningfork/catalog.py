"""The base models of this server: the embedded one, fetched ones, a catalog file's, those of the command line.

Reads only small JSON and TOML files, never weights; GGUF files are converted in a process of their own. A model's
context length and sampling defaults come from its `config.json` and `generation_config.json`, in its directory or on
the Hub. A model whose files cannot be read stays in
the catalog with its fault, so that the others can be used.
"""

import logging
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel as Parsed
from pydantic import ConfigDict, Field, ValidationError

from tuningfork.domain.base_model import (
    EMBEDDED,
    EMBEDDED_NAME,
    MAX_ADAPTER_RANK,
    AdapterShape,
    Alias,
    BaseModel,
    Catalog,
    SamplingDefaults,
    with_prefix,
)
from tuningfork.domain.errors import BaseUnusable, NotFound
from tuningfork.domain.public_names import ALLOWED, refusal_of_name, suggested_name
from tuningfork.domain.tuning_defaults import ALPHA, LEARNING_RATE, RANK
from tuningfork.domain.user_directories import NoHomeDirectory
from tuningfork.embedded import model_directory
from tuningfork.familiar import FAMILIAR, GEMINI_LIMITS, VERTEX, with_description, with_vertex_names
from tuningfork.modeling.files.gguf.kept import converted, gguf_file_of
from tuningfork.modeling.files.small_files import Unreadable, context_length, read_object, sampling_values
from tuningfork.pulling.kept import KeptBase

logger = logging.getLogger(__name__)

EMBEDDED_MODEL = BaseModel(
    name=with_prefix(EMBEDDED_NAME),
    location=EMBEDDED,
    display_name="Tuningfork Mini 001",
    description="A byte-level model of a few million parameters that ships with Tuningfork: it knows numbers in many "
    "notations and little else, needs no download and is tuned in seconds.",
    context_tokens=163_840,
    output_tokens=8_192,
    # Greedy decoding, since the tutorial calls its tuned model without a temperature and expects the likeliest answer.
    sampling=SamplingDefaults(temperature=0.0, top_p=1.0, top_k=None),
    # With this scale, fifteen examples and nineteen steps are enough; measured in docs/embedded-model.md.
    adapter=AdapterShape(rank=8, alpha=80.0),
    aliases=tuple(with_description(alias, "Tuningfork Mini") for alias in FAMILIAR),
)


_CURE = "Mend the file and start the server again, or take the model out of the catalog"

_RESERVED = {"models", "tunedmodels", "operations"}
"""Collections of the API, in lower case: `models/tunedModels/x` is a tuned model."""


class CatalogError(ValueError):
    """The entry of a base model is wrong; the message says which entry, and what to write instead."""


class _Entry(Parsed):
    """One `[[models]]` table of a catalog file. Values that it lacks are taken from the model's own files."""

    model_config = ConfigDict(extra="forbid")

    name: str
    location: str
    revision: str | None = None
    display_name: str | None = None
    description: str = ""
    aliases: list[str] = Field(default_factory=list)
    context_tokens: int | None = Field(default=None, ge=16)
    output_tokens: int | None = Field(default=None, ge=1)
    temperature: float | None = Field(default=None, ge=0)
    top_p: float | None = Field(default=None, gt=0, le=1)
    top_k: int | None = Field(default=None, ge=0)
    learning_rate: float | None = Field(default=None, gt=0)
    adapter_rank: int = Field(default=RANK, ge=1, le=MAX_ADAPTER_RANK)
    max_adapter_rank: int = Field(default=MAX_ADAPTER_RANK, ge=1, le=MAX_ADAPTER_RANK)
    adapter_alpha: float = Field(default=ALPHA, gt=0)
    chat_template: str | None = None
    hub_id: str = ""


class _File(Parsed):
    model_config = ConfigDict(extra="forbid")

    models: list[_Entry] = Field(default_factory=list)


def build_catalog(
    *, catalog_file: Path | None, named: Iterable[str], kept: Mapping[Path, KeptBase] = MappingProxyType({})
) -> Catalog:
    """All base models of this server, in the order in which they are listed. Who names no base model tunes the first.

    Models that somebody named come first, then fetched ones, then the embedded one, which knows little; models whose
    files cannot be read come last. Where names meet, the same order decides: a fetched model is left out if its own
    name is taken, and loses the aliases that are; the embedded one loses its to all others.

    Args:
        catalog_file: a TOML file with `[[models]]` tables, or None.
        named: entries of the form `NAME=LOCATION`: a Hub id, a directory or a GGUF file.
        kept: fetched models, by the directory of their files.

    Raises:
        CatalogError: an entry cannot be read, a name cannot be called, or two models have the same name.

    """
    entries = [*(_read_file(catalog_file) if catalog_file else []), *map(_parse_named, named)]
    for entry in entries:
        _check_entry(entry)
    models = [_describe(entry) for entry in entries]
    fetched = _fetched(kept, models)
    # Own names come before aliases, also those of models that are fetched later.
    own_names = {model.name for model in (EMBEDDED_MODEL, *fetched)}
    for model in fetched:
        own = tuple(alias for alias in model.aliases if alias.name not in own_names)
        models.append(_without_aliases(replace(model, aliases=own), models))
    listed = sorted((*models, _without_aliases(EMBEDDED_MODEL, models)), key=lambda model: bool(model.fault))
    try:
        return Catalog(with_vertex_names(tuple(listed)))
    except ValueError as error:
        raise CatalogError(str(error)) from error


def without_fetched(catalog: Catalog, kept: Mapping[Path, KeptBase]) -> Catalog:
    """What the names meant before these models were fetched, and to versions that fetched none."""
    fetched = {(with_prefix(base.name), str(directory.resolve())) for directory, base in kept.items()}
    others = (model for model in catalog.models if model.location != EMBEDDED)
    named = [model for model in others if (model.name, model.location) not in fetched]
    return Catalog(with_vertex_names((_without_aliases(EMBEDDED_MODEL, named), *named)))


def _fetched(kept: Mapping[Path, KeptBase], named: Iterable[BaseModel]) -> list[BaseModel]:
    """The fetched models whose own names no other model has."""
    own_names = {model.name for model in named}
    aliases = {alias.name for model in named for alias in model.aliases} | {EMBEDDED_MODEL.name}
    found = []
    for entry in (_entry_of(directory, base) for directory, base in kept.items()):
        name = with_prefix(entry.name)
        if name in aliases:
            said = "%s is left out: another base model is called %s; fetch it again under another name"
            logger.error(said, entry.location, name, extra={"action": "base_unreadable"})
        # Whoever names a model as a fetched one means it in its place.
        elif name not in own_names:
            found += _described_if_whole(entry)
    return found


def _without_aliases(model: BaseModel, others: Iterable[BaseModel]) -> BaseModel:
    """The model without the aliases that are names of others."""
    taken = {name for other in others for name in (other.name, *(alias.name for alias in other.aliases))}
    return replace(model, aliases=tuple(alias for alias in model.aliases if alias.name not in taken))


def _described_if_whole(entry: _Entry) -> list[BaseModel]:
    """The fetched model of this entry; nothing, and an error in the log, if its files are not there."""
    try:
        _check_entry(entry)
        return [_describe(entry)]
    except CatalogError as error:
        logger.error("%s; fetch it again with `tuningfork pull`", error, extra={"action": "base_unreadable"})  # noqa: TRY400
        return []


def _entry_of(directory: Path, base: KeptBase) -> _Entry:
    return _Entry(
        name=base.name,
        location=str(directory),
        display_name=base.display_name or None,
        description=base.description,
        aliases=list(base.aliases),
        hub_id=base.hub_id,
    )


def _check_entry(entry: _Entry) -> None:
    """Check that every public name of an entry can be called, and its ranks, before any of its files is read."""
    for kind, names in (("the public name", [entry.name]), ("the alias", entry.aliases)):
        for name in names:
            if refusal := refusal_of_name(name, _RESERVED):
                raise CatalogError(
                    f"the base model in {entry.location} cannot have {kind} {name!r}: {refusal}; {ALLOWED}. Name it "
                    f"{suggested_name(name, entry.location, _RESERVED)}, for example"
                )
    if entry.adapter_rank > entry.max_adapter_rank:
        raise CatalogError(
            f"the base model {entry.name} has adapter_rank {entry.adapter_rank} and max_adapter_rank "
            f"{entry.max_adapter_rank}; raise the latter or lower the former"
        )
    own = [with_prefix(name) for name in (entry.name, *entry.aliases)]
    if twice := next((name for index, name in enumerate(own) if name in own[:index]), None):
        raise CatalogError(f"the base model in {entry.location} has the name {twice} twice; leave out one of them")


def _read_file(path: Path) -> list[_Entry]:
    try:
        with path.open("rb") as file:
            return _File.model_validate(tomllib.load(file)).models
    except OSError as error:
        raise CatalogError(f"the catalog file {path} cannot be read: {error.strerror}") from error
    except tomllib.TOMLDecodeError as error:
        raise CatalogError(f"the catalog file {path} is not valid TOML: {error}") from error
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise CatalogError(f"the catalog file {path} is not right: {faults}") from error


def _parse_named(text: str) -> _Entry:
    name, separator, location = text.partition("=")
    if not (separator and location):
        raise CatalogError(
            "--base-model takes NAME=LOCATION, a Hub id, a directory or a GGUF file, such as my-qwen=Qwen/Qwen3-0.6B; "
            f"got {text!r}"
        )
    return _Entry(name=name, location=location)


def _describe(entry: _Entry) -> BaseModel:
    try:
        return _described(_converted(entry))
    except Unreadable as error:
        # The other bases go on; whoever asks for this one is told.
        logger.error("base model %s cannot be used: %s", entry.name, error, extra={"action": "base_unreadable"})  # noqa: TRY400
        name = with_prefix(entry.name)
        return BaseModel(
            name=name,
            location=entry.location,
            display_name=entry.display_name or name.removeprefix("models/"),
            context_tokens=0,
            output_tokens=0,
            aliases=_aliases(entry),
            hub_id=entry.hub_id,
            fault=f"{error}. {_CURE}",
        )


def _converted(entry: _Entry) -> _Entry:
    """The entry itself, or if its location is a GGUF file, the directory into which it is converted.

    Raises:
        CatalogError: there is no such file.
        Unreadable: the file cannot be converted.

    """
    try:
        file = gguf_file_of(entry.location, entry.revision)
        if file is None:
            return entry
        return entry.model_copy(update={"location": str(converted(file)), "revision": None})
    except NotFound as error:
        raise CatalogError(f"base model {entry.name}: {error.message}") from error
    except BaseUnusable as error:
        raise Unreadable(error.message) from error
    except (OSError, NoHomeDirectory) as error:
        reason = getattr(error, "strerror", None) or error
        raise Unreadable(f"the GGUF file cannot be converted: {reason}") from error


def _described(entry: _Entry) -> BaseModel:
    config = _own_file(entry, "config.json")
    if config is None:
        raise CatalogError(
            f"base model {entry.name}: {entry.location} is neither a directory with a config.json, nor a GGUF file, "
            "nor a Hub id that can be read from here (for a Hub id without network, download the model and give its "
            "directory; of a repository with GGUF files name one, as org/repository/file.gguf)"
        )
    context = entry.context_tokens or context_length(config)
    if not context:
        raise CatalogError(
            f"base model {entry.name}: its config.json has no max_position_embeddings; "
            "say context_tokens in a catalog file"
        )
    own = sampling_values(_own_file(entry, "generation_config.json") or {})
    usual = SamplingDefaults()
    name = with_prefix(entry.name)
    return BaseModel(
        name=name,
        location=str(Path(entry.location).resolve()) if Path(entry.location).is_dir() else entry.location,
        revision=entry.revision,
        display_name=entry.display_name or name.removeprefix("models/"),
        description=entry.description,
        context_tokens=context,
        output_tokens=min(entry.output_tokens or 8_192, context),
        sampling=SamplingDefaults(
            temperature=_first(entry.temperature, own.get("temperature"), usual.temperature),
            top_p=_first(entry.top_p, own.get("top_p"), usual.top_p),
            top_k=_first(entry.top_k, own.get("top_k") or None, usual.top_k),
        ),
        adapter=AdapterShape(rank=entry.adapter_rank, alpha=entry.adapter_alpha),
        max_adapter_rank=entry.max_adapter_rank,
        default_learning_rate=entry.learning_rate or LEARNING_RATE,
        aliases=_aliases(entry),
        hub_id=entry.hub_id,
        chat_template=entry.chat_template,
    )


def _aliases(entry: _Entry) -> tuple[Alias, ...]:
    familiar = {alias.name: replace(alias, listed=True) for alias in (*FAMILIAR, *VERTEX)}
    answering = entry.display_name or entry.name.removeprefix("models/")
    return tuple(
        with_description(familiar[name], answering)
        if (name := with_prefix(given)) in familiar
        else Alias(name=name, display_name=given.removeprefix("models/"), limits=GEMINI_LIMITS)
        for given in entry.aliases
    )


def _first(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)


def _own_file(entry: _Entry, filename: str) -> dict[str, Any] | None:
    """A JSON file of the model, from its directory or the Hub; None if there is none."""
    directory = model_directory() if entry.location == EMBEDDED else Path(entry.location)
    if directory.is_dir():
        path = directory / filename
    else:
        # Slow to import, and only needed for Hub ids.
        from huggingface_hub import hf_hub_download  # noqa: PLC0415
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError  # noqa: PLC0415

        try:
            path = Path(hf_hub_download(entry.location, filename, revision=entry.revision))
        except (OSError, ValueError, HfHubHTTPError, HFValidationError):
            return None
    if not path.is_file():
        return None
    return read_object(path)
