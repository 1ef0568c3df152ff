"""Parses requests to tune with what the Gemini API has no field for: the rank of the adapter, and a validation set."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from itertools import islice
from typing import Any

from tuningfork.domain.dataset import MAX_REPORTED_VIOLATIONS
from tuningfork.domain.early_stopping import EarlyStopping
from tuningfork.domain.errors import FieldViolation
from tuningfork.domain.staged_dataset import StagedDatasetId
from tuningfork.domain.tuned_model import TunedModel
from tuningfork.domain.tuning_job import TuningJob, TuningRequest
from tuningfork.wire.gemini.multiturn_messages import TUNING_EXAMPLES, with_conversations
from tuningfork.wire.gemini.operations import render_operation
from tuningfork.wire.gemini.tuning import creation_of, examples_of, faults_of_examples
from tuningfork.wire.gemini.tuning_messages import CREATE_TUNED_MODEL_METADATA, TUNED_MODEL
from tuningfork.wire.google.proto_json.decode import Fields, decode, decode_query
from tuningfork.wire.google.proto_json.descriptors import Field, Kind, Message, Rule
from tuningfork.wire.google.proto_json.encode import Typed
from tuningfork.wire.google.proto_json.text import read
from tuningfork.wire.google.requests import RequestWords, refused

_PACKAGE = "tuningfork.v1"

CREATION_QUERY = Message(
    f"{_PACKAGE}.CreateTunedModelRequest",
    (Field(4, "adapter_rank", Kind.INT32, presence=True), Field(5, "request_id", Kind.STRING)),
)
"""The parameters that creating has here in addition to those of `CreateTunedModelRequest`."""

EARLY_STOPPING = Message(
    f"{_PACKAGE}.EarlyStopping",
    (
        Field(1, "patience", Kind.INT32, presence=True),
        Field(2, "least_improvement", Kind.DOUBLE),
    ),
)
VALIDATION = Message(
    f"{_PACKAGE}.Validation",
    (
        Field(1, "examples", TUNING_EXAMPLES, oneof="validation_set"),
        Field(2, "held_out_percent", Kind.DOUBLE, oneof="validation_set"),
        Field(3, "evaluate_every", Kind.INT32, presence=True),
        Field(4, "keep_best", Kind.BOOL),
        Field(5, "early_stopping", EARLY_STOPPING),
    ),
)

_WITH_CONVERSATIONS = with_conversations(TUNED_MODEL)


def _with_own_data(tuned_model: Message) -> Message:
    """`TunedModel` with further fields in its tuning task: a validation set, a staged dataset, and probe prompts."""
    task = tuned_model.by_key["tuning_task"]
    assert isinstance(task.type, Message)  # noqa: S101 - the table says so
    further = Field(101, "validation", VALIDATION, rule=Rule.INPUT_ONLY)
    staged = Field(102, "dataset", Kind.STRING, rule=Rule.INPUT_ONLY)
    probes = Field(103, "probe_prompts", Kind.STRING, repeated=True, rule=Rule.INPUT_ONLY)
    held = Message(f"{_PACKAGE}.TuningTask", (*task.type.fields, further, staged, probes))
    fields_of_model = tuple(replace(each, type=held) if each.name == task.name else each for each in tuned_model.fields)
    return Message(f"{_PACKAGE}.TunedModel", fields_of_model)


CREATION = _with_own_data(_WITH_CONVERSATIONS)
"""The body of a request to create: the TunedModel of `v1alpha`, with `validation` and `dataset` in its task."""

CREATION_METADATA = Message(
    f"{_PACKAGE}.CreateTunedModelMetadata",
    (
        *CREATE_TUNED_MODEL_METADATA.fields,
        Field(101, "example_count", Kind.INT64),
        Field(102, "validation_example_count", Kind.INT64),
    ),
)
"""What the answer's metadata has: that of the Gemini API, and how many examples are learned from and held out."""

_DATASET_NAME = re.compile(r"datasets/(?P<id>[a-z0-9]{1,32})")
_REQUEST_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_OWN = {key for field in CREATION_QUERY.fields for key in (field.name, field.json_name)}
_VALIDATION = "tuned_model.tuning_task.validation"
_OF_VALIDATION = ("held_out_percent", "evaluate_every", "keep_best", "early_stopping")


