"""Tuning jobs, as programs written for Vertex AI create, watch, list and cancel them."""

from dataclasses import replace

import pytest

from bucket_tunings import PLACE, URI, number_in, tunings_over
from tuningfork.domain.errors import InvalidArgument, NotFound, PermissionDenied, ResourceExhausted
from tuningfork.domain.permission import GranteeType, PermissionRequest, Role
from tuningfork.domain.tuned_model import ProjectLocation
from tuningfork.domain.tuning_job import JobState
from tuningfork.service.tuning.project_quota import ProjectQuota
from tuningfork.store import checkpoints, registry, tuning_jobs
from tuningfork.wire.vertex.errors import IamDenied
from workshop import ADA, BOB

ELSEWHERE = {"project": "p", "location": "europe-west4"}
BOBS = replace(BOB, project="local")


def spec(**fields):
    return {"supervisedTuningSpec": fields}


def refused(tunings, **body):
    """The violations of a refused request, by field; nothing was stored."""
    with pytest.raises(InvalidArgument) as caught:
        tunings.create(**body)
    assert tunings.list() == {}
    return {each.field: each.description for each in caught.value.violations}


def test_a_new_job_is_pending_and_shows_what_was_asked(tunings):
    made = tunings.create(
        tunedModelDisplayName="mine",
        description="about it",
        labels={"team": "blue"},
        serviceAccount="robot",
        encryptionSpec={"kmsKeyName": "k"},
        **spec(hyperParameters={"epochCount": "2", "adapterSize": 2}, exportLastCheckpointOnly=True),
    )

    number = number_in(made)
    assert made["name"] == f"projects/p/locations/us-central1/tuningJobs/{number}"
    assert number.isdigit()
    assert len(number) <= 19
    assert made["state"] == "JOB_STATE_PENDING"
    assert made["tuningJobState"] == "TUNING_JOB_STATE_PROCESSING_DATASET"
    assert made["baseModel"] == "gemini-1.5-flash-002"
    assert made["supervisedTuningSpec"] == {
        "trainingDatasetUri": URI,
        "hyperParameters": {"epochCount": "2", "learningRateMultiplier": 1, "adapterSize": "ADAPTER_SIZE_FOUR"},
        "exportLastCheckpointOnly": True,
    }
    assert (made["tunedModelDisplayName"], made["description"], made["labels"]) == (
        "mine",
        "about it",
        {"team": "blue"},
    )
    assert (made["serviceAccount"], made["encryptionSpec"]) == ("robot", {"kmsKeyName": "k"})
    assert "tunedModel" not in made
    assert tunings.get(made) == made


def test_a_job_goes_from_pending_to_succeeded_and_is_never_shown_as_queued(tunings):
    made = tunings.create(**spec(validationDatasetUri=tunings.write("v.jsonl"), hyperParameters={"epochCount": 2}))
    tunings.prepare()
    waiting = tunings.get(made)
    tunings.workshop.advance(steps=2)
    running = tunings.get(made)
    tunings.workshop.running.give_back(_only_job(tunings), died=False)
    tunings.workshop.advance()
    done = tunings.get(made)

    assert [each["state"] for each in (waiting, running, done)] == [
        "JOB_STATE_PENDING",
        "JOB_STATE_RUNNING",
        "JOB_STATE_SUCCEEDED",
    ]
    assert waiting["tuningJobState"] == "TUNING_JOB_STATE_WAITING_FOR_CAPACITY"
    assert running["tuningJobState"] == "TUNING_JOB_STATE_TUNING"
    assert running["tuningJobMetadata"]["completedStepCount"] == "2"
    assert "tuningJobState" not in done
    assert done["createTime"] < done["startTime"] < done["endTime"] == done["updateTime"]
    assert done["tunedModel"]["model"] == made["name"].replace("tuningJobs", "models") + "@1"
    last = done["tunedModel"]["checkpoints"][-1]
    assert done["tunedModel"]["endpoint"] == last["endpoint"]
    assert (last["checkpointId"], last["step"], last["epoch"]) == ("1", "8", "2")
    stats = done["tuningDataStats"]["supervisedTuningDataStats"]
    assert (stats["tuningDatasetExampleCount"], stats["tuningStepCount"]) == ("15", "8")


