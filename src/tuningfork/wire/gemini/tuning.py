"""Tuned models: parses requests to create, change and list them, and renders them.

Source: gemini-api sections 7 to 9; google/ai/generativelanguage/v1beta/{tuned_model,model_service}.proto.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from itertools import islice
from typing import Any

from tuningfork.domain.conversation import Conversation
from tuningfork.domain.dataset import MAX_REPORTED_VIOLATIONS, Examples
from tuningfork.domain.errors import FieldViolation, Reason
from tuningfork.domain.hyperparameters import RequestedHyperparameters
from tuningfork.domain.references import TunedRef, UnreadableName
from tuningfork.domain.snapshot_grid import MOST_SNAPSHOTS
from tuningfork.domain.tuned_model import Changeable, ModelChange, TunedModel
from tuningfork.domain.tuning_job import Snapshot, TuningJob, TuningRequest
from tuningfork.wire.gemini import tuning_messages as messages
from tuningfork.wire.gemini.multiturn import ExampleWords, faults_of, parse_conversation
from tuningfork.wire.gemini.multiturn_messages import with_conversations
from tuningfork.wire.gemini.names import tuned_id, tuned_name
from tuningfork.wire.google.proto_json.decode import Fields, decode, decode_query
from tuningfork.wire.google.proto_json.descriptors import Message
from tuningfork.wire.google.proto_json.encode import (
    PrintedChunk,
    PrintedList,
    Typed,
    is_not_plus_zero,
    shortest_float,
)
from tuningfork.wire.google.proto_json.text import read
from tuningfork.wire.google.proto_json.timestamps import format_timestamp
from tuningfork.wire.google.requests import RequestWords, refused
from tuningfork.wire.google.update_masks import masked_fields

_TASK = "tuned_model.tuning_task"
_EXAMPLES = f"{_TASK}.training_data.examples.examples"
_CONVERSATIONS = f"{_TASK}.training_data.examples.multiturn_examples"
_SOURCE = "tuned_model.tuned_model_source"
_WITH_CONVERSATIONS = with_conversations(messages.TUNED_MODEL)
_CHUNK = 50
"""How many snapshots are printed together, and again while the last of them are not there yet."""

CREATE = RequestWords(
    "CreateTunedModelRequest",
    {
        "": "tuned_model.",
        "tuned_model_id": "tuned_model_id",
        "examples": _EXAMPLES,
        "hyperparameters": f"{_TASK}.hyperparameters",
        # A parameter of the server's own method only.
        "adapter_rank": "adapter_rank",
        "tuned_model_source": f"{_SOURCE}.tuned_model",
    },
    # One SDK drops the training data before it sends the request; the error should name the field as the SDK does.
    {"examples": f"{_TASK}.training_data"},
    described={
        ("base_model", Reason.MISSING): "base_model is required, such as models/...",
        ("tuned_model_source", Reason.MALFORMED): (
            "tuned_model must be the name of a tuned model, such as tunedModels/..."
        ),
    },
    method="createTunedModel",
)
"""The request's part of errors about a `TuningRequest`."""

UPDATE = RequestWords("UpdateTunedModelRequest", {"": "tuned_model."}, method="updateTunedModel")
"""The request's part of errors about a `ModelChange`."""

LIST = RequestWords("ListTunedModelsRequest", sentences=False)
"""The request's part of errors about a page."""

_CHANGEABLE = tuple(field.value for field in Changeable)


@dataclass(frozen=True, slots=True, kw_only=True)
class ListQuery:
    """The page and the filter that a caller asks for. `page_size` None: the default size."""

    page_size: int | None
    page_token: str
    filter: str


def parse_create(body: bytes, query: Mapping[str, str]) -> TuningRequest:
    """The request to tune, from the TunedModel in the body and the id in the query.

    Raises:
        InvalidArgument: the body is not JSON or not a TunedModel, or an example has no input.

    """
    return _creation(body, query, messages.TUNED_MODEL)[0]


