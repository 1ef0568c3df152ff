"""Tuning jobs, models, endpoints and operations against the published discovery documents, field by field.

`tests/data/vertex/tuning_messages.json` has the fields of both versions. Each one is in our tables with its type, or on
the list of those that are left out; what a client may send is stored and shown, or refused by its name.
"""

import json
import re
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bucket_tunings import ROWS, tunings_over
from caller import caller_of
from exploring import often
from tuningfork.api.google.form import GoogleForm
from tuningfork.dialect.call import MethodCall
from tuningfork.dialect.vertex.table import VertexUseCases, vertex
from tuningfork.domain.errors import InvalidArgument
from tuningfork.wire.google.proto_json.decode import decode
from tuningfork.wire.google.proto_json.descriptors import Enum, Kind, Message, Rule
from tuningfork.wire.google.proto_json.encode import encode
from tuningfork.wire.vertex import registry_messages, tuning_messages
from tuningfork.wire.vertex.errors import VERTEX_ERRORS
from tuningfork.wire.vertex.registry import parse_patch
from vertex_serving import serving_of
from workshop import ADA

DATA = Path(__file__).parents[1] / "data" / "vertex" / "tuning_messages.json"
PUBLISHED = json.loads(DATA.read_text(encoding="utf-8"))["messages"]
VERSIONS = tuple(PUBLISHED)
OUT = "out "

TABLES = {
    "TuningJob": tuning_messages.TUNING_JOB,
    "SupervisedTuningSpec": tuning_messages.SUPERVISED_TUNING_SPEC,
    "SupervisedHyperParameters": tuning_messages.HYPER_PARAMETERS,
    "PreTunedModel": tuning_messages.PRE_TUNED_MODEL,
    "TunedModel": tuning_messages.TUNED_MODEL,
    "TunedModelCheckpoint": tuning_messages.TUNED_MODEL_CHECKPOINT,
    "TuningDataStats": tuning_messages.TUNING_DATA_STATS,
    "SupervisedTuningDataStats": tuning_messages.SUPERVISED_DATA_STATS,
    "SupervisedTuningDatasetDistribution": tuning_messages.DISTRIBUTION,
    "SupervisedTuningDatasetDistributionDatasetBucket": tuning_messages.DATASET_BUCKET,
    "TuningJobMetadata": tuning_messages.TUNING_JOB_METADATA,
    "EncryptionSpec": tuning_messages.ENCRYPTION_SPEC,
    "ListTuningJobsResponse": tuning_messages.LIST_TUNING_JOBS_RESPONSE,
    "CancelTuningJobRequest": tuning_messages.CANCEL_TUNING_JOB_REQUEST,
    "Model": registry_messages.MODEL,
    "ModelSourceInfo": registry_messages.MODEL_SOURCE_INFO,
    "Endpoint": registry_messages.ENDPOINT,
    "DeployedModel": registry_messages.DEPLOYED_MODEL,
    "DeployedModelRef": registry_messages.DEPLOYED_MODEL_REF,
    "Checkpoint": registry_messages.CHECKPOINT,
    "ModelVersionCheckpoint": registry_messages.MODEL_VERSION_CHECKPOINT,
    "ListModelsResponse": registry_messages.LIST_MODELS_RESPONSE,
    "ListModelVersionsResponse": registry_messages.LIST_VERSIONS_RESPONSE,
    "ListModelVersionCheckpointsResponse": registry_messages.LIST_CHECKPOINTS_RESPONSE,
    "ListEndpointsResponse": registry_messages.LIST_ENDPOINTS_RESPONSE,
    "GoogleLongrunningOperation": registry_messages.OPERATION,
    "GoogleLongrunningListOperationsResponse": registry_messages.LIST_OPERATIONS_RESPONSE,
}