def _only_job(tunings):
    with tunings.workshop.database.read() as connection:
        [job_id] = tuning_jobs.states(connection)
    return job_id


def test_v1_shows_nothing_that_only_v1beta1_has(tunings):
    made = tunings.create(**spec(hyperParameters={"learningRate": 0.01, "batchSize": "3"}))
    later, earlier = tunings.get(made), tunings.get(made, version="v1")

    assert later["supervisedTuningSpec"]["hyperParameters"] == {
        "adapterSize": "ADAPTER_SIZE_EIGHT",
        "batchSize": "3",
        "learningRate": 0.01,
    }
    assert earlier["supervisedTuningSpec"]["hyperParameters"] == {"adapterSize": "ADAPTER_SIZE_EIGHT"}
    assert "tuningJobState" not in earlier


def test_values_that_nobody_gave_are_written_back_once_the_examples_were_read(tunings):
    made = tunings.create()
    assert "epochCount" not in made["supervisedTuningSpec"]["hyperParameters"]

    tunings.prepare()

    assert tunings.get(made)["supervisedTuningSpec"]["hyperParameters"] == {
        "epochCount": "5",
        "learningRateMultiplier": 1,
        "adapterSize": "ADAPTER_SIZE_EIGHT",
    }
    with tunings.workshop.database.read() as connection:
        job = tuning_jobs.find(connection, _only_job(tunings))
    assert (job.adapter.rank, job.example_count, job.state) == (8, 15, JobState.QUEUED)


def test_the_name_is_made_of_the_base_model_if_nobody_gave_one(tunings):
    shown = tunings.create()["tunedModelDisplayName"]
    assert shown.startswith("gemini-1.5-flash-002-")
    assert len(shown) == len("gemini-1.5-flash-002-") + 36


@pytest.mark.parametrize(
    "name", ["models/gemini-1.5-pro-002", "publishers/google/models/gemini-1.5-pro-002", "gemini-1.5-pro-002"]
)
def test_a_base_model_may_be_written_with_what_clients_put_before_it(tunings, name):
    made = tunings.create(baseModel=name)
    assert made["baseModel"] == "gemini-1.5-pro-002"
    assert made["supervisedTuningSpec"]["hyperParameters"]["adapterSize"] == "ADAPTER_SIZE_FOUR"


def test_a_base_under_its_own_name_is_tuned_with_any_size(tunings):
    made = tunings.create(baseModel="echo-001", **spec(hyperParameters={"adapterSize": "ADAPTER_SIZE_THIRTY_TWO"}))
    assert made["supervisedTuningSpec"]["hyperParameters"]["adapterSize"] == "ADAPTER_SIZE_THIRTY_TWO"


def test_both_spellings_are_read_at_every_depth(tunings):
    body = {"tuned_model_display_name": "x", "supervised_tuning_spec": {"hyper_parameters": {"epoch_count": 3}}}
    body["supervised_tuning_spec"]["training_dataset_uri"] = URI
    made = tunings.call(tunings.methods.create, {}, body={"base_model": "gemini-1.5-flash-002"} | body)
    assert made["tunedModelDisplayName"] == "x"
    assert made["supervisedTuningSpec"]["hyperParameters"]["epochCount"] == "3"


SPEC = "tuning_job.supervised_tuning_spec"
SIZE = f"{SPEC}.hyper_parameters.adapter_size"
UNSUPPORTED = "The adapter size is not supported for this base model."


@pytest.mark.parametrize(
    ("base", "size", "allowed"),
    [
        ("gemini-1.5-pro-002", "ONE", True),
        ("gemini-1.5-pro-002", "FOUR", True),
        ("gemini-1.5-pro-002", "EIGHT", False),
        ("gemini-1.5-pro-002", "SIXTEEN", False),
        ("gemini-1.5-flash-002", "SIXTEEN", True),
        ("gemini-1.5-flash-002", "THIRTY_TWO", False),
        ("gemini-1.5-flash-002", "TWO", False),
    ],
)
def test_the_sizes_of_adapters_depend_on_the_base_model(tunings, base, size, allowed):
    body = {"baseModel": base, **spec(hyperParameters={"adapterSize": f"ADAPTER_SIZE_{size}"})}
    if allowed:
        made = tunings.create(**body)
        assert made["supervisedTuningSpec"]["hyperParameters"]["adapterSize"] == f"ADAPTER_SIZE_{size}"
    else:
        assert refused(tunings, **body) == {SIZE: UNSUPPORTED}


