"""Tuned models: requests to make, change and list them inward, the models outward.

Source: gemini-api sections 7 to 9; google/ai/generativelanguage/v1beta/{tuned_model,model_service}.proto.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from tuningfork.domain.dataset import MAX_REPORTED_VIOLATIONS, Example
from tuningfork.domain.errors import FieldViolation, InvalidArgument
from tuningfork.domain.hyperparameters import Hyperparameters, RequestedHyperparameters
from tuningfork.domain.tuned_model import Changeable, ModelChange, TunedModel
from tuningfork.domain.tuning_job import Snapshot, TuningJob, TuningRequest
from tuningfork.wire.errors import Relocation
from tuningfork.wire.gemini import tuning_messages as messages
from tuningfork.wire.gemini.update_masks import masked_fields
from tuningfork.wire.proto_json.decode import Fields, decode, decode_query
from tuningfork.wire.proto_json.encode import Typed
from tuningfork.wire.proto_json.text import read

_TASK = "tuned_model.tuning_task"
_EXAMPLES = f"{_TASK}.training_data.examples.examples"
_SOURCE = "tuned_model.tuned_model_source"

CREATE = Relocation(
    "CreateTunedModelRequest",
    {
        "": "tuned_model.",
        "tuned_model_id": "tuned_model_id",
        "examples": _EXAMPLES,
        "hyperparameters": f"{_TASK}.hyperparameters",
        "tuned_model_source": f"{_SOURCE}.tuned_model",
    },
    # An SDK that loses the training data on its way should hear its name.
    {"examples": f"{_TASK}.training_data"},
)
"""Where the fields of a `TuningRequest` sit in a create request."""

UPDATE = Relocation("UpdateTunedModelRequest", {"": "tuned_model."}, {})
"""Where the fields of a `ModelChange` sit in an update request."""

_CHANGEABLE = tuple(field.value for field in Changeable)


@dataclass(frozen=True, slots=True, kw_only=True)
class ListQuery:
    """What a caller asks of the list. `page_size` None is the usual one."""

    page_size: int | None
    page_token: str
    filter: str


def parse_create(body: bytes, query: Mapping[str, str]) -> TuningRequest:
    """The request to tune, from the TunedModel in the body and the id in the query.

    Raises:
        InvalidArgument: no JSON, no TunedModel, or an example without input.

    """
    chosen = decode_query(messages.CREATE_TUNED_MODEL_QUERY, query)
    model = decode(messages.TUNED_MODEL, read(body), "tuned_model")
    task = model.get("tuning_task", {})
    examples = task.get("training_data", {}).get("examples", {}).get("examples", [])
    _refuse(model, examples)
    return TuningRequest(
        base_model=model.get("base_model", ""),
        tuned_model_source=model.get("tuned_model_source", {}).get("tuned_model", ""),
        examples=tuple(Example(each["text_input"], each.get("output", "")) for each in examples),
        hyperparameters=RequestedHyperparameters(**task.get("hyperparameters", {})),
        tuned_model_id=chosen.get("tuned_model_id") or None,
        display_name=model.get("display_name", ""),
        description=model.get("description", ""),
        temperature=model.get("temperature"),
        top_p=model.get("top_p"),
        top_k=model.get("top_k"),
        reader_project_numbers=tuple(model.get("reader_project_numbers", ())),
    )


def parse_update(body: bytes, query: Mapping[str, str]) -> ModelChange:
    """What is to change, from the TunedModel in the body and the mask in the query.

    With a mask the fields that it names change, and one that the body lacks is cleared. Without one the fields
    change that the body sets. Whatever else the body holds is read and left alone: SDKs send whole models back.

    Raises:
        InvalidArgument: no JSON, no TunedModel, or a mask that names what cannot be changed.

    """
    asked = decode_query(messages.UPDATE_TUNED_MODEL_QUERY, query)
    model = decode(messages.TUNED_MODEL, read(body), "tuned_model")
    set_here = {name: model[name] for name in _CHANGEABLE if _is_set(model, name)}
    mask = asked.get("update_mask", ())
    names = masked_fields(mask, messages.TUNED_MODEL, _CHANGEABLE, UPDATE.request) if mask else set_here.keys()
    values = {name: value for name, value in set_here.items() if name in names}
    if "reader_project_numbers" in values:
        values["reader_project_numbers"] = tuple(values["reader_project_numbers"])
    return ModelChange(fields=frozenset(map(Changeable, names)), **values)


def _is_set(model: Fields, name: str) -> bool:
    """Whether a field is there and, if it has no presence, holds more than its default."""
    return name in model and (messages.TUNED_MODEL.by_key[name].has_presence or model[name] not in ("", []))


def _refuse(model: Fields, examples: list[Fields]) -> None:
    """What the domain has no words for."""
    found: list[FieldViolation] = []
    if "tuned_model_source" in model and not model["tuned_model_source"].get("tuned_model"):
        described = "tuned_model is missing; name the tuned model to go on from, such as tunedModels/..."
        found.append(FieldViolation(field=f"{_SOURCE}.tuned_model", description=described))
    missing = (
        FieldViolation(field=f"{_EXAMPLES}[{index}].text_input", description="text_input is missing")
        for index, example in enumerate(examples)
        if "text_input" not in example
    )
    found.extend(islice(missing, MAX_REPORTED_VIOLATIONS))
    if found:
        raise InvalidArgument.of(CREATE.request, tuple(found))


def parse_list(query: Mapping[str, str]) -> ListQuery:
    """The page and the filter that a query asks for."""
    fields = decode_query(messages.LIST_TUNED_MODELS_QUERY, query)
    return ListQuery(
        page_size=fields.get("page_size"),
        page_token=fields.get("page_token", ""),
        filter=fields.get("filter", ""),
    )


def refuse_query(query: Mapping[str, str]) -> None:
    """Pass the query of a method that has no parameters of its own.

    Raises:
        InvalidArgument: naming every parameter that is there.

    """
    decode_query(messages.EMPTY, query)


def reads_multiplier(client: str | None) -> bool:
    """Whether a model may be shown with its `learningRateMultiplier` to the client that names itself so.

    google-generativeai raises TypeError on it, and one such model costs it a whole list. It names itself `genai-py/`,
    but where it polls operations only the libraries beneath it (`gl-python/... gapic/...`) are named. So only those
    are shown the multiplier who are known to take it: the SDKs after that one, and who names nothing, such as curl.

    Args:
        client: the value of `X-Goog-Api-Client`, "" if it was not sent; None where the carrier cannot tell.

    """
    return client is not None and (not client or client.startswith("google-genai-sdk/"))


def render_tuned_model(model: TunedModel, job: TuningJob, *, multiplier: bool = False) -> Typed:
    """A tuned model with the task that makes it; never its training data.

    With `multiplier` one that led to the learning rate is shown in its place, else always the rate in use.
    """
    fields = {
        "name": model.name,
        **_origin(model),
        "display_name": model.display_name,
        "description": model.description,
        "state": model.state.value,
        "create_time": model.create_time,
        "update_time": model.update_time,
        "tuning_task": {
            "start_time": job.start_time,
            "complete_time": job.complete_time,
            "snapshots": render_snapshots(job.snapshots),
            "hyperparameters": _hyperparameters(job.hyperparameters, multiplier=multiplier),
        },
        "temperature": model.temperature,
        "top_p": model.top_p,
        "top_k": model.top_k,
        "reader_project_numbers": model.reader_project_numbers,
    }
    return Typed(messages.TUNED_MODEL, fields)


def render_tuned_models(
    tuned: Iterable[tuple[TunedModel, TuningJob]], next_page_token: str, *, multiplier: bool = False
) -> Typed:
    """One page of the list."""
    models = [render_tuned_model(model, job, multiplier=multiplier).fields for model, job in tuned]
    return Typed(messages.LIST_TUNED_MODELS_RESPONSE, {"tuned_models": models, "next_page_token": next_page_token})


def render_snapshots(snapshots: Iterable[Snapshot]) -> list[dict[str, Any]]:
    """The steps of a job so far, as models and operations show them."""
    return [
        {"step": each.step, "epoch": each.epoch, "mean_loss": each.mean_loss, "compute_time": each.compute_time}
        for each in snapshots
    ]


def render_empty() -> Typed:
    """The answer of methods that have nothing to say."""
    return Typed(messages.EMPTY, {})


def _origin(model: TunedModel) -> dict[str, Any]:
    """One of the members of `source_model`; a tuned source shows the base at its root too, which SDKs look for."""
    if model.source is None:
        return {"base_model": model.base_model}
    return {"tuned_model_source": {"tuned_model": f"tunedModels/{model.source}", "base_model": model.base_model}}


def _hyperparameters(used: Hyperparameters, *, multiplier: bool) -> dict[str, Any]:
    shown: dict[str, Any] = {"epoch_count": used.epoch_count, "batch_size": used.batch_size}
    if multiplier and used.learning_rate_multiplier is not None:
        return {**shown, "learning_rate_multiplier": used.learning_rate_multiplier}
    return {**shown, "learning_rate": used.learning_rate}
