"""The names of Google's tunable models, which programs go on using, and the limits that these names promise."""

from collections.abc import Sequence
from dataclasses import replace

from tuningfork.domain.base_model import Alias, BaseModel, Limits, with_prefix

GEMINI_LIMITS = Limits(
    max_input_characters=40_000,
    max_output_characters=5_000,
    json_mode=False,
    system_instruction=False,
    conversations=False,
    completion=False,
)
"""The limits of models under the names of Gemini models, from the Gemini API's tuning guide ("Limitations")."""

PALM_LIMITS = replace(GEMINI_LIMITS, completion=True)
"""The limits of models under the names of PaLM models, which take bare texts."""

_VERTEX_TOKENS = 131_072


def _of_vertex(
    name: str, title: str, *ranks: int, default: int, tokens: int = _VERTEX_TOKENS, validation: int
) -> Alias:
    """The name of a model that Vertex AI tunes, with the limits of its documentation.

    Args:
        name: the name without `models/`.
        title: the display name.
        ranks: the sizes that an adapter may have.
        default: the size of an adapter if nobody chose one.
        tokens: the most tokens of an example.
        validation: the most examples of a validation set.

    """
    limits = Limits(
        adapter_ranks=ranks, default_rank=default, max_example_tokens=tokens, max_validation_examples=validation
    )
    about = "The name of a model that Vertex AI tunes"
    return Alias(name=with_prefix(name), display_name=title, description=about, limits=limits, listed=False)


VERTEX = (
    _of_vertex("gemini-1.0-pro-002", "Gemini 1.0 Pro 002", 1, 4, 8, 16, default=4, tokens=32_000, validation=256),
    _of_vertex("gemini-1.5-pro-002", "Gemini 1.5 Pro 002", 1, 4, default=4, tokens=32_000, validation=256),
    _of_vertex("gemini-1.5-flash-002", "Gemini 1.5 Flash 002", 1, 4, 8, 16, default=8, tokens=32_000, validation=256),
    _of_vertex("gemini-2.0-flash-001", "Gemini 2.0 Flash 001", 1, 2, 4, 8, default=4, validation=5_000),
    _of_vertex("gemini-2.0-flash-lite-001", "Gemini 2.0 Flash-Lite 001", 1, 2, 4, 8, default=4, validation=5_000),
    _of_vertex("gemini-2.5-flash", "Gemini 2.5 Flash", 1, 2, 4, 8, 16, default=4, validation=5_000),
    _of_vertex("gemini-2.5-flash-lite", "Gemini 2.5 Flash-Lite", 1, 2, 4, 8, 16, default=4, validation=5_000),
    _of_vertex("gemini-2.5-pro", "Gemini 2.5 Pro", 1, 2, 4, 8, default=4, validation=5_000),
    _of_vertex("gemini-3.1-flash-lite", "Gemini 3.1 Flash-Lite", 1, 2, 4, 8, 16, default=2, validation=5_000),
    _of_vertex("gemini-3.5-flash", "Gemini 3.5 Flash", 1, 2, 4, 8, 16, default=4, validation=5_000),
)
"""The names of models that Vertex AI tunes. The list of the Gemini API does not have them."""

_LAST_OF_GEMINI = with_prefix("gemini-1.5-flash-001-tuning")

FAMILIAR = (
    Alias(
        name=with_prefix("gemini-1.0-pro-001"),
        display_name="Gemini 1.0 Pro 001 (Tuning)",
        description="The name that the tuning tutorial uses",
        input_tokens=30_720,
        output_tokens=2_048,
        limits=GEMINI_LIMITS,
    ),
    Alias(
        name=with_prefix("gemini-1.5-flash-001-tuning"),
        display_name="Gemini 1.5 Flash 001 Tuning",
        description="The name of the last tunable Gemini model",
        input_tokens=16_384,
        output_tokens=8_192,
        limits=GEMINI_LIMITS,
    ),
    Alias(
        name=with_prefix("text-bison-001"),
        display_name="Text Bison 001",
        description="The name of the tunable PaLM model",
        input_tokens=8_196,
        output_tokens=1_024,
        limits=PALM_LIMITS,
    ),
)
"""The names of Google's tunable models, with the limits that these names promise."""


def with_description(alias: Alias, base: str) -> Alias:
    """The alias with a description that says which base model answers."""
    return replace(alias, description=f"{alias.description}; answered by {base}.")


def with_vertex_names(models: Sequence[BaseModel]) -> tuple[BaseModel, ...]:
    """The models, of which the one that has the name of Gemini's last tunable model gets those of Vertex AI's too.

    It gets the names that no other model has.
    """
    names = {name for model in models for name in (model.name, *(alias.name for alias in model.aliases))}
    free = [alias for alias in VERTEX if alias.name not in names]
    return tuple(
        replace(model, aliases=(*model.aliases, *(with_description(each, model.display_name) for each in free)))
        if any(alias.name == _LAST_OF_GEMINI for alias in model.aliases)
        else model
        for model in models
    )