LEFT_OUT = {
    # Statistics of kinds of tuning that this server does not have.
    "TuningDataStats": {
        "distillationDataStats",
        "preferenceOptimizationDataStats",
        "reinforcementTuningDataStats",
    },
    # Where an endpoint is reached, what it logs and on what it runs. `endpoints.patch` is refused as a whole.
    "Endpoint": {
        *("clientConnectionConfig", "dedicatedEndpointDns", "dedicatedEndpointEnabled", "enablePrivateServiceConnect"),
        *("encryptionSpec", "gdcConfig", "genAiAdvancedFeaturesConfig", "modelDeploymentMonitoringJob", "network"),
        *("predictRequestResponseLoggingConfig", "privateServiceConnectConfig", "publisherModelConfig"),
        *("satisfiesPzi", "satisfiesPzs"),
    },
    "GoogleLongrunningListOperationsResponse": {"unreachable"},
}
"""Published fields that are in no table, so that no answer has them. No request is decoded with these messages."""

NOT_SENT = {"name"}
"""What the path names, in our tables only."""
ANSWERS = {"TunedModel", "SupervisedTuningDataStats", "SupervisedTuningDatasetDistribution", "TuningJobMetadata"} | {
    "SupervisedTuningDatasetDistributionDatasetBucket",
    "TuningDataStats",
}
"""Messages that stand in output-only fields alone: the rules of their own fields do not matter."""
KINDS = {
    "string": {Kind.STRING},
    "string/byte": {Kind.BYTES},
    "string/int64": {Kind.INT64},
    "string/google-datetime": {Kind.TIMESTAMP},
    "integer/int32": {Kind.INT32},
    "number/double": {Kind.DOUBLE},
    "boolean": {Kind.BOOL},
}


def published_fields(name):
    """All published fields of a message in either version, with their types."""
    return {field: said for version in VERSIONS for field, said in PUBLISHED[version].get(name, {}).items()}


def is_of(kind, said):
    """Whether a table's type is the published one. What is passed over as a whole has no type of its own."""
    if kind is Kind.JSON:
        return True
    if kind is Kind.ANY:
        return said == "map<any>"
    if isinstance(kind, Enum):
        return set(kind.numbers) <= set(said.removeprefix("enum ").split("|"))
    if isinstance(kind, Message):
        bare = kind.full_name.removeprefix(tuning_messages.PACKAGE).replace(".", "")
        return said.removeprefix("Google").casefold() in (bare.casefold(), bare.removeprefix("google").casefold())
    return kind in KINDS.get(said, set())


@pytest.mark.parametrize("name", TABLES)
def test_every_published_field_is_in_a_table_or_left_out_by_name(name):
    published, known = published_fields(name), {field.json_name for field in TABLES[name].fields}

    assert published.keys() - known == LEFT_OUT.get(name, set())
    assert known - published.keys() <= NOT_SENT


@pytest.mark.parametrize("name", TABLES)
def test_every_field_of_a_table_has_its_published_type_and_direction(name):
    published = published_fields(name)

    for field in TABLES[name].fields:
        if field.json_name not in published:
            continue
        said = published[field.json_name]
        bare = said.removeprefix(OUT)
        if name not in ANSWERS:
            assert (field.rule is Rule.OUTPUT_ONLY) == said.startswith(OUT), field.json_name
        inner = re.fullmatch(r"\[(.*)\]|map<(.*)>", bare) if field.type is not Kind.ANY else None
        repeated, keyed = bare.startswith("["), bool(inner) and bare.startswith("map<")
        assert (field.repeated, field.keyed) == (repeated, keyed), field.json_name
        assert is_of(field.type, next(each for each in inner.groups() if each) if inner else bare.strip("[]"))


# What we print is published


def faults_in(value, said, version, path="answer"):
    """What in a JSON value is not of the published type, with its place."""
    bare = said.removeprefix(OUT)
    if inner := re.fullmatch(r"\[(.*)\]", bare):
        return [each for n, one in enumerate(value) for each in faults_in(one, inner[1], version, f"{path}[{n}]")]
    if inner := re.fullmatch(r"map<(.*)>", bare):
        return [each for key, one in value.items() for each in faults_in(one, inner[1], version, f"{path}.{key}")]
    if bare in PUBLISHED[version]:
        known = PUBLISHED[version][bare]
        unknown = [f"{path}.{key} is not published" for key in value.keys() - known.keys()]
        return unknown + [
            fault
            for key, one in value.items()
            if key in known
            for fault in faults_in(one, known[key], version, f"{path}.{key}")
        ]
    return [] if is_scalar(value, bare) else [f"{path} is {value!r}, and not {bare}"]


