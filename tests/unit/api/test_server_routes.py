"""Routes of the server itself."""

import io
import tarfile

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

    answer = caller.get("/metrics", key="")

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


def test_an_adapter_is_for_those_who_may_read_the_model(caller):
    name = caller.create_active()

    answer = caller.get(f"/tuningfork/v1/{name}/adapter", key=caller.bobs_key)

    assert answer.status_code == 403


def test_where_a_model_lies_is_told_to_those_who_may_read_it(caller):
    name = caller.create_active()
    path = f"/tuningfork/v1/{name}/residence"

    assert caller.get(path).json() == {"tunedModel": name, "resident": False, "pinned": False}
    caller.post(f"/v1beta/{name}:generateContent", {"contents": [turn("1")]})
    assert caller.get(path).json() == {"tunedModel": name, "resident": True, "sizeBytes": "1000", "pinned": False}
    assert caller.get(path, key=caller.bobs_key).status_code == 403
    assert caller.get(path, key="").status_code == 403
    assert caller.get("/tuningfork/v1/tunedModels/nobody/residence").status_code == 404