def test_a_base_model_that_nobody_serves_is_refused_as_an_argument(tunings):
    assert refused(tunings, baseModel="gemini-9") == {"tuning_job.base_model": "Base model gemini-9 is not supported"}


@pytest.mark.parametrize("uri", ["t.jsonl", "gs://shared/t.csv", "", "projects/p/locations/l/datasets/1"])
def test_an_address_that_is_no_file_of_rows_is_refused(tunings, uri):
    [(field, described)] = refused(tunings, **spec(trainingDatasetUri=uri)).items()
    assert field == f"{SPEC}.training_dataset_uri"
    assert described.startswith("training_dataset_uri should be a GCS object of type JSONL.")


def test_all_faults_are_told_at_once_in_one_message(tunings):
    with pytest.raises(InvalidArgument) as caught:
        tunings.create(**spec(trainingDatasetUri="t", validationDatasetUri="v"))
    assert caught.value.message == (
        "List of found errors:\t"
        + "".join(
            f"{number}.Field: {SPEC}.{name}; Message: {name} should be a GCS object of type JSONL.\t"
            for number, name in enumerate(("training_dataset_uri", "validation_dataset_uri"), 1)
        )
    )


@pytest.mark.parametrize("uri", ["gs://shared/missing.jsonl", "gs://nowhere/t.jsonl"])
def test_a_file_that_is_not_there_is_not_found(tunings, uri):
    with pytest.raises(NotFound):
        tunings.create(**spec(trainingDatasetUri=uri))
    assert tunings.list() == {}


def test_the_first_rows_are_looked_at_before_a_job_is_accepted(tunings):
    tunings.write("bad.jsonl", [b'{"input_text": "a", "output_text": "b"}'])
    with pytest.raises(InvalidArgument, match=r"^Row: 0\. Missing required 'contents' field\."):
        tunings.create(**spec(trainingDatasetUri="gs://shared/bad.jsonl"))
    assert tunings.list() == {}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"tunedModelDisplayName": "x" * 129}, "tuning_job.tuned_model_display_name"),
        ({"labels": {"Team": "x"}}, "tuning_job.labels"),
        ({"labels": {"1a": "x"}}, "tuning_job.labels"),
        ({"labels": {"a": "X"}}, "tuning_job.labels"),
        ({"labels": {"a": "x" * 65}}, "tuning_job.labels"),
        ({"labels": {f"k{n}": "" for n in range(65)}}, "tuning_job.labels"),
        (spec(hyperParameters={"epochCount": -1}), f"{SPEC}.hyper_parameters.epoch_count"),
        (spec(hyperParameters={"learningRateMultiplier": -1}), f"{SPEC}.hyper_parameters.learning_rate_multiplier"),
        (
            spec(hyperParameters={"learningRateMultiplier": 1, "learningRate": 0.1}),
            f"{SPEC}.hyper_parameters.learning_rate",
        ),
        (spec(tuningMode="TUNING_MODE_FULL"), f"{SPEC}.tuning_mode"),
        ({"customBaseModel": "gs://b/w"}, "tuning_job.custom_base_model"),
        ({"outputUri": "gs://b/o"}, "tuning_job.output_uri"),
        (
            spec(
                evaluationConfig={"metrics": [{"bleuSpec": {}}, {"pointwiseMetricSpec": {"metricPromptTemplate": "t"}}]}
            ),
            f"{SPEC}.evaluation_config.metrics[1].pointwise_metric_spec",
        ),
    ],
)
def test_what_is_wrong_is_named_by_its_field(tunings, body, field):
    assert list(refused(tunings, **body)) == [field]


def test_a_display_name_of_128_characters_and_labels_of_any_script_are_allowed(tunings):
    made = tunings.create(tunedModelDisplayName="é" * 128, labels={"größe_1": "東京-2", "k": ""})
    assert made["labels"] == {"größe_1": "東京-2", "k": ""}


