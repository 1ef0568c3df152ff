"""Processes: a server over the wrong database does not start; a backup taken beside a busy one is restored whole."""

import hashlib
import itertools
import shutil
import subprocess
import sys
import threading

import pytest

from live_server import LiveServer
from patience import PATIENCE_SECONDS, paths_below, wait_until
from tuningfork.store.database import Database

pytestmark = [pytest.mark.acceptance, pytest.mark.slow]


def create_body(number):
    examples = [{"textInput": f"{number} {i}", "output": f"{number} {i + 1}"} for i in range(4)]
    return {
        "baseModel": "models/tiny",
        "tuningTask": {
            "hyperparameters": {"batchSize": 4, "learningRate": 0.002, "epochCount": 3},
            "trainingData": {"examples": {"examples": examples}},
        },
    }


def tune(client, name, number=1):
    """A model that answers; what it answers."""
    made = client.post(f"/v1beta/tunedModels?tunedModelId={name}", json=create_body(number))
    assert made.is_success, made.text
    wait_until(lambda: client.get(f"/v1beta/tunedModels/{name}").json()["state"] == "ACTIVE", what="it is tuned")
    return answer(client, name)


def answer(client, name):
    body = {"contents": [{"parts": [{"text": "1"}]}], "generationConfig": {"maxOutputTokens": 4, "temperature": 0}}
    said = client.post(f"/v1beta/tunedModels/{name}:generateContent", json=body)
    assert said.is_success, said.text
    return said.json()["candidates"][0]["content"]


def digests(directory):
    """Every file that holds data, with its digest."""
    files = (path for path in paths_below(directory) if path.is_file())
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
        if not path.name.endswith((".lock", "-wal", "-shm"))
    }


def refused(server):
    """What `tuningfork serve` says when it does not start."""
    ended = subprocess.run(
        [sys.executable, "-m", "tuningfork", "serve", "--port", "0", "--data-dir", server.data_directory],
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert ended.returncode == 1, ended.stderr
    assert ended.stdout == ""
    return ended.stderr


def test_a_server_over_an_empty_database_deletes_nothing_and_with_the_right_one_all_is_there(
    tmp_path, tiny_directories
):
    server = LiveServer(tmp_path, "--base-model", f"tiny={tiny_directories['llama']}")
    server.start()
    with server.client() as client:
        said = tune(client, "kept")
    server.stop()
    database = server.data_directory / "tuningfork.db"
    right = database.read_bytes()

    database.unlink()
    lost = digests(server.data_directory)
    assert "there is no database" in refused(server)
    assert digests(server.data_directory) == lost

    Database.open(f"sqlite:///{database}").close()
    assert "does not account for" in refused(server)
    assert {name: was for name, was in digests(server.data_directory).items() if name != str(database)} == lost

    database.write_bytes(right)
    server.start()
    with server.client() as client:
        assert answer(client, "kept") == said
    server.stop()


def tuningfork(*arguments):
    """Run a command to its end."""
    ended = subprocess.run(
        [sys.executable, "-m", "tuningfork", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return ended


class Busy:
    """Callers who create, finish and delete models until the context ends, with few at a time."""

    def __init__(self, server):
        self._server = server
        self._over = threading.Event()
        self.created, self.deleted, self.faults = 0, 0, []
        self._threads = [threading.Thread(target=self._run, args=(name,)) for name in "ab"]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _run(self, name):
        names = []
        try:
            with self._server.client() as client:
                for number in itertools.count():
                    made = client.post(f"/v1beta/tunedModels?tunedModelId={name}{number}", json=create_body(number))
                    assert made.is_success, made.text
                    names.append(f"{name}{number}")
                    self.created += 1
                    if self._over.wait(0.2):
                        return
                    if len(names) > 6:
                        gone = client.delete(f"/v1beta/tunedModels/{names.pop(number % 6)}")
                        assert gone.is_success, gone.text
                        self.deleted += 1
        except Exception as error:  # noqa: BLE001 - told by the test
            self.faults.append(error)


def test_a_backup_of_a_busy_server_is_restored_and_every_model_of_it_answers(tmp_path, tiny_directories):
    options = ("--base-model", f"tiny={tiny_directories['llama']}")
    server = LiveServer(tmp_path / "busy", *options)
    server.start()
    with server.client() as client:
        said = tune(client, "kept")
    backups = [tmp_path / "backup-1", tmp_path / "backup-2"]
    with Busy(server) as busy:
        for number, backup in enumerate(backups):
            wait_until(lambda number=number: busy.faults or busy.created > 6 * (number + 1), what="some are created")
            tuningfork("backup", "--to", backup, "--data-dir", server.data_directory)
        wait_until(lambda: busy.faults or busy.deleted > 0, what="some are deleted")
    server.stop()

    assert busy.faults == []
    assert busy.created > busy.deleted > 0
    for number, backup in enumerate(backups):
        restored = LiveServer(tmp_path / f"restored-{number}", *options)
        shutil.rmtree(restored.data_directory, ignore_errors=True)
        tuningfork("restore", backup, "--data-dir", restored.data_directory)
        tuningfork("check", "--data-dir", restored.data_directory)
        restored.start()
        with restored.client() as client:
            names = [each["name"] for each in client.get("/v1beta/tunedModels?pageSize=100").json()["tunedModels"]]
            assert "tunedModels/kept" in names
            for name in names:
                wait_until(
                    lambda name=name: client.get(f"/v1beta/{name}").json()["state"] == "ACTIVE",
                    what=f"{name} is tuned to its end",
                )
                answer(client, name.removeprefix("tunedModels/"))
            assert answer(client, "kept") == said
        restored.stop()