SCALARS = {
    "string": lambda value: isinstance(value, str),
    "string/int64": lambda value: isinstance(value, str) and -(2**63) <= int(value) < 2**63,
    "string/google-datetime": lambda value: datetime.fromisoformat(value).tzinfo is not None,
    "integer/int32": lambda value: type(value) is int,
    "number/double": lambda value: type(value) in (int, float),
    "boolean": lambda value: isinstance(value, bool),
}


def is_scalar(value, said):
    """Whether a JSON value is of a scalar type. Types that the data does not have are not looked into."""
    if said.startswith("enum "):
        return value in said.removeprefix("enum ").split("|")
    return SCALARS.get(said, lambda _: True)(value)


@pytest.fixture
def tunings(workshop, tmp_path):
    (tmp_path / "bucket").mkdir()
    made = tunings_over(workshop, tmp_path / "bucket")
    made.write()
    made.write("v.jsonl", ROWS[:3])
    return made


@pytest.mark.parametrize("version", VERSIONS)
def test_what_a_job_is_shown_as_in_each_state_is_published(tunings, version):
    asked = {"hyperParameters": {"learningRate": 0.01, "batchSize": "4"}, "tuningMode": "TUNING_MODE_PEFT_ADAPTER"}
    whole = {"validationDatasetUri": "gs://shared/v.jsonl", "evaluationConfig": {}, **asked}
    described = {"description": "d", "labels": {"a": "b"}, "serviceAccount": "s", "encryptionSpec": {"kmsKeyName": "k"}}
    made = tunings.create(supervisedTuningSpec=whole, **described)
    shown = [tunings.get(made, version=version)]
    tunings.prepare()
    shown.append(tunings.get(made, version=version))
    tunings.workshop.advance(steps=2)
    shown.append(tunings.get(made, version=version))
    listed = tunings.list(version=version)
    failed = tunings.create()
    (tunings.bucket / "t.jsonl").unlink()
    tunings.prepare()
    shown.append(tunings.get(failed, version=version))

    states = [each["state"].removeprefix("JOB_STATE_") for each in shown]
    assert states == ["PENDING", "PENDING", "RUNNING", "FAILED"]
    assert [fault for each in shown for fault in faults_in(each, "TuningJob", version)] == []
    assert faults_in(listed, "ListTuningJobsResponse", version) == []