@pytest.mark.parametrize(
    "name",
    [
        "distillationSpec",
        "reinforcementTuningSpec",
        "partnerModelTuningSpec",
        "veoTuningSpec",
        "veoLoraTuningSpec",
        "fullFineTuningSpec",
        "preferenceOptimizationSpec",
    ],
)
def test_other_kinds_of_tuning_are_refused_by_their_names(tunings, name):
    with pytest.raises(InvalidArgument, match=name):
        tunings.call(tunings.methods.create, {}, body={"baseModel": "gemini-1.5-flash-002", name: {}})


@pytest.mark.parametrize(
    "body", [{"preTunedModel": {"tunedModelName": "projects/p/locations/l/models/1"}}, {"baseModel": ""}]
)
def test_exactly_one_source_is_needed(tunings, body):
    with pytest.raises(InvalidArgument):
        tunings.create(**body)


def test_unknown_fields_are_refused(tunings):
    with pytest.raises(InvalidArgument, match="tuning_job"):
        tunings.create(whatever=1)


def test_null_is_the_same_as_absent(tunings):
    metrics = [{"rouge_spec": {"rouge_type": "rougelsum"}, "pointwise_metric_spec": None, "bleu_spec": None}]
    made = tunings.create(labels=None, description=None, **spec(evaluationConfig={"metrics": metrics}))
    assert "labels" not in made
    shown = made["supervisedTuningSpec"]["evaluationConfig"]
    assert shown == {"metrics": [{"rougeSpec": {"rougeType": "rougelsum"}}]}


def test_parameters_of_a_metric_keep_their_own_names(tunings):
    metric = {
        "computation_based_metric_spec": {"type": "ROUGE", "parameters": {"use_stemmer": None, "a_b": {"c_d": 1}}}
    }
    made = tunings.create(**spec(evaluationConfig={"metrics": [metric]}))
    [shown] = made["supervisedTuningSpec"]["evaluationConfig"]["metrics"]
    assert shown == {"computationBasedMetricSpec": metric["computation_based_metric_spec"]}


def test_a_job_is_found_in_its_project_and_location_only(tunings):
    made = tunings.create()
    for place in (ELSEWHERE, {**PLACE, "project": "q"}):
        with pytest.raises(NotFound):
            tunings.get(made, place=place)
        assert tunings.list(place=place) == {}
    assert tunings.get(made, place={"project": "p", "location": "None"}) == made


def test_paths_without_a_project_mean_that_of_the_key(tunings):
    made = tunings.create(principal=ADA, place={"project": ADA.project, "location": "us-central1"})
    assert tunings.get(made, principal=ADA, place={}) == made


def test_a_key_of_one_project_may_not_name_another(tunings):
    made = tunings.create()
    with pytest.raises(IamDenied, match=r"Permission 'aiplatform\.tuningJobs\.get' denied on resource"):
        tunings.get(made, principal=ADA)


@pytest.mark.parametrize("place", [{**PLACE, "location": "-"}, {**PLACE, "project": "-"}])
def test_wildcards_are_refused(tunings, place):
    with pytest.raises(InvalidArgument):
        tunings.list(place=place)


@pytest.mark.parametrize("number", ["1", "x", "-1", "٣", "9" * 19, "9" * 400])
def test_a_job_that_is_not_there_is_not_found(tunings, number):
    with pytest.raises(NotFound):
        tunings.get({"name": f"tuningJobs/{number}"})


def test_a_job_has_one_name_only_without_zeros_before_its_number(tunings):
    number = tunings.create()["name"].rpartition("/")[2]
    with pytest.raises(NotFound):
        tunings.get({"name": f"tuningJobs/0{number}"})


def test_nobody_sees_jobs_of_models_on_which_they_have_no_role(tunings):
    made = tunings.create()
    assert tunings.list(principal=BOBS) == {}
    with pytest.raises(NotFound):
        tunings.get(made, principal=BOBS)
    with pytest.raises(NotFound):
        tunings.cancel(made, principal=BOBS)


