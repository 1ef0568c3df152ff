"""Registered models and their endpoints, as Vertex AI's API shows and changes them.

Source: vertex-api sections 2.3, 3.9 and 4.4; google/cloud/aiplatform/v1/{model,endpoint}.proto.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tuningfork.domain.checkpoint import Checkpoint, endpoint_number
from tuningfork.domain.errors import FieldViolation
from tuningfork.domain.tuned_model import Changeable, ModelChange, TunedModel
from tuningfork.domain.tuning_job import TuningJob
from tuningfork.wire.google.proto_json.decode import Fields, decode, decode_query
from tuningfork.wire.google.proto_json.descriptors import Message
from tuningfork.wire.google.proto_json.encode import Typed
from tuningfork.wire.google.proto_json.scalars import shown
from tuningfork.wire.google.proto_json.text import read
from tuningfork.wire.google.requests import refused
from tuningfork.wire.google.update_masks import masked_fields
from tuningfork.wire.vertex import registry_messages as messages
from tuningfork.wire.vertex.filters import Condition, parse_filter
from tuningfork.wire.vertex.names import endpoint_name, model_name, number_in, place_of_model, version_name
from tuningfork.wire.vertex.packages import PACKAGES

BASE_LABEL = "google-vertex-llm-tuning-base-model-id"
JOB_LABEL = "google-vertex-llm-tuning-job-id"
TYPE_LABEL = "tune-type"
"""Labels that every tuned model has. Programs list tuned models by the last one."""

_SUPERVISED, _PREFERENCES = "sft", "preference"
_MODEL_FIELDS = ("name", "display_name", "description", "create_time", "update_time", "version_id")
_ENDPOINT_FIELDS = ("name", "display_name", "create_time", "update_time")
_CHANGEABLE = ("display_name", "description", "default_checkpoint_id")


@dataclass(frozen=True, slots=True, kw_only=True)
class ListQuery:
    """Which page of a list a caller asks for. `page_size` None: the default size."""

    conditions: tuple[Condition, ...] = ()
    page_size: int | None
    page_token: str

    @property
    def constant(self) -> str:
        """What must stay the same from page to page."""
        return repr(self.conditions)


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchedModel:
    """A requested change of a model. `default_checkpoint` None: the default checkpoint stays."""

    change: ModelChange
    default_checkpoint: int | None


def parse_list_models(query: Mapping[str, str], repeated: Mapping[str, tuple[str, ...]]) -> ListQuery:
    """The page of models that a query asks for.

    Raises:
        InvalidArgument: a parameter is unknown, or the filter cannot be read.

    """
    return _list_query(messages.LIST_MODELS_QUERY, query, repeated, _MODEL_FIELDS)


def parse_list_versions(query: Mapping[str, str], repeated: Mapping[str, tuple[str, ...]]) -> ListQuery:
    """The page of versions that a query asks for.

    Raises:
        InvalidArgument: a parameter is unknown, or the filter cannot be read.

    """
    return _list_query(messages.LIST_VERSIONS_QUERY, query, repeated, _MODEL_FIELDS)


def parse_list_endpoints(query: Mapping[str, str], repeated: Mapping[str, tuple[str, ...]]) -> ListQuery:
    """The page of endpoints that a query asks for.

    Raises:
        InvalidArgument: a parameter is unknown, or the filter cannot be read.

    """
    return _list_query(messages.LIST_ENDPOINTS_QUERY, query, repeated, _ENDPOINT_FIELDS)


def parse_list_checkpoints(query: Mapping[str, str]) -> ListQuery:
    """The page of checkpoints that a query asks for.

    Raises:
        InvalidArgument: a parameter is unknown.

    """
    fields = decode_query(messages.LIST_CHECKPOINTS_QUERY, query)
    return ListQuery(page_size=fields.get("page_size"), page_token=fields.get("page_token", ""))


def parse_patch(query: Mapping[str, str], body: bytes) -> PatchedModel:
    """The change in a Model. Without an update mask the fields that are in the body change, as google-genai means it.

    Raises:
        InvalidArgument: the body is no Model, a field cannot be changed, or the checkpoint's id is none.

    """
    fields = decode(PACKAGES["v1"].message(messages.MODEL), read(body))
    mask = decode_query(messages.UPDATE_QUERY, query).get("update_mask")
    request = "UpdateModelRequest"
    if mask is None:
        wanted = frozenset(fields) & frozenset(_CHANGEABLE)
        fixed = [name for name in fields if name not in _CHANGEABLE and name not in _PASSED_OVER]
        if fixed:
            reason = f"{fixed[0]} cannot be changed; {', '.join(_CHANGEABLE)} can"
            raise refused(request, (FieldViolation(field=f"model.{fixed[0]}", description=reason),))
    else:
        wanted = masked_fields(mask, messages.MODEL, _CHANGEABLE, request)
    checkpoint = None
    if "default_checkpoint_id" in wanted:
        checkpoint = number_in(fields.get("default_checkpoint_id", ""))
        if checkpoint is None:
            given = shown(fields.get("default_checkpoint_id", ""))
            reason = f"default_checkpoint_id must be the id of one of the model's checkpoints; {given} is none"
            raise refused(request, (FieldViolation(field="model.default_checkpoint_id", description=reason),))
    change = ModelChange(
        fields=frozenset(Changeable(name) for name in wanted if name != "default_checkpoint_id"),
        display_name=fields.get("display_name", ""),
        description=fields.get("description", ""),
    )
    return PatchedModel(change=change, default_checkpoint=checkpoint)


_PASSED_OVER = ("name", "etag")
"""Fields of a Model that name what is changed."""


def parse_merge_aliases(body: bytes) -> tuple[str, ...]:
    """The aliases in a MergeVersionAliasesRequest.

    Raises:
        InvalidArgument: the body is no such request, or has no aliases.

    """
    fields = decode(PACKAGES["v1"].message(messages.MERGE_ALIASES_REQUEST), read(body))
    aliases = tuple(fields.get("version_aliases", ()))
    wrong = [each for each in aliases if not _is_alias(each.removeprefix("-"))]
    if wrong or not aliases:
        given = f"; {shown(wrong[0])} was given" if wrong else ""
        reason = f"version_aliases must be names of a letter and letters, digits or dashes, at most 128{given}"
        raise refused("MergeVersionAliasesRequest", (FieldViolation(field="version_aliases", description=reason),))
    return aliases


def _is_alias(text: str) -> bool:
    plain = text.replace("-", "")
    return text[:1].isalpha() and text.isascii() and plain.isalnum() and text == text.lower() and len(text) <= 128


def labels_of(model: TunedModel, job: TuningJob) -> dict[str, str]:
    """The labels of a model and of its endpoints: the owner's, and those that tell where it comes from."""
    over_preferences = job.hyperparameters.objective.over_preferences
    return {
        **model.labels,
        BASE_LABEL: model.base_model.removeprefix("models/"),
        JOB_LABEL: str(model.number),
        TYPE_LABEL: _PREFERENCES if over_preferences else _SUPERVISED,
    }


