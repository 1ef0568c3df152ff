"""Tuned models on top of tuned models, deleted and killed at the worst of times, with real processes."""

import io
import tarfile

import pytest

from live_server import LiveServer
from patience import RUN_SECONDS, paths_below, wait_until

pytestmark = [pytest.mark.acceptance, pytest.mark.slow, pytest.mark.timeout(1_200)]


LONG = 700
"""Epochs that last longer than what is done to a job meanwhile, also when a busy machine is slow to do it."""


def body(examples=6, epochs=20, **origin):
    pairs = [{"textInput": f"{n}", "output": f"{n + 1}"} for n in range(examples)]
    return {
        **(origin or {"baseModel": "models/tiny"}),
        "tuningTask": {
            "hyperparameters": {"batchSize": 2, "learningRate": 0.002, "epochCount": epochs},
            "trainingData": {"examples": {"examples": pairs}},
        },
    }


def on(source, **changes):
    return body(tunedModelSource={"tunedModel": f"tunedModels/{source}"}, **changes)


def create(client, name, wanted):
    answer = client.post(f"/v1beta/tunedModels?tunedModelId={name}", json=wanted)
    assert answer.status_code == 200, answer.text
    return answer.json()["name"]


def shown(client, name, fields="*"):
    return client.get(f"/v1beta/tunedModels/{name}", params={"fields": fields}).raise_for_status().json()


def taken(client, operation):
    """How many steps the job has taken, which costs less to ask than all of them."""
    shown = client.get(f"/v1beta/{operation}", params={"fields": "metadata.completedSteps"}).raise_for_status().json()
    return shown.get("metadata", {}).get("completedSteps", 0)


def steps(client, name):
    snapshots = shown(client, name)["tuningTask"].get("snapshots", [])
    return [(snapshot["step"], snapshot["meanLoss"]) for snapshot in snapshots]


def wait_for_end(client, name):
    def has_ended():
        return shown(client, name, "state")["state"] != "CREATING"

    wait_until(has_ended, what=f"{name} ends", seconds=RUN_SECONDS, every=0.1)
    assert shown(client, name)["state"] == "ACTIVE"


def adapter(client, name):
    archive = client.get(f"/tuningfork/v1/tunedModels/{name}/adapter").raise_for_status().content
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        member = next(member for member in tar.getnames() if member.endswith("adapter_model.safetensors"))
        return tar.extractfile(member).read()


def files(server):
    """Every file and folder of any job."""
    rooms = ("datasets", "work", "adapters")
    return [
        str(path.relative_to(server.data_directory))
        for room in rooms
        for path in paths_below(server.data_directory / room)
    ]


@pytest.fixture
def server(tmp_path, tiny_directories):
    servers = []

    def make(name, *, with_base=True, directory=None):
        base = ("--base-model", f"tiny={tiny_directories['llama']}") if with_base else ()
        server = LiveServer(directory or tmp_path / name, *base)
        servers.append(server)
        server.start()
        return server

    yield make
    for server in servers:
        server.stop()


def test_a_job_on_a_deleted_source_survives_kill_9_and_ends_as_if_undisturbed(server):
    calm, stormy = server("calm"), server("stormy")
    with calm.client() as client:
        create(client, "source", body())
        wait_for_end(client, "source")
        create(client, "further", on("source", epochs=LONG))
        wait_for_end(client, "further")
        undisturbed = adapter(client, "further"), steps(client, "further")
        assert undisturbed[0] != adapter(client, "source")

    with stormy.client() as client:
        create(client, "source", body())
        wait_for_end(client, "source")
        further = create(client, "further", on("source", epochs=LONG))
        assert client.delete("/v1beta/tunedModels/source").json() == {}
    for role in ("server", "trainer", "trainer", "server", "trainer"):
        with stormy.client() as client:
            before = taken(client, further)
            wait_until(lambda client=client, before=before: taken(client, further) > before, what="a further step")
            assert shown(client, "further", "state")["state"] == "CREATING"
        assert stormy.kill(role)
        if role == "server":
            stormy.start()
    with stormy.client() as client:
        wait_for_end(client, "further")
        assert (adapter(client, "further"), steps(client, "further")) == undisturbed
        assert shown(client, "further")["tunedModelSource"] == {
            "tunedModel": "tunedModels/source",
            "baseModel": "models/tiny",
        }


def test_a_model_that_is_deleted_while_it_is_made_leaves_nothing_at_whatever_moment(server):
    live = server("deleting")
    with live.client() as client:
        create(client, "source", body(epochs=1))
        wait_for_end(client, "source")
        wait_until(lambda: not paths_below(live.data_directory / "work"), what="the trainer's own files are removed")
        before = files(live)
        for moment in ("at once", "when it runs", "when it has taken steps"):
            long = create(client, "long", on("source", epochs=1_000))
            waiting = create(client, "waiting", on("source", epochs=1_000))
            job = long.rpartition("/")[2]
            if moment != "at once":
                wait_until(lambda: "startTime" in shown(client, "long")["tuningTask"], what="it runs")
            if moment == "when it has taken steps":
                wait_until(lambda long=long: taken(client, long) > 25, what="it has a savepoint")
            for name in ("waiting", "long"):
                assert client.delete(f"/v1beta/tunedModels/{name}").json() == {}

            for path in (
                "tunedModels/long",
                "tunedModels/long/permissions",
                "tunedModels/long/operations",
                f"tunedModels/long/operations/{job}",
                waiting,
            ):
                answer = client.get(f"/v1beta/{path}")
                assert answer.status_code == 404, path
                assert answer.json()["error"]["message"].endswith("does not exist.")
            wait_until(lambda: files(live) == before, what=f"nothing is left ({moment})")
        # The trainer is none the worse for it.
        create(client, "after", on("source", epochs=1))
        wait_for_end(client, "after")


def test_a_job_whose_base_is_missing_at_a_restart_waits_for_it(server, tmp_path):
    first = server("strand")
    with first.client() as client:
        operation = create(client, "long", body(epochs=400))
        wait_until(lambda: taken(client, operation) > 25, what="it has a savepoint")
    first.stop()

    without = server("strand", with_base=False)
    with without.client() as client:
        seen = shown(client, "long"), client.get(f"/v1/{operation}").json()
        assert (seen[0]["state"], "done" in seen[1]) == ("CREATING", False)
        assert len(seen[1]["metadata"]["snapshots"]) > 25
    told = "waits for models/tiny, which this server does not have"
    wait_until(lambda: told in without.log.read_text(), what="the log says why the job waits")
    assert "cancel or delete tunedModels/long" in without.log.read_text()
    without.stop()

    again = server("strand")
    with again.client() as client:
        wait_for_end(client, "long")
        assert [step for step, _ in steps(client, "long")] == list(range(1, 1_201))