def test_jobs_are_listed_newest_first_and_page_by_page_with_a_filter(tunings):
    made = [tunings.create(labels={"odd": str(number % 2)}) for number in range(7)]
    names = [each["name"] for each in made]

    first = tunings.list({"pageSize": "2", "filter": 'labels.odd="0"'})
    second = tunings.list({"page_size": "2", "filter": 'labels.odd="0"', "pageToken": first["nextPageToken"]})

    assert [each["name"] for each in first["tuningJobs"]] == [names[6], names[4]]
    assert [each["name"] for each in second["tuningJobs"]] == [names[2], names[0]]
    assert "nextPageToken" not in second
    assert [each["name"] for each in tunings.list()["tuningJobs"]] == names[::-1]
    with pytest.raises(InvalidArgument):
        tunings.list({"filter": "labels.odd=1", "pageToken": first["nextPageToken"]})


@pytest.mark.parametrize(
    ("filter_", "found"),
    [
        ('state="JOB_STATE_PENDING"', True),
        ("state=JOB_STATE_RUNNING", False),
        ('labels.team="blue"', True),
        ("labels.team:*", True),
        ("labels.other:*", False),
        ('tuned_model_display_name="mine" AND base_model="gemini-1.5-flash-002"', True),
        ('tunedModelDisplayName="yours"', False),
        ('create_time>"2020-01-01T00:00:00Z"', True),
        ('createTime<"2020-01-01T00:00:00Z"', False),
        ('create_time>="2020-01-01T00:00:00.000000001+14:00"', True),
        ("end_time:*", False),
        ('end_time<"2999-01-01T00:00:00Z"', False),
        ('end_time>"2020-01-01T00:00:00Z"', False),
        ('end_time!="2020-01-01T00:00:00Z"', True),
    ],
)
def test_filters_are_on_fields_in_either_spelling(tunings, filter_, found):
    tunings.create(tunedModelDisplayName="mine", labels={"team": "blue"})
    assert bool(tunings.list({"filter": filter_})) is found


@pytest.mark.parametrize("filter_", ["nonsense", "colour=red", 'create_time>"yesterday"', "end_time<tomorrow"])
def test_filters_that_mean_nothing_are_refused_even_where_no_job_is(tunings, filter_):
    with pytest.raises(InvalidArgument):
        tunings.list({"filter": filter_})


def test_a_waiting_job_is_cancelled_at_once_and_stays_readable(tunings):
    made = tunings.create()
    assert tunings.cancel(made) == {}
    gone = tunings.get(made)
    assert (gone["state"], gone["error"]["code"]) == ("JOB_STATE_CANCELLED", 1)
    assert gone["endTime"]
    assert tunings.cancel(made) == {}
    assert tunings.preparing.claim() is None


@pytest.mark.parametrize("body", [None, {}, ""])
def test_cancel_takes_no_body_or_an_empty_one(tunings, body):
    made = tunings.create()
    assert tunings.call(tunings.methods.cancel, {"tuning_job": number_in(made)}, body=body) == {}
    assert tunings.get(made)["state"] == "JOB_STATE_CANCELLED"


def test_a_job_has_no_operations(tunings):
    made = tunings.create()
    path = {"tuning_job": number_in(made)}
    assert tunings.call(tunings.methods.list_operations, path) == {}
    with pytest.raises(NotFound):
        tunings.call(tunings.methods.operation, {**path, "operation": "1"})


def test_a_job_made_here_is_a_tuned_model_of_geminis_dialect(tunings):
    made = tunings.create(tunedModelDisplayName="mine")
    [tuned] = tunings.workshop.tuning.list(ADA).items
    assert (tuned.model.display_name, tuned.model.state, tuned.job.total_steps) == ("mine", "CREATING", 0)
    tunings.train()
    assert tunings.workshop.tuning.get(ADA, tuned.model.id).model.state == "ACTIVE"
    assert tunings.get(made)["state"] == "JOB_STATE_SUCCEEDED"