def model_values(model: TunedModel, job: TuningJob) -> dict[str, Any]:
    """What the filter of a list of models compares."""
    return {
        "name": model_name(place_of_model(model), model.registry_model),
        "display_name": model.display_name,
        "description": model.description,
        "create_time": model.create_time,
        "update_time": model.update_time,
        "version_id": str(model.version),
        "labels": labels_of(model, job),
    }


def render_model(model: TunedModel, job: TuningJob, checkpoints: Sequence[Checkpoint], version: str) -> Typed:
    """A model's version, with its checkpoints and their endpoints.

    Args:
        model: the tuned model.
        job: the job that makes it.
        checkpoints: those that the job has left so far.
        version: the version of the API.

    """
    place = place_of_model(model)
    deployed = [(each, each.answers_at) for each in checkpoints if each.answers_at is not None]
    fields = {
        "name": model_name(place, model.registry_model),
        "version_id": str(model.version),
        "version_aliases": list(model.version_aliases),
        "version_create_time": model.create_time,
        "version_update_time": model.update_time,
        "display_name": model.display_name,
        "description": model.description,
        "default_checkpoint_id": None if model.default_checkpoint is None else str(model.default_checkpoint),
        "create_time": model.create_time,
        "update_time": model.update_time,
        "deployed_models": [
            {
                "endpoint": endpoint_name(place, number),
                "deployed_model_id": str(number),
                "checkpoint_id": str(each.number),
            }
            for each, number in deployed
        ],
        "labels": labels_of(model, job),
        "model_source_info": {"source_type": "GENIE"},
        "checkpoints": [_checkpoint(each) for each in checkpoints],
    }
    return Typed(PACKAGES[version].message(messages.MODEL), fields)


