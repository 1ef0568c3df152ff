"""Tuned models and their operations: the create request inward, models and operations outward.

Source: gemini-api sections 7 to 9; google/ai/generativelanguage/v1beta/{tuned_model,model_service}.proto.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from tuningfork.domain.dataset import MAX_REPORTED_VIOLATIONS, Example
from tuningfork.domain.errors import FieldViolation, InvalidArgument, RpcCode
from tuningfork.domain.hyperparameters import RequestedHyperparameters
from tuningfork.domain.tuned_model import TunedModel
from tuningfork.domain.tuning_job import JobState, Snapshot, TuningJob, TuningRequest
from tuningfork.wire.errors import Relocation, render_status
from tuningfork.wire.gemini import tuning_messages as messages
from tuningfork.wire.proto_json.decode import Fields, decode, decode_query
from tuningfork.wire.proto_json.encode import Typed
from tuningfork.wire.proto_json.text import read

_TASK = "tuned_model.tuning_task"
_EXAMPLES = f"{_TASK}.training_data.examples.examples"

CREATE = Relocation(
    "CreateTunedModelRequest",
    {
        "": "tuned_model.",
        "tuned_model_id": "tuned_model_id",
        "examples": _EXAMPLES,
        "hyperparameters": f"{_TASK}.hyperparameters",
    },
    # An SDK that loses the training data on its way should hear its name.
    {"examples": f"{_TASK}.training_data"},
)
"""Where the fields of a `TuningRequest` sit in a create request."""


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


def _refuse(model: Fields, examples: list[Fields]) -> None:
    """What the domain has no words for."""
    found: list[FieldViolation] = []
    if "tuned_model_source" in model:
        found.append(
            FieldViolation(
                field="tuned_model.tuned_model_source",
                description="this server tunes base models only; name one in base_model",
            )
        )
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


def parse_cancel(body: bytes) -> None:
    """Pass the body of a cancel request: nothing, `{}`, or the name that is in the path already.

    Raises:
        InvalidArgument: anything else.

    """
    decode(messages.CANCEL_OPERATION_REQUEST, read(body))


def render_operation(model: TunedModel, job: TuningJob) -> Typed:
    """The long-running operation that a tuning job looks like from outside."""
    fields: dict[str, Any] = {
        "name": f"{model.name}/operations/{job.id}",
        "metadata": _metadata(model, job),
        "done": job.state.is_final,
    }
    if job.state is JobState.SUCCEEDED:
        fields["response"] = render_tuned_model(model, job)
    elif job.state.is_final:
        fields["error"] = _error(job).fields
    return Typed(messages.OPERATION, fields)


def render_tuned_model(model: TunedModel, job: TuningJob) -> Typed:
    """A tuned model with the task that makes it; never its training data.

    The learning rate is always the one in use, also when a multiplier led to it: google-generativeai breaks on a
    model that shows the multiplier, and its operation polls do not say who is asking.
    """
    fields = {
        "name": model.name,
        "base_model": model.base_model,
        "display_name": model.display_name,
        "description": model.description,
        "state": model.state.value,
        "create_time": model.create_time,
        "update_time": model.update_time,
        "tuning_task": {
            "start_time": job.start_time,
            "complete_time": job.complete_time,
            "snapshots": _snapshots(job.snapshots),
            "hyperparameters": {
                "epoch_count": job.hyperparameters.epoch_count,
                "batch_size": job.hyperparameters.batch_size,
                "learning_rate": job.hyperparameters.learning_rate,
            },
        },
        "temperature": model.temperature,
        "top_p": model.top_p,
        "top_k": model.top_k,
        "reader_project_numbers": model.reader_project_numbers,
    }
    return Typed(messages.TUNED_MODEL, fields)


def render_tuned_models(tuned: Iterable[tuple[TunedModel, TuningJob]], next_page_token: str) -> Typed:
    """One page of the list."""
    models = [render_tuned_model(model, job).fields for model, job in tuned]
    return Typed(messages.LIST_TUNED_MODELS_RESPONSE, {"tuned_models": models, "next_page_token": next_page_token})


def render_empty() -> Typed:
    """The answer of methods that have nothing to say."""
    return Typed(messages.EMPTY, {})


def _metadata(model: TunedModel, job: TuningJob) -> Typed:
    fields = {
        "total_steps": job.total_steps,
        "completed_steps": job.completed_steps,
        "completed_percent": 100 * job.completed_steps / job.total_steps,
        "snapshots": _snapshots(job.snapshots),
        "tuned_model": model.name,
    }
    return Typed(messages.CREATE_TUNED_MODEL_METADATA, fields)


def _snapshots(snapshots: Iterable[Snapshot]) -> list[dict[str, Any]]:
    return [
        {"step": each.step, "epoch": each.epoch, "mean_loss": each.mean_loss, "compute_time": each.compute_time}
        for each in snapshots
    ]


def _error(job: TuningJob) -> Typed:
    if job.error is not None:
        return render_status(job.error.code, job.error.message)
    if job.state is JobState.CANCELLED:
        return render_status(RpcCode.CANCELLED, "The tuning job was cancelled.")
    return render_status(RpcCode.INTERNAL, "The tuning job failed.")