def test_further_jobs_of_a_project_wait_where_it_may_have_one_at_a_time(workshop, bucket):
    quota = ProjectQuota(most=1)
    workshop.running.turns._project_quota = quota  # Why: the workshop's own has no quota
    tunings = tunings_over(workshop, bucket, quota=quota)
    tunings.write()
    first, second = tunings.create(), tunings.create(place=ELSEWHERE)
    other = tunings.create(place={"project": "q", "location": "us-central1"})
    for _ in range(3):
        tunings.prepare()
    workshop.advance(steps=1)

    assert tunings.get(second, place=ELSEWHERE)["tuningJobState"] == "TUNING_JOB_STATE_WAITING_FOR_QUOTA"
    claimed = workshop.running.claim()
    place = {"project": "q", "location": "us-central1"}
    assert tunings.get(other, place=place)["state"] == "JOB_STATE_RUNNING"
    assert claimed is not None
    assert workshop.running.claim() is None
    assert tunings.get(first)["state"] == "JOB_STATE_RUNNING"


def test_further_jobs_of_a_project_are_refused_where_they_do_not_wait(workshop, bucket):
    tunings = tunings_over(workshop, bucket, quota=ProjectQuota(most=1, rejects=True))
    tunings.write()
    made = tunings.create()
    with pytest.raises(ResourceExhausted):
        tunings.create(place=ELSEWHERE)
    tunings.create(place={"project": "q", "location": "us-central1"})
    tunings.cancel(made)
    tunings.create()


def test_a_model_that_is_tuned_further_becomes_the_next_version_of_its_parent(tunings):
    first = tunings.create(tunedModelDisplayName="mine")
    tunings.train()
    model = tunings.get(first)["tunedModel"]["model"].partition("@")[0]
    body = {"supervisedTuningSpec": {"trainingDatasetUri": URI}}

    again = tunings.call(
        tunings.methods.create, {}, body=body | {"preTunedModel": {"tuned_model_name": model, "checkpoint_id": "1"}}
    )
    tunings.train()
    named = tunings.call(tunings.methods.create, {}, body=body | {"baseModel": f"{model}@1"})
    tunings.train()
    other = tunings.call(
        tunings.methods.create,
        {},
        body=body | {"preTunedModel": {"tunedModelName": model}, "tunedModelDisplayName": "another"},
    )
    tunings.train()

    shown = tunings.get(again)
    assert "baseModel" not in shown
    assert shown["preTunedModel"] == {
        "tunedModelName": model,
        "checkpointId": "1",
        "baseModel": "gemini-1.5-flash-002",
    }
    assert shown["tunedModelDisplayName"] == "mine"
    assert tunings.get(again)["tunedModel"]["model"] == f"{model}@2"
    assert tunings.get(named)["tunedModel"]["model"] == f"{model}@3"
    assert tunings.get(other)["tunedModel"]["model"].endswith("@1")
    assert not tunings.get(other)["tunedModel"]["model"].startswith(model)


def test_whoever_may_only_read_a_model_makes_a_model_of_their_own_of_it(tunings):
    first = tunings.create(tunedModelDisplayName="mine")
    tunings.train()
    model = tunings.get(first)["tunedModel"]["model"].partition("@")[0]
    everyone = PermissionRequest(grantee_type=GranteeType.EVERYONE, role=Role.READER)
    tunings.workshop.sharing.create(ADA, _model(tunings, first).id, everyone)

    body = spec(trainingDatasetUri=URI) | {"preTunedModel": {"tunedModelName": model}}
    bobs = tunings.call(tunings.methods.create, {}, body=body, principal=BOBS)
    tunings.train()

    own = bobs["name"].replace("tuningJobs", "models")
    assert tunings.get(bobs, principal=BOBS)["tunedModel"]["model"] == f"{own}@1"
    assert _model(tunings, first).version_aliases == ("default",)


def test_a_job_goes_on_from_the_version_before_as_long_as_the_next_one_has_left_nothing(tunings):
    first = tunings.create(tunedModelDisplayName="mine")
    tunings.train()
    model = tunings.get(first)["tunedModel"]["model"].partition("@")[0]
    body = spec(trainingDatasetUri=URI) | {"preTunedModel": {"tunedModelName": model}}
    second = tunings.call(tunings.methods.create, {}, body=body)
    tunings.cancel(second)

    third = tunings.call(tunings.methods.create, {}, body=body)

    assert _model(tunings, third).source == _model(tunings, first).id
    assert _model(tunings, third).version == 3