def render_models(models: Sequence[Typed], next_page_token: str, version: str, *, versions: bool = False) -> Typed:
    """A page of models, or of one model's versions."""
    message = messages.LIST_VERSIONS_RESPONSE if versions else messages.LIST_MODELS_RESPONSE
    page = {"models": [each.fields for each in models], "next_page_token": next_page_token}
    return Typed(PACKAGES[version].message(message), page)


def render_checkpoints(checkpoints: Sequence[Checkpoint], version: str, next_page_token: str = "") -> Typed:
    """A page of the checkpoints of a model's version."""
    page = {"checkpoints": [_checkpoint(each) for each in checkpoints], "next_page_token": next_page_token}
    return Typed(PACKAGES[version].message(messages.LIST_CHECKPOINTS_RESPONSE), page)


def endpoint_values(model: TunedModel, job: TuningJob, checkpoint: Checkpoint) -> dict[str, Any]:
    """What the filter of a list of endpoints compares."""
    number = endpoint_number(checkpoint.job_id, checkpoint.number)
    return model_values(model, job) | {"name": endpoint_name(place_of_model(model), number)}


def render_endpoint(model: TunedModel, job: TuningJob, checkpoint: Checkpoint, version: str) -> Typed:
    """An endpoint, with the checkpoint of the model that is deployed there, unless somebody has undeployed it."""
    number = endpoint_number(checkpoint.job_id, checkpoint.number)
    fields: dict[str, Any] = {
        "name": endpoint_name(place_of_model(model), number),
        "display_name": model.display_name,
        "labels": labels_of(model, job),
        "create_time": model.create_time,
        "update_time": model.update_time,
    }
    if checkpoint.is_deployed:
        fields["deployed_models"] = [_deployed(model, checkpoint, number)]
        fields["traffic_split"] = {str(number): 100}
    return Typed(PACKAGES[version].message(messages.ENDPOINT), fields)


def render_endpoints(endpoints: Sequence[Typed], next_page_token: str, version: str) -> Typed:
    """A page of endpoints."""
    page = {"endpoints": [each.fields for each in endpoints], "next_page_token": next_page_token}
    return Typed(PACKAGES[version].message(messages.LIST_ENDPOINTS_RESPONSE), page)


def parse_undeploy(body: bytes) -> str:
    """The id of the deployed model in an UndeployModelRequest.

    Raises:
        InvalidArgument: the body is no such request, or has no id.

    """
    fields = decode(PACKAGES["v1"].message(messages.UNDEPLOY_REQUEST), read(body))
    if not fields.get("deployed_model_id"):
        violation = FieldViolation(field="deployed_model_id", description="deployed_model_id is required")
        raise refused("UndeployModelRequest", (violation,))
    return str(fields["deployed_model_id"])


def parse_deploy(body: bytes) -> Fields:
    """The deployed model in a DeployModelRequest: `model`, and perhaps a `checkpoint_id`.

    Raises:
        InvalidArgument: the body is no such request, or names no model.

    """
    fields = decode(PACKAGES["v1"].message(messages.DEPLOY_REQUEST), read(body))
    deployed: Fields = fields.get("deployed_model", {})
    if not deployed.get("model"):
        violation = FieldViolation(field="deployed_model.model", description="deployed_model.model is required")
        raise refused("DeployModelRequest", (violation,))
    return deployed


def render_deployed(model: TunedModel, checkpoint: Checkpoint) -> dict[str, Any]:
    """The fields of the DeployedModel of a checkpoint."""
    return _deployed(model, checkpoint, endpoint_number(checkpoint.job_id, checkpoint.number))


def _list_query(
    message: Message, query: Mapping[str, str], repeated: Mapping[str, tuple[str, ...]], fields: Sequence[str]
) -> ListQuery:
    decoded = decode_query(message, query, repeated)
    conditions = tuple(
        condition for text in decoded.get("filter", ()) for condition in parse_filter(text, fields, message.full_name)
    )
    return ListQuery(
        conditions=conditions, page_size=decoded.get("page_size"), page_token=decoded.get("page_token", "")
    )


def _checkpoint(checkpoint: Checkpoint) -> dict[str, Any]:
    return {"checkpoint_id": str(checkpoint.number), "epoch": checkpoint.epoch, "step": checkpoint.step}


def _deployed(model: TunedModel, checkpoint: Checkpoint, number: int) -> dict[str, Any]:
    return {
        "id": str(number),
        "model": version_name(model),
        "model_version_id": str(model.version),
        "display_name": model.display_name,
        "create_time": model.create_time,
        "checkpoint_id": str(checkpoint.number),
    }
