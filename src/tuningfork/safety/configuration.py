"""Reads the setting `--safety`: `off`, `lexical`, or a TOML file that describes a rater and what its labels mean.

Reads only small files, never weights. Whether a model has the labels in the file is checked against its `config.json`.
"""

import json
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel as Parsed
from pydantic import BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from tuningfork.domain.rater import Activation, ClassifierModel, CutPoints, GuardModel, Meanings, RatingModel
from tuningfork.domain.safety import DEFAULT_THRESHOLD, BlockThreshold, HarmCategory
from tuningfork.domain.user_directories import below_home

OFF, LEXICAL = "off", "lexical"


class RaterError(ValueError):
    """The setting or the file is wrong; the message says what to write instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RaterChoice:
    """The rater, and the threshold for requests that set none. `model` None: the lexical rater."""

    model: RatingModel | None = None
    default_threshold: BlockThreshold = DEFAULT_THRESHOLD


def _category(value: object) -> object:
    """The category of a name such as `harassment`."""
    if not isinstance(value, str) or value.upper() not in HarmCategory.__members__:
        names = ", ".join(category.name.lower() for category in HarmCategory)
        raise ValueError(f"{value!r} is no category; the categories are {names}")
    return HarmCategory[value.upper()]


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


_Categories = Annotated[list[Annotated[HarmCategory, BeforeValidator(_category)]], BeforeValidator(_as_list)]
_Score = Annotated[float, Field(gt=0, le=1)]


class _CutPoints(Parsed):
    model_config = ConfigDict(extra="forbid")

    low: _Score = CutPoints().low
    medium: _Score = CutPoints().medium
    high: _Score = CutPoints().high

    @model_validator(mode="after")
    def _rising(self) -> Self:
        if not self.low <= self.medium <= self.high:
            raise ValueError(f"low, medium and high must rise; got {self.low}, {self.medium}, {self.high}")
        return self

    def read(self) -> CutPoints:
        return CutPoints(low=self.low, medium=self.medium, high=self.high)


class _Lexical(Parsed):
    model_config = ConfigDict(extra="forbid")

    kind: Literal["lexical"]
    default_threshold: BlockThreshold = DEFAULT_THRESHOLD


class _Classifier(Parsed):
    model_config = ConfigDict(extra="forbid")

    kind: Literal["classifier"]
    model: str
    revision: str | None = None
    default_threshold: BlockThreshold = DEFAULT_THRESHOLD
    activation: Activation | None = None
    labels: dict[str, _Categories] = Field(min_length=1)
    cut_points: _CutPoints = _CutPoints()
    window_tokens: int = Field(default=512, ge=16)


class _Guard(Parsed):
    model_config = ConfigDict(extra="forbid")

    kind: Literal["guard"]
    model: str
    revision: str | None = None
    default_threshold: BlockThreshold = DEFAULT_THRESHOLD
    codes: dict[str, _Categories] = Field(min_length=1)
    otherwise: _Categories = [HarmCategory.DANGEROUS_CONTENT]
    cut_points: _CutPoints = _CutPoints()
    window_tokens: int = Field(default=2_048, ge=16)
    template: str | None = None


_Entry = _Lexical | _Classifier | _Guard
_ENTRY: TypeAdapter[_Entry] = TypeAdapter(Annotated[_Entry, Field(discriminator="kind")])


def choose_rater(setting: str) -> RaterChoice | None:
    """The rater that a setting asks for; None for `off`.

    Raises:
        RaterError: the file cannot be read, is wrong, or does not match the model that it names.

    """
    if setting == OFF:
        return None
    if setting == LEXICAL:
        return RaterChoice()
    entry = _read(Path(setting))
    if isinstance(entry, _Lexical):
        return RaterChoice(default_threshold=entry.default_threshold)
    location = _location(entry.model, beside=Path(setting))
    config = _config(location, entry.revision)
    model = _classifier(entry, location, config) if isinstance(entry, _Classifier) else _guard(entry, location)
    return RaterChoice(model=model, default_threshold=entry.default_threshold)


def _read(path: Path) -> _Entry:
    if not path.is_file():
        raise RaterError(f"--safety takes {OFF}, {LEXICAL}, or a TOML file that describes a rater; {path} is none")
    try:
        return _ENTRY.validate_python(tomllib.loads(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise RaterError(f"the rater's file {path} cannot be read: {error}") from error
    except ValidationError as error:
        faults = "; ".join(_fault(each) for each in error.errors())
        raise RaterError(f"the rater's file {path} is not right: {faults}") from error


def _fault(error: Any) -> str:
    # The first element of `loc` is the rater's kind, which is not a key in the file.
    place = ".".join(map(str, error["loc"][1:]))
    return f"{place}: {error['msg']}" if place else str(error["msg"])


def _location(model: str, *, beside: Path) -> str:
    """The directory of a model, relative to the working directory or to the file; else `model` itself, as a Hub id."""
    for directory in (below_home(model), beside.parent / model):
        if directory.is_dir():
            return str(directory.resolve())
    return model


def _classifier(entry: _Classifier, location: str, config: dict[str, Any]) -> ClassifierModel:
    own = [str(label) for label in (config.get("id2label") or {}).values()]
    unknown = [label for label in entry.labels if own and label not in own]
    if unknown:
        raise RaterError(
            f"the rater's model {location} has no label {', '.join(unknown)}; its labels are {', '.join(own)}"
        )
    # transformers stores whether labels are independent as `problem_type`; its pipelines use softmax by default.
    several = config.get("problem_type") == "multi_label_classification"
    return ClassifierModel(
        location=location,
        revision=entry.revision,
        labels=_meanings(entry.labels.items()),
        activation=entry.activation or (Activation.SIGMOID if several else Activation.SOFTMAX),
        cut_points=entry.cut_points.read(),
        window_tokens=entry.window_tokens,
    )


def _guard(entry: _Guard, location: str) -> GuardModel:
    return GuardModel(
        location=location,
        revision=entry.revision,
        codes=_meanings(entry.codes.items()),
        otherwise=tuple(entry.otherwise),
        cut_points=entry.cut_points.read(),
        window_tokens=entry.window_tokens,
        template=entry.template,
    )


def _meanings(pairs: Iterable[tuple[str, list[HarmCategory]]]) -> Meanings:
    return tuple((name, tuple(categories)) for name, categories in pairs)


def _config(location: str, revision: str | None) -> dict[str, Any]:
    if Path(location).is_dir():
        path = Path(location) / "config.json"
    else:
        # Slow to import, and only needed for Hub ids.
        from huggingface_hub import hf_hub_download  # noqa: PLC0415
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError  # noqa: PLC0415

        try:
            path = Path(hf_hub_download(location, "config.json", revision=revision))
        except (OSError, ValueError, HfHubHTTPError, HFValidationError):
            path = Path(location) / "config.json"
    if not path.is_file():
        raise RaterError(
            f"the rater's model {location} is neither a directory with a config.json nor a Hub id that can be read "
            "from here (for a Hub id without network, download the model and give its directory)"
        )
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RaterError(f"the rater's model {location}: {path} is not valid JSON: {error}") from error
    return content if isinstance(content, dict) else {}
