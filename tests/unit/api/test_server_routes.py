"""Routes of the server itself."""

import io
import json
import tarfile

import pytest
from prometheus_client.parser import text_string_to_metric_families

from caller import caller_of, turn


def test_a_server_that_can_take_work_is_well(caller):
    answer = caller.get("/healthz", key="")

    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


def test_a_server_that_cannot_says_why(workshop):
    caller = caller_of(workshop, healthy=lambda: "the trainer keeps dying")

    answer = caller.get("/healthz", key="")

    assert answer.status_code == 503
    assert answer.json() == {"error": {"code": 503, "message": "the trainer keeps dying", "status": "UNAVAILABLE"}}


def test_metrics_tell_of_jobs_tokens_and_requests(caller):
    caller.create_active()
    caller.create()
    caller.post("/v1beta/models/echo-001:generateContent", {"contents": [turn("a b")]})
    caller.get("/nothing/of/ours")

    answer = caller.get("/metrics")

    samples = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }
    assert answer.headers["content-type"].startswith("text/plain; version=")
    assert samples["tuningfork_tuning_jobs", "queued"] == 1
    assert samples["tuningfork_tuning_jobs", "succeeded"] == 1
    assert samples["tuningfork_tuning_queue_depth",] == 1
    assert samples["tuningfork_tuning_steps_total",] == 19
    assert samples["tuningfork_generation_output_tokens_total",] == 2
    assert samples["tuningfork_http_request_seconds_count", "200", "create_tuned_model"] == 2
    assert samples["tuningfork_http_request_seconds_count", "200", "generate_content"] == 1
    assert samples["tuningfork_http_request_seconds_count", "404", "none"] == 1


@pytest.mark.parametrize("key", ["", "nonsense"])
def test_metrics_are_for_those_who_have_a_key(caller, key):
    answer = caller.get("/metrics", key=key)

    assert answer.status_code == (400 if key else 403)
    assert "tuningfork_" not in answer.text


def test_metrics_are_not_for_access_tokens(caller):
    token = caller.token("https://www.googleapis.com/auth/cloud-platform")

    assert caller.get("/metrics", key="", headers={"authorization": f"Bearer {token}"}).status_code == 403
    assert caller.get("/metrics", key="", headers={"authorization": f"Bearer {caller.key}"}).status_code == 200


def test_metrics_that_the_operator_has_opened_need_no_key(workshop):
    assert caller_of(workshop, open_metrics=True).get("/metrics", key="").status_code == 200


def test_an_adapter_comes_as_a_tar_of_plain_files(caller):
    name = caller.create_active()

    answer = caller.get(f"/tuningfork/v1/{name}/adapter")

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/x-tar"
    assert int(answer.headers["content-length"]) == len(answer.content)
    with tarfile.open(fileobj=io.BytesIO(answer.content)) as archive:
        names = archive.getnames()
        config = archive.extractfile("adapter_config.json").read()
        assert all(member.isfile() for member in archive)
    assert "adapter_config.json" in names
    assert b"LORA" in config


@pytest.mark.parametrize(
    ("written", "query", "wanted"),
    [
        ("/srv/models/echo", "", "echo-001"),
        ("echo-001", "", "echo-001"),
        ("/srv/models/echo", "?baseName=Org/Echo-1B", "Org/Echo-1B"),
    ],
)
def test_an_adapter_names_its_base_and_never_a_path_of_the_server(caller, written, query, wanted):
    name = caller.create_active()
    job_id = caller.get(f"/v1beta/{name}/operations").json()["operations"][0]["name"].rpartition("/")[2]
    artifacts = caller.workshop.artifacts
    with artifacts.store.writing(artifacts.adapter(job_id)) as directory:
        directory.mkdir()
        config = {"base_model_name_or_path": written, "revision": "v1", "r": 8}
        (directory / "adapter_config.json").write_text(json.dumps(config))

    answer = caller.get(f"/tuningfork/v1/{name}/adapter{query}")

    assert answer.headers["content-length"] == str(len(answer.content))
    with tarfile.open(fileobj=io.BytesIO(answer.content)) as archive:
        config = json.loads(archive.extractfile("adapter_config.json").read())
    assert config == {"base_model_name_or_path": wanted, "revision": None, "r": 8}
    assert caller.get(f"/tuningfork/v1/{name}/adapter?baseName=%0A").status_code == 400
    assert caller.get(f"/tuningfork/v1/{name}/adapter?base=x").status_code == 400