def test_a_key_that_was_made_for_a_project_goes_on_from_models_of_this_project_alone(tunings):
    first = tunings.create()
    tunings.train()
    model = tunings.get(first)["tunedModel"]["model"]
    elsewhere = {"project": "q", "location": "us-central1"}
    bound = replace(ADA, project="q")
    for source in ({"preTunedModel": {"tunedModelName": model}}, {"baseModel": model}):
        body = spec(trainingDatasetUri=URI) | source
        with pytest.raises(IamDenied):
            tunings.call(tunings.methods.create, {}, body=body, principal=bound, place=elsewhere)
    assert tunings.list(principal=bound, place=elsewhere) == {}


def test_checkpoints_have_the_ids_that_their_model_has_for_them(tunings):
    made = tunings.create(**spec(hyperParameters={"epochCount": 2}))
    tunings.prepare()
    job_id = _only_job(tunings)
    early = tunings.workshop.artifacts.work(job_id).below("early")
    with tunings.workshop.artifacts.store.writing(early) as directory:
        directory.mkdir()
    tunings.workshop.advance(steps=4)
    tunings.workshop.running.checkpoint_kept(job_id, 4, 1, early)
    tunings.workshop.running.give_back(job_id, died=False)
    tunings.workshop.advance()
    with tunings.workshop.database.write() as connection:
        checkpoints.drop_checkpoint(connection, job_id, 1)

    [kept] = tunings.get(made)["tunedModel"]["checkpoints"]

    assert kept["checkpointId"] == str(_model(tunings, made).default_checkpoint) == "2"


def _model(tunings, made):
    with tunings.workshop.database.read() as connection:
        return registry.find_numbered(connection, ProjectLocation("p", "us-central1"), int(number_in(made)))


def test_a_job_goes_on_from_the_checkpoint_that_is_named(tunings):
    workshop = tunings.workshop
    first = tunings.create(**spec(hyperParameters={"epochCount": 2}))
    tunings.prepare()
    workshop.advance(steps=4)
    job_id = _only_job(tunings)
    early = workshop.artifacts.work(job_id).below("early")
    with workshop.artifacts.store.writing(early) as directory:
        directory.mkdir()
        (directory / "answers.json").write_text("early")
    workshop.running.checkpoint_kept(job_id, 4, 1, early)
    workshop.running.give_back(job_id, died=False)
    workshop.advance()
    model = tunings.get(first)["tunedModel"]["model"]
    body = spec(trainingDatasetUri=URI)

    def first_weights(**source):
        before = _jobs(tunings)
        source = {"tunedModelName": model, **source}
        tunings.call(tunings.methods.create, {}, body=body | {"preTunedModel": source})
        [made] = _jobs(tunings) - before
        path = workshop.artifacts.store.path(workshop.artifacts.source(made))
        return (path / "answers.json").read_text()

    assert [each["step"] for each in tunings.get(first)["tunedModel"]["checkpoints"]] == ["4", "8"]
    assert first_weights(checkpointId="1") == "early"
    assert first_weights(checkpointId="2") == first_weights() != "early"
    with pytest.raises(NotFound):
        first_weights(checkpointId="3")


def _jobs(tunings):
    with tunings.workshop.database.read() as connection:
        return set(tuning_jobs.states(connection))


def test_a_source_that_the_caller_may_not_see_is_not_found(tunings):
    first = tunings.create()
    tunings.train()
    model = tunings.get(first)["tunedModel"]["model"]
    body = {"supervisedTuningSpec": {"trainingDatasetUri": URI}, "preTunedModel": {"tunedModelName": model}}
    with pytest.raises(NotFound):
        tunings.call(tunings.methods.create, {}, body=body, principal=BOBS)
    with pytest.raises((NotFound, PermissionDenied)):
        tunings.call(tunings.methods.create, {}, body=body | {"preTunedModel": {"tunedModelName": model[:-1] + "9"}})


def test_a_version_keeps_the_size_of_its_adapter(tunings):
    first = tunings.create()
    tunings.train()
    model = tunings.get(first)["tunedModel"]["model"]
    with pytest.raises(InvalidArgument, match="keeps its adapter size"):
        tunings.call(
            tunings.methods.create,
            {},
            body={
                "preTunedModel": {"tunedModelName": model},
                "supervisedTuningSpec": {"trainingDatasetUri": URI, "hyperParameters": {"adapterSize": 1}},
            },
        )