def parse_multiturn_create(body: bytes, query: Mapping[str, str]) -> tuple[TuningRequest, RequestWords]:
    """The same as `v1alpha` has it, where examples may be conversations too, and how faults of it are told.

    Raises:
        InvalidArgument: what `parse_create` refuses, or a conversation without turns, roles or texts.

    """
    return _creation(body, query, _WITH_CONVERSATIONS)


def _creation(body: bytes, query: Mapping[str, str], message: Message) -> tuple[TuningRequest, RequestWords]:
    return creation_of(decode(message, read(body), "tuned_model"), query)


def creation_of(model: Fields, query: Mapping[str, str]) -> tuple[TuningRequest, RequestWords]:
    """The request to tune from the fields of a TunedModel of `v1alpha`, and how faults of it are told.

    Raises:
        InvalidArgument: as in `parse_multiturn_create`.

    """
    chosen = decode_query(messages.CREATE_TUNED_MODEL_QUERY, query)
    task = model.get("tuning_task", {})
    held = task.get("training_data", {}).get("examples", {})
    _refuse(model, held)
    request = TuningRequest(
        base_model=model.get("base_model", ""),
        source=_source(model.get("tuned_model_source", {}).get("tuned_model", "")),
        examples=examples_of(held),
        hyperparameters=RequestedHyperparameters(**task.get("hyperparameters", {})),
        tuned_model_id=chosen.get("tuned_model_id") or None,
        display_name=model.get("display_name", ""),
        description=model.get("description", ""),
        temperature=model.get("temperature"),
        top_p=model.get("top_p"),
        top_k=model.get("top_k"),
        reader_project_numbers=tuple(model.get("reader_project_numbers", ())),
    )
    if not held.get("multiturn_examples"):
        return request, CREATE
    shared = {each.name: getattr(CREATE, each.name) for each in fields(CREATE)}
    return request, ExampleWords(**shared, pairs=len(held.get("examples", ())), conversations_path=_CONVERSATIONS)


def examples_of(held: Fields) -> Examples:
    """The examples of a TuningExamples without faults (`faults_of_examples`): pairs, then conversations."""
    return (
        *(Conversation.pair(each["text_input"], each.get("output", "")) for each in held.get("examples", ())),
        *map(parse_conversation, held.get("multiturn_examples", ())),
    )


def faults_of_examples(held: Fields, path: str) -> Iterator[FieldViolation]:
    """Everything in a TuningExamples, which is at this path, that has no counterpart in the domain's examples."""
    for index, example in enumerate(held.get("examples", ())):
        if "text_input" not in example:
            yield FieldViolation(field=f"{path}.examples[{index}].text_input", description="text_input is missing")
    for index, example in enumerate(held.get("multiturn_examples", ())):
        yield from faults_of(example, f"{path}.multiturn_examples[{index}]")


def _source(name: str) -> TunedRef | UnreadableName | None:
    if not name:
        return None
    found = tuned_id(name)
    return UnreadableName(name) if found is None else TunedRef(found)


def parse_update(body: bytes, query: Mapping[str, str]) -> ModelChange:
    """The change that a request asks for, from the TunedModel in the body and the mask in the query.

    With a mask, the fields that it names change; a named field that the body lacks is cleared. Without a mask, the
    fields that the body sets change. All other fields of the body are ignored, since SDKs send whole models back.

    Raises:
        InvalidArgument: the body is not JSON or not a TunedModel, or the mask names a field that cannot change.

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
    """Whether a field is in the message and, if it has no explicit presence, has not its default value."""
    return name in model and (messages.TUNED_MODEL.by_key[name].has_presence or model[name] not in ("", []))


def _refuse(model: Fields, held: Fields) -> None:
    """Refuse faults of a create request that have no counterpart in the domain's request."""
    found: list[FieldViolation] = []
    if "tuned_model_source" in model and not model["tuned_model_source"].get("tuned_model"):
        described = "tuned_model is missing; name the tuned model to go on from, such as tunedModels/..."
        found.append(FieldViolation(field=f"{_SOURCE}.tuned_model", description=described))
    found.extend(islice(faults_of_examples(held, _EXAMPLES.rpartition(".")[0]), MAX_REPORTED_VIOLATIONS))
    if found:
        raise refused(CREATE.request, tuple(found))