def test_an_adapter_is_for_those_who_may_read_the_model(caller):
    name = caller.create_active()

    answer = caller.get(f"/tuningfork/v1/{name}/adapter", key=caller.bobs_key)

    assert answer.status_code == 403


def test_where_a_model_lies_is_told_to_those_who_may_read_it(caller):
    name = caller.create_active()
    path, shape = f"/tuningfork/v1/{name}/residence", {"adapterRank": 4, "adapterAlpha": 16}

    assert caller.get(path).json() == {"tunedModel": name, "resident": False, "pinned": False, **shape}
    caller.post(f"/v1beta/{name}:generateContent", {"contents": [turn("1")]})
    resident = {"tunedModel": name, "resident": True, "sizeBytes": "1000", "pinned": False, **shape}
    assert caller.get(path).json() == resident
    assert caller.get(path, key=caller.bobs_key).status_code == 403
    assert caller.get(path, key="").status_code == 403
    assert caller.get("/tuningfork/v1/tunedModels/nobody/residence").status_code == 404


def test_what_the_losses_of_a_run_show_is_told_to_those_who_may_read_the_model(caller):
    name = caller.create_active()
    path = f"/tuningfork/v1/{name}/diagnosis"

    answer = caller.get(path).json()
    assert answer["tunedModel"] == name
    assert answer.keys() <= {"tunedModel", "completedSteps", "findings"}
    assert caller.get(path, key=caller.bobs_key).status_code == 403
    assert caller.get("/tuningfork/v1/tunedModels/nobody/diagnosis").status_code == 404
    assert caller.get("/tuningfork/v1/diagnoses").json() == {}
    assert caller.get("/tuningfork/v1/diagnoses?pageSize=-1").status_code == 400


def test_where_a_model_lies_is_told_as_the_system_parameters_say(caller):
    path = f"/tuningfork/v1/{caller.create_active()}/residence"

    assert caller.get(f"{path}?fields=pinned&prettyPrint=false").content == b'{"pinned":false}\n'
    assert caller.get(f"{path}?alt=sse").status_code == 400


def test_a_server_whose_parts_all_work_is_ready(workshop):
    caller = caller_of(workshop, ready=lambda: {"database": None, "trainer": None})

    answer = caller.get("/readyz", key="")

    assert (answer.status_code, answer.json()) == (
        200,
        {"status": "ready", "checks": {"database": "ok", "trainer": "ok"}},
    )


def test_a_server_that_is_not_ready_names_the_part(workshop):
    caller = caller_of(workshop, ready=lambda: {"database": "it is full", "trainer": None})

    answer = caller.get("/readyz", key="")

    assert answer.status_code == 503
    assert answer.json() == {"status": "not ready", "checks": {"database": "it is full", "trainer": "ok"}}


def test_a_token_for_metrics_opens_nothing_else(workshop):
    caller = caller_of(workshop, metrics_token="for-metrics-only-1")
    bearer = {"authorization": "Bearer for-metrics-only-1"}

    assert caller.get("/metrics", key="", headers=bearer).status_code == 200
    assert caller.get("/metrics", key="for-metrics-only-1").status_code == 200
    assert caller.get("/metrics", key="", headers={"authorization": "Bearer for-metrics-only-2"}).status_code == 401
    assert caller.get("/v1beta/models", key="", headers=bearer).status_code == 401
    assert caller.get("/metrics").status_code == 200


def test_metrics_tell_of_models_by_state_and_base(caller):
    caller.create_active()
    caller.create()

    text = caller.get("/metrics").text

    assert 'tuningfork_tuned_models{base_model="models/gemini-1.0-pro-001",state="ACTIVE"} 1.0' in text
    assert 'tuningfork_tuned_models{base_model="models/gemini-1.0-pro-001",state="CREATING"} 1.0' in text