@pytest.mark.parametrize("version", VERSIONS)
def test_what_models_endpoints_and_operations_are_shown_as_is_published(tunings, version):
    dialect = vertex(VertexUseCases(jobs=tunings.jobs, serving=serving_of(tunings.workshop)), GoogleForm(VERTEX_ERRORS))
    caller = caller_of(tunings.workshop, further=(dialect,))
    place = {"project": ADA.project, "location": "us-central1"}
    made = tunings.create(ADA, place, labels={"a": "b"})
    tunings.train()
    tuned = tunings.get(made, ADA, place=place, version=version)
    parent = f"/{version}/projects/{ADA.project}/locations/us-central1"
    model, endpoint = tuned["tunedModel"]["model"], tuned["tunedModel"]["endpoint"]
    [last] = [each for each in tuned["tunedModel"]["checkpoints"] if each["endpoint"] == endpoint]
    undeployed = {"deployedModelId": endpoint.rpartition("/")[2]}
    deployed = {"deployedModel": {"model": model, "checkpointId": last["checkpointId"]}}

    def asked(verb, path, body=None):
        answer = caller.call(verb, path, body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    answers = [
        (tuned, "TuningJob"),
        (asked("GET", f"/{version}/{model}"), "Model"),
        (asked("GET", f"{parent}/models"), "ListModelsResponse"),
        (asked("GET", f"/{version}/{model}:listVersions"), "ListModelVersionsResponse"),
        (asked("GET", f"/{version}/{model}:listCheckpoints"), "ListModelVersionCheckpointsResponse"),
        (asked("GET", f"/{version}/{endpoint}"), "Endpoint"),
        (asked("GET", f"{parent}/endpoints"), "ListEndpointsResponse"),
        (asked("POST", f"/{version}/{endpoint}:undeployModel", undeployed), "GoogleLongrunningOperation"),
        (asked("GET", f"/{version}/{endpoint}"), "Endpoint"),
        (redeployed := asked("POST", f"/{version}/{endpoint}:deployModel", deployed), "GoogleLongrunningOperation"),
        (asked("GET", f"/{version}/{redeployed['name']}"), "GoogleLongrunningOperation"),
        (asked("GET", f"{parent}/operations"), "GoogleLongrunningListOperationsResponse"),
        (asked("DELETE", f"/{version}/{model.partition('@')[0]}"), "GoogleLongrunningOperation"),
    ]
    assert [fault for answer, said in answers for fault in faults_in(answer, said, version, said)] == []


# What clients send is stored and shown, or refused by name


SENT = {
    "baseModel": "gemini-1.5-flash-002",
    "description": "about it",
    "encryptionSpec": {"kmsKeyName": "k"},
    "labels": {"team": "blue"},
    "serviceAccount": "robot",
    "supervisedTuningSpec": {
        "trainingDatasetUri": "gs://shared/t.jsonl",
        "validationDatasetUri": "gs://shared/v.jsonl",
        "exportLastCheckpointOnly": True,
        "hyperParameters": {
            "adapterSize": "ADAPTER_SIZE_FOUR",
            "batchSize": "2",
            "epochCount": "3",
            "learningRate": 0.01,
        },
        "evaluationConfig": {"metrics": [{"exactMatchSpec": {}}], "outputConfig": {"gcsDestination": {}}},
        "tuningMode": "TUNING_MODE_PEFT_ADAPTER",
    },
    "tunedModelDisplayName": "mine",
}
"""A request with every field that is stored and shown."""
INSTEAD = {
    "preTunedModel": {"tunedModelName": "projects/p/locations/us-central1/models/1@1", "checkpointId": "1"},
    "learningRateMultiplier": 2.0,
}
"""Fields that exclude others of these; tests of their own send them."""
REFUSED = {
    "customBaseModel": "gs://b/m",
    "distillationSpec": {},
    "fullFineTuningSpec": {},
    "outputUri": "gs://b/o",
    "partnerModelTuningSpec": {},
    "preferenceOptimizationSpec": {},
    "reinforcementTuningSpec": {},
    "veoLoraTuningSpec": {},
    "veoTuningSpec": {},
}


def writable(name):
    return {field for field, said in published_fields(name).items() if not said.startswith(OUT)}


def test_the_request_that_is_sent_here_has_every_field_that_may_be_sent():
    spec = SENT["supervisedTuningSpec"]

    assert SENT.keys() | INSTEAD.keys() | REFUSED.keys() >= writable("TuningJob")
    assert spec.keys() == writable("SupervisedTuningSpec")
    assert spec["hyperParameters"].keys() | INSTEAD.keys() >= writable("SupervisedHyperParameters")
    assert INSTEAD["preTunedModel"].keys() == writable("PreTunedModel")
    assert SENT["encryptionSpec"].keys() == writable("EncryptionSpec")


def test_every_field_is_shown_as_it_was_sent(tunings):
    made = tunings.create(**SENT)

    assert {name: tunings.get(made)[name] for name in SENT} == SENT


def test_a_job_that_goes_on_from_a_model_shows_which(tunings):
    first = tunings.create()
    tunings.train()
    source = {"tunedModelName": tunings.get(first)["tunedModel"]["model"], "checkpointId": "1"}
    spec = {"hyperParameters": {"learningRateMultiplier": 2}}

    made = tunings.create(baseModel=None, preTunedModel=source, supervisedTuningSpec=spec)

    assert made["preTunedModel"] == {**source, "baseModel": "gemini-1.5-flash-002"}
    assert made["supervisedTuningSpec"]["hyperParameters"]["learningRateMultiplier"] == 2


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_what_is_not_served_is_refused_by_name(tunings, name):
    body = {**SENT, name: REFUSED[name]}
    if name.endswith("Spec"):
        del body["supervisedTuningSpec"]
    answer = refusal(tunings, body)

    assert name in answer.message
    assert any(name in re.sub(r"_(\w)", lambda found: found[1].upper(), each.field) for each in answer.violations)


@pytest.mark.parametrize(
    "name", sorted(field for field, said in published_fields("TuningJob").items() if said.startswith(OUT))
)
def test_what_the_service_alone_sets_is_passed_over_in_requests(tunings, name):
    plain, with_it = tunings.create(), tunings.create(**{name: {"anything": 1}})

    assert with_it.keys() == plain.keys()
    assert with_it.get(name) != {"anything": 1}


@pytest.mark.parametrize("name", sorted(writable("Model") - {"displayName", "description", "defaultCheckpointId"}))
def test_a_field_of_a_model_that_cannot_be_changed_is_refused_by_name(name):
    if name in ("name", "etag"):
        assert parse_patch({}, json.dumps({name: "x", "description": "d"}).encode()).change.description == "d"
        return
    value = {"labels": {"a": "b"}, "versionAliases": ["a"]}.get(name, "x")
    snake = re.sub(r"([A-Z])", lambda found: f"_{found[1].lower()}", name)

    for query, body in (({}, {name: value}), ({"updateMask": name}, {name: value})):
        with pytest.raises(InvalidArgument, match="cannot be changed") as refused:
            parse_patch(query, json.dumps(body).encode())
        assert name in refused.value.message or snake in refused.value.message


def refusal(tunings, body):
    call = MethodCall(
        principal=replace(ADA, project="local"),
        path={"project": "p", "location": "us-central1"},
        query={},
        body=json.dumps(body).encode(),
        version="v1beta1",
    )
    with pytest.raises(InvalidArgument) as refused:
        tunings.methods.create(call)
    return refused.value


# There and back


def values_of(said, version, depth=0):
    """JSON values of a published type, as a client may send them."""
    bare = said.removeprefix(OUT)
    if inner := re.fullmatch(r"\[(.*)\]", bare):
        return st.lists(values_of(inner[1], version, depth), min_size=1, max_size=2)
    if bare == "map<any>":
        return st.just({"@type": "type.googleapis.com/google.protobuf.Empty"})
    if inner := re.fullmatch(r"map<(.*)>", bare):
        return st.dictionaries(st.text("ab", min_size=1), values_of(inner[1], version, depth), min_size=1, max_size=2)
    if bare.startswith("enum "):
        # The first one is the default, which is not printed.
        return st.sampled_from(bare.removeprefix("enum ").split("|")[1:])
    if bare in TABLES:
        fields = {name: values_of(each, version, depth + 1) for name, each in sendable(bare, version).items()}
        # An empty one within what is kept as JSON counts as not set.
        return st.fixed_dictionaries({}, optional=fields).filter(lambda value: bool(value) or not depth)
    return {
        "string": st.text("ab ", min_size=1),
        "string/int64": st.integers(-(2**63), 2**63 - 1).filter(bool).map(str),
        "number/double": st.floats(allow_nan=False, allow_infinity=False).filter(bool),
        "integer/int32": st.integers(1, 2**31 - 1),
        "boolean": st.just(True),
    }.get(bare, st.just({"anything": [1, "x", None]}))


def sendable(name, version):
    """The published fields of a message that are in our table and that clients may send, one of each oneof."""
    table, chosen, oneofs = TABLES[name], {}, set()
    for field in table.fields:
        said = PUBLISHED[version][name].get(field.json_name)
        if said is None or field.rule is Rule.OUTPUT_ONLY or field.oneof in oneofs:
            continue
        if field.oneof:
            oneofs.add(field.oneof)
        chosen[field.json_name] = said
    return chosen


READ = ("TuningJob", "SupervisedTuningSpec", "PreTunedModel", "EncryptionSpec", "Model", "DeployedModel")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", READ)
@settings(max_examples=often(30), deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_what_a_client_sends_is_printed_as_it_was(name, version, data):
    sent = data.draw(values_of(name, version))

    assert json.loads(json.dumps(encode(TABLES[name], decode(TABLES[name], sent)))) == json.loads(json.dumps(sent))
