"""The base models of this server: the embedded one, a catalog file's, and those named on the command line.

Reads only small JSON and TOML files, never weights. What a model says of itself (context length, sampling) comes from
its own `config.json` and `generation_config.json`, in its directory or on the Hub.
"""

import json
import tomllib
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel as Parsed
from pydantic import ConfigDict, Field, ValidationError

from tuningfork.domain.base_model import (
    EMBEDDED,
    AdapterShape,
    Alias,
    BaseModel,
    Catalog,
    SamplingDefaults,
    with_prefix,
)
from tuningfork.embedded import model_directory
from tuningfork.modeling.context_length import context_length_of

EMBEDDED_MODEL = BaseModel(
    name=with_prefix("tuningfork-mini-001"),
    location=EMBEDDED,
    display_name="Tuningfork Mini 001",
    description="A byte-level model of a few million parameters that ships with Tuningfork: it knows numbers in many "
    "notations and little else, needs no download and is tuned in seconds.",
    context_tokens=163_840,
    output_tokens=8_192,
    # Greedy: the tutorial calls its tuned model without a temperature and wants the answer, not a sample.
    sampling=SamplingDefaults(temperature=0.0, top_p=1.0, top_k=None),
    # The scale at which fifteen examples and nineteen steps are enough; measured in docs/embedded-model.md.
    adapter=AdapterShape(rank=8, alpha=80.0),
    aliases=(
        Alias(
            name=with_prefix("gemini-1.0-pro-001"),
            display_name="Gemini 1.0 Pro 001 (Tuning)",
            description="The name that the tuning tutorial uses; answered by Tuningfork Mini.",
            input_tokens=30_720,
            output_tokens=2_048,
        ),
        Alias(
            name=with_prefix("gemini-1.5-flash-001-tuning"),
            display_name="Gemini 1.5 Flash 001 Tuning",
            description="The name of the last tunable Gemini model; answered by Tuningfork Mini.",
            input_tokens=16_384,
            output_tokens=8_192,
        ),
    ),
)


class CatalogError(ValueError):
    """A base model cannot be described from what was given; the message says which and what to write instead."""


class _Entry(Parsed):
    """One `[[models]]` table of a catalog file. What is left out is taken from the model's own files."""

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
    top_k: int | None = Field(default=None, ge=1)
    learning_rate: float | None = Field(default=None, gt=0)
    adapter_rank: int = Field(default=8, ge=1, le=256)
    adapter_alpha: float = Field(default=16.0, gt=0)
    chat_template: str | None = None


class _File(Parsed):
    model_config = ConfigDict(extra="forbid")

    models: list[_Entry] = Field(default_factory=list)


def build_catalog(*, catalog_file: Path | None, named: Iterable[str]) -> Catalog:
    """All base models of this server; a name given later takes it away from an embedded alias.

    Args:
        catalog_file: TOML with `[[models]]` tables, or None.
        named: entries of the form `NAME=HUB_ID_OR_DIRECTORY`.

    Raises:
        CatalogError: an entry cannot be read, or two models claim one name.

    """
    entries = [*(_read_file(catalog_file) if catalog_file else []), *map(_parse_named, named)]
    models = [_describe(entry) for entry in entries]
    taken = {name for model in models for name in (model.name, *(alias.name for alias in model.aliases))}
    embedded = replace(
        EMBEDDED_MODEL, aliases=tuple(alias for alias in EMBEDDED_MODEL.aliases if alias.name not in taken)
    )
    try:
        return Catalog((embedded, *models))
    except ValueError as error:
        raise CatalogError(str(error)) from error


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
    if not (name and separator and location):
        raise CatalogError(
            f"--base-model takes NAME=HUB_ID_OR_DIRECTORY, such as my-qwen=Qwen/Qwen3-0.6B; got {text!r}"
        )
    return _Entry(name=name, location=location)


def _describe(entry: _Entry) -> BaseModel:
    config = _own_file(entry, "config.json")
    if config is None:
        raise CatalogError(
            f"base model {entry.name}: {entry.location} is neither a directory with a config.json nor a Hub id that "
            "can be read from here (for a Hub id without network, download the model and give its directory)"
        )
    context = entry.context_tokens or context_length_of(config)
    if not context:
        raise CatalogError(
            f"base model {entry.name}: its config.json has no max_position_embeddings; "
            "say context_tokens in a catalog file"
        )
    own = _own_file(entry, "generation_config.json") or {}
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
        default_learning_rate=entry.learning_rate or 0.001,
        aliases=tuple(Alias(name=with_prefix(a), display_name=a.removeprefix("models/")) for a in entry.aliases),
        chat_template=entry.chat_template,
    )


def _first(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)


def _own_file(entry: _Entry, filename: str) -> dict[str, Any] | None:
    """A JSON file of the model, from its directory or the Hub; None if there is none."""
    directory = model_directory() if entry.location == EMBEDDED else Path(entry.location)
    if directory.is_dir():
        path = directory / filename
    else:
        # Heavy to import and only needed for Hub ids.
        from huggingface_hub import hf_hub_download  # noqa: PLC0415
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError  # noqa: PLC0415

        try:
            path = Path(hf_hub_download(entry.location, filename, revision=entry.revision))
        except (OSError, ValueError, HfHubHTTPError, HFValidationError):
            return None
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CatalogError(f"base model {entry.name}: {path} is not valid JSON: {error}") from error
    return content if isinstance(content, dict) else None
