"""A base model as the catalog knows it: where its weights are, what it allows, and the names it answers to."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NewType

BaseModelName = NewType("BaseModelName", str)
"""A public name with its prefix, such as `models/tuningfork-mini-001`."""

EMBEDDED = "embedded"
"""The location of the base model that ships inside the package."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What requests to a model may contain. `None` means that only the context length bounds it.

    The Gemini profile's figures: the Gemini API's tuning guide ("Limitations").
    """

    max_input_characters: int | None = None
    max_output_characters: int | None = None
    json_mode: bool = True
    system_instruction: bool = True
    generate_text: bool = True
    """Whether the PaLM generation's method serves it, which no Gemini model had."""


OWN_LIMITS = Limits()
"""Of a model under a name of its own: what its context holds."""
GEMINI_LIMITS = Limits(
    max_input_characters=40_000,
    max_output_characters=5_000,
    json_mode=False,
    system_instruction=False,
    generate_text=False,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterShape:
    """The adapters that a base is tuned with: LoRA rank R and scale alpha / R (Hu et al. 2021, section 4.1)."""

    rank: int = 8
    alpha: float = 16.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingDefaults:
    """What a request that does not say otherwise samples with. `top_k` None: no such limit."""

    temperature: float = 0.9
    top_p: float = 1.0
    top_k: int | None = None
    max_temperature: float = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseModel:
    """One resident model and all that is said of it in public.

    `location` is `"embedded"`, a local directory or a Hub id; `aliases` are further public names, each with the
    limits profile that its name promises.
    """

    name: BaseModelName
    location: str
    revision: str | None = None
    display_name: str
    description: str = ""
    version: str = "001"
    context_tokens: int
    output_tokens: int = 8_192
    sampling: SamplingDefaults = SamplingDefaults()
    adapter: AdapterShape = AdapterShape()
    default_learning_rate: float = 0.001
    limits: Limits = OWN_LIMITS
    aliases: tuple["Alias", ...] = ()
    chat_template: str | None = None
    """A Jinja template that replaces the one the model brings; None uses the model's own, or the default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alias:
    """Another public name of a base model. What is None is taken from the base."""

    name: BaseModelName
    display_name: str
    description: str = ""
    version: str = "001"
    limits: Limits = GEMINI_LIMITS
    input_tokens: int | None = None
    output_tokens: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicModel:
    """A base model seen through one of its names: what `models.list` shows and what a tuned model refers to."""

    name: BaseModelName
    display_name: str
    description: str
    version: str
    input_tokens: int
    output_tokens: int
    limits: Limits
    base: BaseModel


def _faces(base: BaseModel) -> list[PublicModel]:
    own = PublicModel(
        name=base.name,
        display_name=base.display_name,
        description=base.description,
        version=base.version,
        input_tokens=base.context_tokens,
        output_tokens=base.output_tokens,
        limits=base.limits,
        base=base,
    )
    others = [
        PublicModel(
            name=alias.name,
            display_name=alias.display_name,
            description=alias.description or base.description,
            version=alias.version,
            input_tokens=min(alias.input_tokens or base.context_tokens, base.context_tokens),
            output_tokens=min(alias.output_tokens or base.output_tokens, base.output_tokens),
            limits=alias.limits,
            base=base,
        )
        for alias in base.aliases
    ]
    return [own, *others]


def with_prefix(name: str) -> BaseModelName:
    """Add the `models/` prefix where it is missing: the dialect takes both forms."""
    return BaseModelName(name if name.startswith("models/") else f"models/{name}")


@dataclass(frozen=True, slots=True)
class Catalog:
    """The base models of this server, found by any of their public names.

    Raises:
        ValueError: two models claim one name.

    """

    models: tuple[BaseModel, ...]
    _by_name: dict[BaseModelName, PublicModel] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        by_name: dict[BaseModelName, PublicModel] = {}
        for face in (face for base in self.models for face in _faces(base)):
            if face.name in by_name:
                raise ValueError(
                    f"the catalog gives the name {face.name} to two base models "
                    f"({by_name[face.name].base.location} and {face.base.location}); rename one of them"
                )
            by_name[face.name] = face
        object.__setattr__(self, "_by_name", by_name)

    def find(self, name: str) -> PublicModel | None:
        """The model of this public name, with or without its `models/` prefix; None if there is none."""
        return self._by_name.get(with_prefix(name))

    def public_models(self) -> Iterable[PublicModel]:
        """Every public name, in catalog order."""
        return self._by_name.values()