@dataclass(frozen=True, slots=True, kw_only=True)
class CreationWords(RequestWords):
    """Translates errors about a request with what is our own: probe prompts, a validation set.

    The first `pairs` examples of the validation set are pairs. `others` translates what is the Gemini API's.
    """

    others: RequestWords
    pairs: int

    def place(self, path: str) -> str:
        """The path in the request message for a domain path."""
        if path.startswith("probe_prompts"):
            return f"tuned_model.tuning_task.{path}"
        if path.partition(".")[0] in _OF_VALIDATION:
            return f"{_VALIDATION}.{path}"
        name, _, rest = path.partition("[")
        number, _, behind = rest.partition("]")
        if name != "validation":
            return self.others.place(path)
        if not number.isdecimal():
            return f"{_VALIDATION}.examples"
        if int(number) < self.pairs:
            return f"{_VALIDATION}.examples.examples[{number}]{behind}"
        behind = behind.replace(".turns[", ".contents[")
        return f"{_VALIDATION}.examples.multiturn_examples[{int(number) - self.pairs}]{behind}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Creation:
    """A request to tune, and how faults of it are told. `dataset`: its examples are there; None: in the request."""

    wanted: TuningRequest
    words: RequestWords
    dataset: StagedDatasetId | None = None


def parse_creation(body: bytes, query: Mapping[str, str]) -> Creation:
    """The request to tune, as `v1alpha` reads it, with what is our own.

    Raises:
        InvalidArgument: what the Gemini API's method refuses, or a rank that is no whole number, or a fault of the
            validation set, of the dataset's name or of the request's id.

    """
    own = {name: value for name, value in query.items() if name in _OWN}
    model = decode(CREATION, read(body), "tuned_model")
    wanted, words = creation_of(model, {name: value for name, value in query.items() if name not in own})
    chosen = decode_query(CREATION_QUERY, own)
    task = model.get("tuning_task", {})
    dataset = _dataset(task, words.request)
    request_id = _request_id(chosen.get("request_id", ""), words.request)
    wanted = replace(
        wanted,
        adapter_rank=chosen.get("adapter_rank"),
        request_id=request_id,
        probe_prompts=tuple(task.get("probe_prompts", ())),
    )
    asked = task.get("validation")
    if asked is None and not wanted.probe_prompts:
        return Creation(wanted=wanted, words=words, dataset=dataset)
    held = {} if asked is None else asked.get("examples", {})
    if found := tuple(islice(faults_of_examples(held, f"{_VALIDATION}.examples"), MAX_REPORTED_VIOLATIONS)):
        raise refused(words.request, found)
    shared = {each.name: getattr(words, each.name) for each in fields(RequestWords)}
    own_words = CreationWords(**shared, others=words, pairs=len(held.get("examples", ())))
    if asked is not None:
        wanted = replace(wanted, **_validation(asked))
    return Creation(wanted=wanted, words=own_words, dataset=dataset)


def _dataset(task: Fields, request: str) -> StagedDatasetId | None:
    name = task.get("dataset", "")
    if not name:
        return None
    found = _DATASET_NAME.fullmatch(name)
    if found is None:
        described = f"dataset must be the name of a dataset, such as datasets/...; {name[:80]!r} was given"
    elif task.get("training_data", {}).get("examples", {}):
        described = "examples are either in the request or in a dataset: leave out training_data or dataset"
    else:
        return StagedDatasetId(found["id"])
    raise refused(request, (FieldViolation(field="tuned_model.tuning_task.dataset", description=described),))


def _request_id(given: str, request: str) -> str:
    if not given or _REQUEST_ID.fullmatch(given):
        return given
    described = f"request_id must have 1 to 64 letters, digits, dashes or underscores; {given[:80]!r} was given"
    raise refused(request, (FieldViolation(field="request_id", description=described),))


def _validation(asked: Fields) -> dict[str, Any]:
    """The fields of a TuningRequest that a Validation sets. Without `evaluate_every` the service chooses it."""
    stopping = asked.get("early_stopping")
    return {
        "validation": examples_of(asked["examples"]) if "examples" in asked else None,
        "held_out_percent": asked.get("held_out_percent"),
        "evaluate_every": asked.get("evaluate_every"),
        "keep_best": asked.get("keep_best", False),
        "early_stopping": None if stopping is None else EarlyStopping(**stopping),
    }


def render_creation(model: TunedModel, job: TuningJob, *, version: str, multiplier: bool) -> Typed:
    """The operation of a job that was created; see `render_operation`.

    The metadata of one with a validation set has the numbers of examples too.
    """
    operation = render_operation(model, job, version=version, multiplier=multiplier)
    if not job.validation_count:
        return operation
    counted = {"example_count": job.example_count, "validation_example_count": job.validation_count}
    metadata = Typed(CREATION_METADATA, {**operation.fields["metadata"].fields, **counted})
    return Typed(operation.message, {**operation.fields, "metadata": metadata})