def parse_list(query: Mapping[str, str]) -> ListQuery:
    """The page and the filter that a query asks for."""
    fields = decode_query(messages.LIST_TUNED_MODELS_QUERY, query)
    return ListQuery(
        page_size=fields.get("page_size"),
        page_token=fields.get("page_token", ""),
        filter=fields.get("filter", ""),
    )


def reads_multiplier(client: str | None) -> bool:
    """Whether a client can read a model with the field `learningRateMultiplier`.

    The SDK google-generativeai raises TypeError on it, and then fails to read a whole list. Usually it sends the name
    `genai-py/`, but when it polls operations it sends only the names of its libraries (`gl-python/... gapic/...`). So
    only clients that are known to read the field get it: newer SDKs, and clients that send no name, such as curl.

    Args:
        client: the value of `X-Goog-Api-Client`; "" if it was not sent, None if the transport does not know it.

    """
    return client is not None and (not client or client.startswith("google-genai-sdk/"))


def render_tuned_model(model: TunedModel, job: TuningJob, *, multiplier: bool = False) -> Typed:
    """A tuned model with its tuning task, without its training data.

    The task of an imported model has times only. With `multiplier`, a model that was tuned with a learning rate
    multiplier shows the multiplier instead of the rate.
    """
    shown = {
        "name": tuned_name(model.id),
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
            **_hyperparameters(job, multiplier=multiplier),
        },
        "temperature": model.temperature,
        "top_p": model.top_p,
        "top_k": model.top_k,
        "reader_project_numbers": model.reader_project_numbers,
    }
    return Typed(messages.TUNED_MODEL, shown)


def render_tuned_models(
    tuned: Iterable[tuple[TunedModel, TuningJob]], next_page_token: str, *, multiplier: bool = False
) -> Typed:
    """One page of the list."""
    models = [render_tuned_model(model, job, multiplier=multiplier).fields for model, job in tuned]
    return Typed(messages.LIST_TUNED_MODELS_RESPONSE, {"tuned_models": models, "next_page_token": next_page_token})


def render_snapshots(snapshots: Sequence[Snapshot]) -> PrintedList:
    """The steps of a job so far, as models and operations show them."""
    begins = range(0, len(snapshots), _CHUNK)
    return PrintedList([_printed(tuple(snapshots[begin : begin + _CHUNK])) for begin in begins])


@lru_cache(maxsize=8 * MOST_SNAPSHOTS // _CHUNK)
def _printed(snapshots: tuple[Snapshot, ...]) -> PrintedChunk:
    """A snapshot never changes, and whoever polls is sent all of them again and again.

    The first poll prints thousands, so they are not printed by the message's table, which takes three times as long.
    """
    return PrintedChunk([_printed_one(each) for each in snapshots])


def _printed_one(snapshot: Snapshot) -> dict[str, Any]:
    printed: dict[str, Any] = {"step": snapshot.step}
    if snapshot.epoch:
        printed["epoch"] = snapshot.epoch
    if is_not_plus_zero(snapshot.mean_loss):
        printed["meanLoss"] = shortest_float(snapshot.mean_loss)
    printed["computeTime"] = format_timestamp(snapshot.compute_time)
    return printed


def _origin(model: TunedModel) -> dict[str, Any]:
    """The field of `source_model` that is set. A tuned source also has the base model at its root, which SDKs need."""
    if model.source is None:
        return {"base_model": model.base_model}
    return {"tuned_model_source": {"tuned_model": tuned_name(model.source), "base_model": model.base_model}}


def _hyperparameters(job: TuningJob, *, multiplier: bool) -> dict[str, Any]:
    """The field of the hyperparameters, unless nobody knows them: of an adapter from elsewhere, or not yet."""
    if job.imported or not job.is_prepared:
        return {}
    used = job.hyperparameters
    shown: dict[str, Any] = {"epoch_count": used.epoch_count, "batch_size": used.batch_size}
    if multiplier and used.learning_rate_multiplier is not None:
        shown["learning_rate_multiplier"] = used.learning_rate_multiplier
    else:
        shown["learning_rate"] = used.learning_rate
    return {"hyperparameters": shown}
