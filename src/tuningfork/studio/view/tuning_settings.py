"""What a person has typed into the form of settings, and the request that it makes.

Everything is kept as it was typed, so that a number that is half written is not lost. A field that is left empty has
the server's default. Which numbers are allowed is the server's to say.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Json = Mapping[str, Any]

TEXTS = ("displayName", "description")
WHOLE_NUMBERS = ("epochCount", "batchSize", "adapterRank", "patience")
NUMBERS = ("learningRate", "heldOutPercent")
PROBES = tuple(f"probe{number}" for number in range(1, 6))
FIELDS = ("source", *TEXTS, *WHOLE_NUMBERS, *NUMBERS, *PROBES)
"""The names of all fields. `source` is the base model or the tuned model that the new one begins as; `probe1` and so on
are prompts that are asked before the training and after its epochs."""

_MOST_CHARACTERS = 4_000
_TUNED = "tunedModels/"
_FIELDS_OF_THE_API = {
    "display_name": "displayName",
    "description": "description",
    "epoch_count": "epochCount",
    "batch_size": "batchSize",
    "learning_rate": "learningRate",
    "adapter_rank": "adapterRank",
    "held_out_percent": "heldOutPercent",
    "patience": "patience",
    "base_model": "source",
    "tuned_model_source": "source",
}


@dataclass(frozen=True, slots=True)
class TypedSettings:
    """The fields of the form by their names, each as it was typed; "" is a field that was left empty."""

    values: Mapping[str, str]

    def __getitem__(self, name: str) -> str:
        return self.values.get(name, "")

    def not_numbers(self) -> tuple[str, ...]:
        """The names of the fields that hold something else than the number that belongs there."""
        wrong = [name for name in WHOLE_NUMBERS if self[name] and _whole_number(self[name]) is None]
        wrong += [name for name in NUMBERS if self[name] and _number(self[name]) is None]
        if self["patience"] and not self["heldOutPercent"]:
            # Early stopping is judged by the examples that are held out.
            wrong.append("heldOutPercent")
        return tuple(wrong)

    def start_of(self) -> dict[str, str]:
        """The field of a request that says what the new model begins as; none while nothing is chosen."""
        if not self["source"]:
            return {}
        return {"tunedModel" if self["source"].startswith(_TUNED) else "baseModel": self["source"]}

    def body(self, dataset: str) -> dict[str, Any]:
        """The tuned model that is asked for. Fields that hold no number are left out.

        Args:
            dataset: the name of the data set, `datasets/x`.

        """
        model: dict[str, Any] = {name: self[name] for name in TEXTS if self[name]}
        if self["source"].startswith(_TUNED):
            model["tunedModelSource"] = {"tunedModel": self["source"]}
        elif self["source"]:
            model["baseModel"] = self["source"]
        task: dict[str, Any] = {"dataset": dataset}
        if prompts := [self[name] for name in PROBES if self[name]]:
            task["probePrompts"] = prompts
        if chosen := self._hyperparameters():
            task["hyperparameters"] = chosen
        if (held_out := _number(self["heldOutPercent"])) is not None:
            task["validation"] = {"heldOutPercent": held_out}
            if (patience := _whole_number(self["patience"])) is not None:
                task["validation"]["earlyStopping"] = {"patience": patience}
        return {**model, "tuningTask": task}

    def query(self) -> dict[str, str]:
        """The settings that creating takes beside its body."""
        rank = _whole_number(self["adapterRank"])
        return {} if rank is None else {"adapterRank": str(rank)}

    def _hyperparameters(self) -> dict[str, float | int]:
        chosen: dict[str, float | int | None] = {
            "epochCount": _whole_number(self["epochCount"]),
            "batchSize": _whole_number(self["batchSize"]),
            "learningRate": _number(self["learningRate"]),
        }
        return {name: value for name, value in chosen.items() if value is not None}


def typed_settings(draft: object, *, source: str = "", display_name: str = "") -> TypedSettings:
    """What is kept of the form in a data set's draft, whatever a script may have put there.

    Args:
        draft: the draft.
        source: what is chosen before anybody has chosen anything.
        display_name: the same for the new model's name.

    """
    kept = draft.get("settings") if isinstance(draft, Mapping) else None
    found = form_values(kept if isinstance(kept, Mapping) else {})
    return TypedSettings({"source": source, "displayName": display_name, **found})


def form_values(form: Mapping[Any, Any]) -> dict[str, str]:
    """The fields of the form among these, without blanks at their ends."""
    return {name: form[name].strip()[:_MOST_CHARACTERS] for name in FIELDS if isinstance(form.get(name), str)}


def field_of(path: str) -> str:
    """The field of the form that a path in the API's errors means; "": none.

    `tuned_model.tuning_task.hyperparameters.epoch_count` is `epochCount`.
    """
    parts = [_field(part) for part in reversed(path.split("."))]
    return next((part for part in parts if part), "")


def _field(part: str) -> str | None:
    name, _, index = part.removesuffix("]").partition("[")
    if name == "probe_prompts":
        return PROBES[min(int(index), len(PROBES) - 1)] if index.isdecimal() else PROBES[0]
    return _FIELDS_OF_THE_API.get(part)


def _number(text: str) -> float | None:
    """The number that a person means, also one with a decimal comma; None: it is none."""
    try:
        value = float(text.replace(",", ".") if text.count(",") == 1 and "." not in text else text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _whole_number(text: str) -> int | None:
    value = _number(text)
    return int(value) if value is not None and value == int(value) else None
