"""A base model as the catalog describes it: where its weights are, what it allows, and its public names."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import NewType

from tuningfork.domain.tuning_defaults import ALPHA, LEARNING_RATE, RANK

BaseModelName = NewType("BaseModelName", str)
"""A public name with its prefix, such as `models/tuningfork-mini-001`."""

EMBEDDED = "embedded"
"""The location of the base model that ships inside the package."""
EMBEDDED_NAME = "tuningfork-mini-001"
"""Its public name without the prefix."""


class WeightType(StrEnum):
    """What a base's weights are kept in while it is served and tuned."""

    STORED = "stored"
    """The type that they are stored in, or the type that is computed in."""
    INT8 = "int8"
    """Eight bits, rounded, with a scale for each row of a matrix: less memory and, for a few rows, less time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What requests to a model may contain. A limit that is None: only the context length limits it."""

    max_input_characters: int | None = None
    max_output_characters: int | None = None
    json_mode: bool = True
    system_instruction: bool = True
    conversations: bool = True
    """Whether an example may be more than one input and one output: several turns, or a system instruction."""
    completion: bool = True
    """Whether a prompt may be a bare text instead of a conversation."""
    adapter_ranks: tuple[int, ...] | None = None
    """The ranks that an adapter may have; None: all up to the base's largest one."""
    default_rank: int | None = None
    """The rank of an adapter if nobody chose one; None: that of the base."""
    max_example_tokens: int | None = None
    """Tokens of an example in a bucket; longer ones are dropped."""
    max_validation_examples: int | None = None
    """Examples of a validation set in a bucket."""


OWN_LIMITS = Limits()
"""The limits of a model under its own name: only those of its context."""


MAX_ADAPTER_RANK = 256
"""The largest rank of any adapter, trained here or elsewhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterShape:
    """The shape of a LoRA adapter: rank R and scale alpha / R (Hu et al. 2021, section 4.1)."""

    rank: int = RANK
    alpha: float = ALPHA


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingDefaults:
    """The sampling values for requests that give none. `top_k` None: no limit."""

    temperature: float = 0.9
    top_p: float = 1.0
    top_k: int | None = None
    max_temperature: float = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseModel:
    """A base model: where its weights are, and its public description.

    `location` is `"embedded"`, a local directory or a Hub id. `aliases` are further public names, each with its own
    limits.
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
    max_adapter_rank: int = MAX_ADAPTER_RANK
    """The largest rank that a request may ask for."""
    default_learning_rate: float = LEARNING_RATE
    limits: Limits = OWN_LIMITS
    aliases: tuple["Alias", ...] = ()
    hub_id: str = ""
    """The repository on the Hub that its weights come from, if `location` is another place; "": not known."""
    chat_template: str | None = None
    """A Jinja template that replaces the model's. None: the model's own, or the default if it has none."""
    fault: str = ""
    """Why the model cannot be used, if its files could not be read when the catalog was made; "": nothing is known."""

    @property
    def is_on_hub(self) -> bool:
        """Whether `location` is a Hub id, and not the embedded model or a directory."""
        return self.location != EMBEDDED and not self.location.startswith(("/", ".", "~"))

    @property
    def exported_name(self) -> str:
        """What exported adapters call their base: its Hub id, or without one its public name, never a path."""
        return self.location if self.is_on_hub else self.hub_id or self.name.removeprefix("models/")


@dataclass(frozen=True, slots=True, kw_only=True)
class Alias:
    """Another public name of a base model. Values that are None are taken from the base."""

    name: BaseModelName
    display_name: str
    description: str = ""
    version: str = "001"
    limits: Limits
    input_tokens: int | None = None
    output_tokens: int | None = None
    listed: bool = True
    """Whether the list of base models has this name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicModel:
    """A base model under one of its public names, with the values of that name."""

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
    """Add the `models/` prefix if it is missing, since callers may leave it out."""
    return BaseModelName(name if name.startswith("models/") else f"models/{name}")


@dataclass(frozen=True, slots=True)
class Catalog:
    """The base models of this server, found by any of their public names.

    Raises:
        ValueError: two models have the same name.

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

    def find(self, name: str, resolved: BaseModelName | None = None) -> PublicModel | None:
        """The model with this public name, with or without its `models/` prefix; None if there is none.

        Args:
            name: the public name.
            resolved: the own name of the base model that `name` meant earlier, for what was made then. If the name
                means another one now, the result is the earlier one, with the limits of the name.

        """
        found = self._by_name.get(with_prefix(name))
        if resolved is None or (found is not None and found.base.name == resolved):
            return found
        earlier = self._by_name.get(resolved)
        if earlier is None or earlier.base.name != resolved:
            return None
        if found is None:
            return replace(earlier, name=with_prefix(name))
        return replace(
            earlier,
            name=found.name,
            display_name=found.display_name,
            input_tokens=min(found.input_tokens, earlier.input_tokens),
            output_tokens=min(found.output_tokens, earlier.output_tokens),
            limits=found.limits,
        )

    def public_models(self, *, unlisted: bool = True) -> Iterable[PublicModel]:
        """Every public name, in catalog order; with `unlisted` False those that lists of base models have."""
        hidden = {alias.name for base in self.models for alias in base.aliases if not alias.listed and not unlisted}
        return [face for name, face in self._by_name.items() if name not in hidden]
