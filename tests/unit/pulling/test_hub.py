"""Fetching from the Hub, with the Hub's own client, from a server on loopback that answers as the Hub does."""

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace

import pytest

import peft_adapters
from gguf_writing import small_llama
from patience import PATIENCE_SECONDS
from ports import free_port
from store_rows import keep, new_job
from toy_hub import COMMIT, Repository, toy_hub
from tuningfork.pulling.hub import HubSource, source_named
from tuningfork.pulling.kept import KeptBase, kept_bases, write_description
from tuningfork.store.database import Database

REPOSITORY = "makers/toy"
FILES = {
    "config.json": b'{"max_position_embeddings": 64}',
    "model.safetensors": b"0123456789",
    "tokenizer.json": b"{}",
    "LICENSE": b"Do as you like.",
    "README.md": b"A toy.",
    "pytorch_model.bin": b"pickled",
    "onnx/model.safetensors": b"another format",
}


def pull(directory, endpoint, *arguments, **variables):
    """The command, in a process of its own: the Hub's client reads its address once, when it is imported."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "TUNINGFORK_"))}
    own = {
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(directory / "hub"),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_ETAG_TIMEOUT": str(round(PATIENCE_SECONDS)),
        "HF_HUB_DOWNLOAD_TIMEOUT": str(round(PATIENCE_SECONDS)),
        "NO_PROXY": "127.0.0.1",
        "TUNINGFORK_DATA_DIR": str(directory / "data"),
    }
    return subprocess.run(
        [sys.executable, "-m", "tuningfork", "pull", *arguments],
        env=inherited | own | variables,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("makers/toy", HubSource(repository="makers/toy")),
        ("makers/toy/toy.Q8_0.gguf", HubSource(repository="makers/toy", file="toy.Q8_0.gguf")),
        ("makers/toy/quantized/toy.GGUF", HubSource(repository="makers/toy", file="quantized/toy.GGUF")),
        ("makers/toy/model.bin", None),
        ("toy", None),
        ("/toy", None),
        ("makers/", None),
    ],
)
def test_a_repository_or_a_gguf_file_in_one_can_be_named(text, expected):
    assert source_named(text) == expected


def test_the_files_that_a_base_needs_are_fetched_and_no_others(tmp_path):
    with toy_hub(Repository(name=REPOSITORY, files=FILES)) as (endpoint, _):
        ended = pull(tmp_path, endpoint, REPOSITORY, "--json")

    assert ended.returncode == 0, ended.stderr
    place = tmp_path / "data" / "bases" / "toy"
    assert json.loads(ended.stdout) == {"name": "models/toy", "path": str(place), "aliases": []}
    assert sorted(path.name for path in place.iterdir()) == [
        "LICENSE",
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tuningfork-base.json",
    ]
    [kept] = kept_bases(tmp_path / "data").values()
    assert (kept.hub_id, kept.licence, kept.source) == (REPOSITORY, "mit", f"{REPOSITORY} at {COMMIT}")


def test_a_model_that_is_there_is_not_fetched_again_and_another_ones_name_is_not_taken(tmp_path):
    with toy_hub(Repository(name=REPOSITORY, files=FILES)) as (endpoint, asked):
        pull(tmp_path, endpoint, REPOSITORY)
        del asked[:]
        again = pull(tmp_path, endpoint, REPOSITORY)
        other = pull(tmp_path, endpoint, "others/toy")

    assert (again.returncode, again.stdout, asked) == (0, "models/toy\n", [])
    assert "toy is there already" in again.stderr
    assert (other.returncode, other.stdout) == (1, "")
    assert f"from {REPOSITORY} at" in " ".join(other.stderr.split())


@pytest.mark.parametrize(("seed", "outcome"), [(1, "the same as before"), (2, "other weights than before")])
def test_before_a_model_is_replaced_its_tuned_models_are_named(tmp_path, seed, outcome):
    """And afterwards it is said whether its weights are others."""
    data, files = tmp_path / "data", FILES | {"model.safetensors": peft_adapters.weights(seed=1)}
    place = data / "bases" / "toy"
    place.mkdir(parents=True)
    for name in ("config.json", "model.safetensors"):
        (place / name).write_bytes(files[name])
    write_description(place, KeptBase(name="toy"))
    database = Database.open(f"sqlite:///{data / 'tuningfork.db'}")
    keep(database, replace(new_job("mine"), base_model="models/toy", resolved_base="models/toy"))
    database.close()
    files["model.safetensors"] = peft_adapters.weights(seed=seed)
    with toy_hub(Repository(name=REPOSITORY, files=files)) as (endpoint, _):
        ended = pull(tmp_path, endpoint, REPOSITORY, "--again")
    told = " ".join(ended.stderr.split())

    assert ended.returncode == 0, told
    before, _, after = told.partition("If it gets other weights, they are refused")
    assert "1 tuned models stand on models/toy: tunedModels/mine." in before
    assert outcome in after


def test_before_a_model_is_replaced_a_database_of_another_version_is_asked_nothing_and_left_as_it_is(tmp_path):
    data = tmp_path / "data"
    place = data / "bases" / "toy"
    place.mkdir(parents=True)
    weights = peft_adapters.weights(seed=1)
    (place / "config.json").write_bytes(FILES["config.json"])
    (place / "model.safetensors").write_bytes(weights)
    write_description(place, KeptBase(name="toy"))
    file = data / "tuningfork.db"
    with closing(sqlite3.connect(file)) as connection:
        connection.executescript(
            "PRAGMA journal_mode = WAL; CREATE TABLE alembic_version (version_num VARCHAR(32));"
            "INSERT INTO alembic_version VALUES ('0007')"
        )
    before = file.read_bytes()
    with toy_hub(Repository(name=REPOSITORY, files=FILES | {"model.safetensors": weights})) as (endpoint, _):
        ended = pull(tmp_path, endpoint, REPOSITORY, "--again")
    told = " ".join(ended.stderr.split())

    assert (ended.returncode, ended.stdout) == (0, "models/toy\n"), told
    assert "Which tuned models stand on models/toy is not known: The tables of" in told
    assert "revision 0007" in told
    assert "same as before" in told
    assert file.read_bytes() == before


def test_a_gguf_file_of_a_repository_is_converted(tmp_path):
    content = small_llama(tmp_path).read_bytes()
    with toy_hub(Repository(name=REPOSITORY, files={"small.gguf": content, "other.gguf": b""})) as (endpoint, _):
        ended = pull(tmp_path, endpoint, f"{REPOSITORY}/small.gguf", "--alias", "gemini-1.0-pro-001")

    assert (ended.returncode, ended.stdout) == (0, "models/small\n"), ended.stderr
    [(place, kept)] = kept_bases(tmp_path / "data").items()
    assert json.loads((place / "config.json").read_text())["model_type"] == "llama"
    assert kept.source == f"{REPOSITORY} at {COMMIT}, small.gguf"
    assert kept.aliases == ("gemini-1.0-pro-001",)
    assert sorted(path.name for path in place.parent.iterdir() if path.is_dir()) == ["small"]


def test_nothing_of_another_source_is_taken_for_this_one(tmp_path):
    """What a call for another repository has left behind, at any moment, is of no use to this one."""
    bases = tmp_path / "data" / "bases"
    for left in (bases / ".toy~hub", bases / f".toy~{'0' * 16}"):
        (left / "files").mkdir(parents=True)
        (left / "files" / "chat_template.jinja").write_text("another one")
        (left / "model").mkdir()
        (left / "model" / "config.json").write_text("{}")
    with toy_hub(Repository(name=REPOSITORY, files=FILES)) as (endpoint, _):
        ended = pull(tmp_path, endpoint, REPOSITORY)

    assert ended.returncode == 0, ended.stderr
    assert not (bases / "toy" / "chat_template.jinja").exists()
    assert [path.name for path in bases.iterdir() if path.is_dir()] == ["toy"]


def test_a_model_that_is_there_is_not_taken_for_one_under_other_names(tmp_path):
    with toy_hub(Repository(name=REPOSITORY, files=FILES)) as (endpoint, _):
        pull(tmp_path, endpoint, REPOSITORY)
        ended = [
            pull(tmp_path, endpoint, REPOSITORY, *further)
            for further in (["--alias", "gemini-1.0-pro-001"], ["--revision", "v2"])
        ]

    assert [(each.returncode, each.stdout) for each in ended] == [(1, "")] * 2
    assert all("give --again" in " ".join(each.stderr.split()) for each in ended)


def test_a_damaged_gguf_file_leaves_nothing_that_is_served(tmp_path):
    content = small_llama(tmp_path).read_bytes()[:-64]
    with toy_hub(Repository(name=REPOSITORY, files={"small.gguf": content})) as (endpoint, _):
        ended = pull(tmp_path, endpoint, f"{REPOSITORY}/small.gguf")

    assert (ended.returncode, ended.stdout) == (1, "")
    assert "small.gguf cannot be used" in " ".join(ended.stderr.split())
    assert "Traceback" not in ended.stderr
    assert kept_bases(tmp_path / "data") == {}


def test_a_repository_with_gguf_files_only_asks_for_one_of_them(tmp_path):
    with toy_hub(Repository(name=REPOSITORY, files={"a.gguf": b"GGUF", "b.gguf": b"GGUF"})) as (endpoint, _):
        ended = pull(tmp_path, endpoint, REPOSITORY)

    assert ended.returncode == 1
    assert "name one: makers/toy/FILE.gguf, of a.gguf, b.gguf" in " ".join(ended.stderr.split())


def test_pickled_weights_are_not_fetched(tmp_path):
    with toy_hub(Repository(name=REPOSITORY, files={"pytorch_model.bin": b"x", "config.json": b"{}"})) as (
        endpoint,
        asked,
    ):
        ended = pull(tmp_path, endpoint, REPOSITORY)

    assert ended.returncode == 1
    assert "neither safetensors nor GGUF files" in " ".join(ended.stderr.split())
    assert not any("resolve" in path for path in asked)


def test_a_machine_without_network_is_told_at_once_and_in_one_sentence(tmp_path):
    ended = pull(tmp_path, f"http://127.0.0.1:{free_port()}", REPOSITORY)

    assert ended.returncode == 1
    said = " ".join(ended.stderr.split())
    assert "The Hub was not reached: this machine may be offline" in said
    assert "--base-model NAME=DIRECTORY" in said
    assert "Traceback" not in said


def test_the_offline_mode_of_the_hubs_client_is_obeyed(tmp_path):
    with toy_hub(Repository(name=REPOSITORY, files=FILES)) as (endpoint, asked):
        ended = pull(tmp_path, endpoint, REPOSITORY, HF_HUB_OFFLINE="1")

    assert (ended.returncode, asked) == (1, [])
    assert "The Hub was not reached" in ended.stderr


def test_a_repository_that_does_not_exist_is_named(tmp_path):
    with toy_hub(Repository(name=REPOSITORY, files=FILES)) as (endpoint, _):
        ended = pull(tmp_path, endpoint, "makers/other")

    assert ended.returncode == 1
    assert "The Hub has no repository makers/other" in " ".join(ended.stderr.split())


def test_files_behind_a_licence_say_what_to_do(tmp_path):
    with toy_hub(Repository(name=REPOSITORY, files=FILES, gated=True)) as (endpoint, _):
        ended = pull(tmp_path, endpoint, REPOSITORY)

    assert ended.returncode == 1
    assert "accept it on its page of the Hub" in " ".join(ended.stderr.split())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["gpt-9"], "neither a short name (smollm2, gemma3-270m) nor a repository on the Hub"),
        (["makers/Ünï"], "cannot be the name of a base model"),
        (["smollm2", "--name", "a/b"], "cannot be the name of a base model"),
        (["smollm2", "--alias", "?x#y"], "cannot be the name of a base model"),
        (["smollm2", "--name", "tuningfork-mini-001"], "the base model that is part of Tuningfork"),
        (["smollm2", "--revision", "main"], "--revision is for repositories on the Hub"),
        (["makers/toy", "--from", "."], "--from is for short names"),
    ],
)
def test_arguments_that_do_not_fit_are_refused_before_anything_is_fetched(tmp_path, arguments, said):
    ended = pull(tmp_path, f"http://127.0.0.1:{free_port()}", *arguments)

    assert ended.returncode == 1
    assert said in " ".join(ended.stderr.split())
