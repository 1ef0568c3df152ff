"""Tuning jobs: reads requests to create them, and renders them.

Sources: vertex-api sections 2.1, 3.1 to 3.4, 4 and 9.2; vertex-additions sections 1, 7 and 8.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tuningfork.domain.bucket_tuning import BucketTuning, VersionRef
from tuningfork.domain.checkpoint import Checkpoint
from tuningfork.domain.errors import FieldViolation, Reason
from tuningfork.domain.hyperparameters import RequestedHyperparameters
from tuningfork.domain.preparation import Preparation
from tuningfork.domain.tuned_model import ModelState, TunedModel
from tuningfork.domain.tuning_job import JobState, TuningJob
from tuningfork.wire.google.errors import NUMBERS
from tuningfork.wire.google.proto_json.decode import decode, decode_query
from tuningfork.wire.google.proto_json.encode import Typed
from tuningfork.wire.google.proto_json.text import read
from tuningfork.wire.vertex import tuning_messages as messages
from tuningfork.wire.vertex.data_statistics import data_stats
from tuningfork.wire.vertex.evaluation_config import shown_config
from tuningfork.wire.vertex.filters import Condition, all_hold, parse_filter
from tuningfork.wire.vertex.names import endpoint_name, experiment_name, job_name, place_of_model, version_name
from tuningfork.wire.vertex.refused_specs import refusals
from tuningfork.wire.vertex.requests import found_errors
from tuningfork.wire.vertex.service import VERSION
from tuningfork.wire.vertex.tuning_names import bare_base_name, parse_model_name

_SPEC = "tuning_job.supervised_tuning_spec"
_URI_FIELDS = ("training_dataset_uri", "validation_dataset_uri")
_NOT_JSONL = "{} should be a GCS object of type JSONL."
_FILTERED = (
    "state",
    "base_model",
    "tuned_model_display_name",
    "description",
    "name",
    "create_time",
    "start_time",
    "end_time",
    "update_time",
)
"""The fields on which a list may be filtered, besides labels."""
_SIZES = {rank: name for name, rank in messages.RANKS.items()}
_STATES = {
    JobState.PREPARING: "JOB_STATE_PENDING",
    # Never JOB_STATE_QUEUED: loops of sample programs end at it (vertex-api section 4.1).
    JobState.QUEUED: "JOB_STATE_PENDING",
    JobState.RUNNING: "JOB_STATE_RUNNING",
    JobState.SUCCEEDED: "JOB_STATE_SUCCEEDED",
    JobState.FAILED: "JOB_STATE_FAILED",
    JobState.CANCELLED: "JOB_STATE_CANCELLED",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ListQuery:
    """Which page of a list a caller asks for."""

    page_size: int | None
    page_token: str
    filter: str
    conditions: tuple[Condition, ...]

    def holds(self, shown: "ShownJob") -> bool:
        """Whether the filter lets a job through."""
        return not self.conditions or all_hold(self.conditions, job_fields(shown))


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownJob:
    """What is rendered of a job."""

    model: TunedModel
    job: TuningJob
    checkpoints: tuple[Checkpoint, ...]
    waits_for_quota: bool


def parse_create(body: bytes) -> BucketTuning:
    """The request to create a tuning job.

    Raises:
        InvalidArgument: everything that is wrong with the form of the request.

    """
    fields = decode(messages.TUNING_JOB, read(body), "tuning_job")
    spec: Mapping[str, Any] = fields.get("supervised_tuning_spec", {})
    found = [*refusals(fields, spec), *_of_sources(fields), *_of_uris(fields, spec)]
    if found:
        raise found_errors(found)
    source = _source(fields)
    given: Mapping[str, Any] = spec.get("hyper_parameters", {})
    return BucketTuning(
        base_model="" if source else bare_base_name(fields["base_model"]),
        source=source,
        preparation=Preparation(
            training_uri=spec["training_dataset_uri"],
            validation_uri=spec.get("validation_dataset_uri") or None,
            hyperparameters=RequestedHyperparameters(
                # Without presence, 0 is the same as nothing.
                epoch_count=given.get("epoch_count") or None,
                batch_size=given.get("batch_size") or None,
                learning_rate=given.get("learning_rate") or None,
                learning_rate_multiplier=given.get("learning_rate_multiplier") or None,
            ),
            keeps_checkpoints=not spec.get("export_last_checkpoint_only", False),
        ),
        adapter_rank=messages.RANKS.get(given.get("adapter_size", "")),
        display_name=fields.get("tuned_model_display_name", ""),
        description=fields.get("description", ""),
        labels=fields.get("labels", {}),
        details=_details(fields, spec),
    )


def parse_list(query: Mapping[str, str]) -> ListQuery:
    """The page that a query asks for.

    Raises:
        InvalidArgument: a parameter is unknown or malformed.

    """
    fields = decode_query(messages.LIST_TUNING_JOBS_QUERY, query)
    return ListQuery(
        page_size=fields.get("page_size"),
        page_token=fields.get("page_token", ""),
        filter=fields.get("filter", ""),
        conditions=parse_filter(fields.get("filter", ""), _FILTERED, "ListTuningJobsRequest"),
    )


def parse_cancel(body: bytes) -> None:
    """Check the body of a cancel request: it may be empty, or `{}`.

    Raises:
        InvalidArgument: the body has anything else.

    """
    if body.strip() not in (b"", b'""'):
        decode(messages.CANCEL_TUNING_JOB_REQUEST, read(body))


def render_job(shown: ShownJob, version: str = VERSION) -> Typed:
    """A tuning job for a caller of this version of the API."""
    return Typed(messages.TUNING_JOB, job_fields(shown, version))


def render_jobs(shown: Iterable[ShownJob], next_page_token: str, version: str = VERSION) -> Typed:
    """One page of the list."""
    fields = {"tuning_jobs": [job_fields(each, version) for each in shown], "next_page_token": next_page_token}
    return Typed(messages.LIST_TUNING_JOBS_RESPONSE, fields)


def job_fields(shown: ShownJob, version: str = VERSION) -> dict[str, Any]:
    """The fields of a tuning job, by their names in snake_case."""
    model, job = shown.model, shown.job
    fields: dict[str, Any] = {
        "name": job_name(place_of_model(model), model.number),
        **_origin(model, job),
        "supervised_tuning_spec": _spec(job, version),
        "tuned_model_display_name": model.display_name,
        "description": model.description,
        "labels": dict(model.labels),
        "state": _STATES[job.state],
        "create_time": job.create_time,
        "start_time": job.start_time,
        "end_time": job.complete_time,
        "update_time": max(filter(None, (job.create_time, job.start_time, job.complete_time))),
        "error": _error(job),
        "experiment": "" if job.start_time is None else experiment_name(model),
        "tuned_model": _tuned_model(model, shown.checkpoints),
        "tuning_data_stats": data_stats(job),
        "encryption_spec": job.request_details.get("encryption_spec"),
        "service_account": job.request_details.get("service_account", ""),
    }
    if version == VERSION:
        fields |= _progress(shown)
    return {name: value for name, value in fields.items() if value is not None}


def _of_sources(fields: Mapping[str, Any]) -> Iterable[FieldViolation]:
    source = fields.get("pre_tuned_model")
    if source is not None:
        name, checkpoint = source.get("tuned_model_name", ""), source.get("checkpoint_id", "")
        if parse_model_name(name) is None:
            place = "tuning_job.pre_tuned_model.tuned_model_name"
            described = f"must be projects/*/locations/*/models/*, with @version or without; {name[:80]!r} was given"
            yield FieldViolation(field=place, description=described, reason=Reason.MALFORMED)
        if checkpoint and not (checkpoint.isascii() and checkpoint.isdigit() and len(checkpoint) < 10):
            place = "tuning_job.pre_tuned_model.checkpoint_id"
            described = f"must be the id of a checkpoint; {checkpoint[:80]!r} was given"
            yield FieldViolation(field=place, description=described, reason=Reason.MALFORMED)
    elif not fields.get("base_model"):
        described = "exactly one of base_model and pre_tuned_model must be set."
        yield FieldViolation(field="tuning_job.base_model", description=described, reason=Reason.MISSING)


def _of_uris(fields: Mapping[str, Any], spec: Mapping[str, Any]) -> Iterable[FieldViolation]:
    if "supervised_tuning_spec" not in fields:
        if not any(name.endswith("_spec") and name != "encryption_spec" for name in fields):
            described = "exactly one tuning spec must be set: give supervised_tuning_spec."
            yield FieldViolation(field=_SPEC, description=described, reason=Reason.MISSING)
        return
    for name in _URI_FIELDS:
        uri = spec.get(name, "")
        if not uri and name == _URI_FIELDS[1]:
            continue
        if "://" not in uri or not uri.endswith(".jsonl"):
            described = _NOT_JSONL.format(name)
            if uri.startswith("projects/"):
                described += " Datasets of Vertex AI (projects/*/locations/*/datasets/*) are not served here."
            yield FieldViolation(field=f"{_SPEC}.{name}", description=described, reason=Reason.MALFORMED)


def _source(fields: Mapping[str, Any]) -> VersionRef | None:
    """The tuned model to go on from; also where its name is given as the base, as vertexai does."""
    given = fields.get("pre_tuned_model")
    found = parse_model_name(fields.get("base_model", "") if given is None else given.get("tuned_model_name", ""))
    if found is None:
        return None
    place, number, version = found
    checkpoint = (given or {}).get("checkpoint_id", "")
    return VersionRef(place=place, number=number, version=version, checkpoint=int(checkpoint) if checkpoint else None)


def _details(fields: Mapping[str, Any], spec: Mapping[str, Any]) -> dict[str, Any]:
    """What is stored and shown, and changes nothing."""
    kept = {name: fields.get(name) for name in ("encryption_spec", "service_account", "pre_tuned_model")}
    kept |= {name: spec.get(name) for name in ("evaluation_config", "tuning_mode")}
    if fields.get("pre_tuned_model") is None and parse_model_name(fields.get("base_model", "")):
        kept["pre_tuned_model"] = {"tuned_model_name": fields["base_model"]}
    return {name: value for name, value in kept.items() if value}


def _origin(model: TunedModel, job: TuningJob) -> dict[str, Any]:
    base = bare_base_name(model.base_model)
    source = job.request_details.get("pre_tuned_model")
    return {"base_model": base} if source is None else {"pre_tuned_model": {**source, "base_model": base}}


def _spec(job: TuningJob, version: str) -> dict[str, Any]:
    preparation = job.preparation
    spec: dict[str, Any] = {"hyper_parameters": _hyper_parameters(job, version)}
    if preparation is not None:
        spec["training_dataset_uri"] = preparation.training_uri
        spec["validation_dataset_uri"] = preparation.validation_uri or ""
        spec["export_last_checkpoint_only"] = not preparation.keeps_checkpoints
    if "evaluation_config" in job.request_details:
        spec["evaluation_config"] = shown_config(job.request_details["evaluation_config"])
    if version == VERSION and "tuning_mode" in job.request_details:
        spec["tuning_mode"] = job.request_details["tuning_mode"]
    return spec


def _hyper_parameters(job: TuningJob, version: str) -> dict[str, Any]:
    """The hyperparameters in use; before they are known, those that the caller gave."""
    requested = RequestedHyperparameters() if job.preparation is None else job.preparation.hyperparameters
    shown: dict[str, Any] = {"adapter_size": _SIZES.get(job.adapter.rank, "ADAPTER_SIZE_UNSPECIFIED")}
    if job.imported:
        return shown
    shown["epoch_count"] = job.hyperparameters.epoch_count if job.is_prepared else requested.epoch_count or 0
    multiplier = job.hyperparameters.learning_rate_multiplier if job.is_prepared else requested.learning_rate_multiplier
    if requested.learning_rate is None:
        shown["learning_rate_multiplier"] = 1.0 if multiplier is None else multiplier
    elif version == VERSION:
        shown["learning_rate"] = requested.learning_rate
    if version == VERSION and requested.batch_size is not None:
        shown["batch_size"] = requested.batch_size
    return shown


def _error(job: TuningJob) -> dict[str, Any] | None:
    if job.error is None:
        return None
    usual = "The tuning job was cancelled." if job.state is JobState.CANCELLED else "The tuning job failed."
    return {"code": NUMBERS[job.error.code], "message": job.error.message or usual}


def _tuned_model(model: TunedModel, kept: tuple[Checkpoint, ...]) -> dict[str, Any] | None:
    """The model with its checkpoints, which grow while the job runs. None: there is nothing to call yet."""
    if model.state is ModelState.FAILED or not kept:
        return None
    place = place_of_model(model)
    rendered = [
        {
            "checkpoint_id": str(each.number),
            "epoch": each.epoch,
            "step": each.step,
            "endpoint": "" if each.answers_at is None else endpoint_name(place, each.answers_at),
        }
        for each in kept
    ]
    default = next((each for each in kept if each.number == model.default_checkpoint), None)
    endpoint = None if default is None else default.answers_at
    return {
        "model": version_name(model),
        "endpoint": "" if endpoint is None else endpoint_name(place, endpoint),
        "checkpoints": rendered,
    }


def _progress(shown: ShownJob) -> dict[str, Any]:
    """The closer state of a job that is alive, and how far it has come."""
    job = shown.job
    fields: dict[str, Any] = {}
    if job.state is JobState.PREPARING:
        fields["tuning_job_state"] = "TUNING_JOB_STATE_PROCESSING_DATASET"
    elif job.state is JobState.QUEUED:
        waiting = "QUOTA" if shown.waits_for_quota else "CAPACITY"
        fields["tuning_job_state"] = f"TUNING_JOB_STATE_WAITING_FOR_{waiting}"
    elif job.state is JobState.RUNNING:
        is_done = job.completed_steps >= job.total_steps
        fields["tuning_job_state"] = f"TUNING_JOB_STATE_{'POST_PROCESSING' if is_done else 'TUNING'}"
    if job.is_prepared and not job.imported:
        epochs = job.hyperparameters.completed_epochs(job.completed_steps, job.example_count)
        fields["tuning_job_metadata"] = {"completed_epoch_count": epochs, "completed_step_count": job.completed_steps}
    return fields
