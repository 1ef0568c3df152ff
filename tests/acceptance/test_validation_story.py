"""Runs that stop early, are killed meanwhile, and are compared in a sweep, with real processes and real commands."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from live_server import LiveServer
from patience import RUN_SECONDS, wait_until

pytestmark = [pytest.mark.acceptance, pytest.mark.slow, pytest.mark.timeout(1_200)]

# The model becomes sure of an answer that is not the one in the validation set.
LEARNED = "text_input,output\n1,2\n3,2\n5,2\n7,2\n"
HELD = "text_input,output\n1,7\n3,7\n"
TUNE = ("tune", "learned.csv", "--from", "models/tiny", "--validation", "held.csv", "--display-name", "story")
SETTINGS = ("--epochs", "1000", "--batch-size", "2", "--learning-rate", "0.0005")
STOPPING = ("--evaluate-every", "20", "--early-stopping", "--patience", "6")


@pytest.fixture
def serve(tmp_path, tiny_directories):
    servers = []

    def make(name):
        server = LiveServer(tmp_path / name, "--base-model", f"tiny={tiny_directories['llama']}")
        servers.append(server)
        server.start()
        return server

    (tmp_path / "learned.csv").write_text(LEARNED)
    (tmp_path / "held.csv").write_text(HELD)
    yield make
    for server in servers:
        server.stop()


def command(server, *arguments, **options):
    program = str(Path(sys.executable).parent / "tuningfork")
    place = server.data_directory.parents[1]
    return subprocess.Popen(
        [program, *map(str, arguments)],
        env=server.environment,
        cwd=place,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def run(server, *arguments):
    process = command(server, *arguments)
    output, errors = process.communicate(timeout=RUN_SECONDS)
    assert process.returncode == 0, errors
    return output, errors


def evaluations(server, name):
    with server.client() as client:
        return client.get(f"/tuningfork/v1/{name}/evaluations?pageSize=1000").raise_for_status().json()


def has_ended(server, name):
    with server.client() as client:
        return client.get(f"/v1beta/{name}?fields=state").raise_for_status().json().get("state") != "CREATING"


def told(found):
    return [(each["step"], each["meanLoss"]) for each in found.get("evaluations", ())]


def weights(server, name, place):
    run(server, "export", name, "--to", place)
    return (place / "adapter_model.safetensors").read_bytes()


def test_a_run_whose_server_and_trainer_are_killed_stops_where_an_undisturbed_one_does(serve, tmp_path):
    calm, stormy = serve("calm"), serve("stormy")
    output, errors = run(calm, *TUNE, *SETTINGS, *STOPPING)
    undisturbed = output.strip()
    assert "4 examples to learn from and 2 to validate with" in errors
    assert "It stopped early, after step" in errors

    name = run(stormy, *TUNE, *SETTINGS, *STOPPING, "--detach")[0].strip()
    for role in ("server", "trainer"):
        before = len(told(evaluations(stormy, name)))
        # On a quick machine the run may have ended by the second time.
        wait_until(
            lambda before=before: len(told(evaluations(stormy, name))) > before or has_ended(stormy, name),
            what="a further evaluation",
            every=0.05,
        )
        assert stormy.kill(role)
        if role == "server":
            stormy.start()
    errors = run(stormy, "watch", name)[1]
    assert "It stopped early, after step" in errors

    wanted, found = evaluations(calm, undisturbed), evaluations(stormy, name)
    assert told(found) == told(wanted)
    assert (found["stoppedEarly"], found["best"]["step"]) == (wanted["stoppedEarly"], wanted["best"]["step"])
    assert weights(stormy, name, tmp_path / "best") == weights(calm, undisturbed, tmp_path / "wanted")

    lines = [line.split("\t") for line in run(stormy, "checkpoints", name)[0].splitlines()]
    assert [(line[1], line[6:]) for line in lines] == [
        (str(found["best"]["step"]), ["default"]),
        (str(found["evaluations"][-1]["step"]), []),
    ]
    shown = json.loads(run(stormy, "checkpoints", name, "--use", lines[1][0], "--json")[0])
    assert [each["default"] for each in shown["checkpoints"]] == [False, True]
    assert weights(stormy, name, tmp_path / "last") != weights(calm, undisturbed, tmp_path / "again")
    assert run(stormy, "generate", name, "1")[0]


def test_a_sweep_that_is_interrupted_goes_on_and_leaves_the_best_model_alone(serve):
    server = serve("sweeping")
    sweep = (
        *(
            "sweep",
            "learned.csv",
            "--from",
            "models/tiny",
            "--validation",
            "held.csv",
            "--display-name",
            "best of four",
        ),
        *("--learning-rates", "0.0005,0.002", "--ranks", "2,4", "--epochs", "400", "--batch-size", "2"),
    )

    def models():
        with server.client() as client:
            return client.get("/v1beta/tunedModels?pageSize=100").raise_for_status().json().get("tunedModels", [])

    interrupted = command(server, *sweep)
    wait_until(lambda: len(models()) == 4, what="all runs have begun", every=0.05)
    interrupted.send_signal(signal.SIGINT)
    output, errors = interrupted.communicate(timeout=RUN_SECONDS)
    assert (interrupted.returncode, output) == (130, "")
    assert "To go on with the sweep, repeat the command:" in errors
    assert errors.count("tuningfork delete --yes") == 4

    output, errors = run(server, *sweep, "--json")
    shown = json.loads(output)
    [left] = models()
    assert (left["name"], left["displayName"]) == (shown["best"], "best of four")
    losses = [each["validationLoss"] for each in shown["trials"]]
    assert len(losses) == 4
    assert losses == sorted(losses)
    assert shown["remarks"][0].startswith("Best: ")
