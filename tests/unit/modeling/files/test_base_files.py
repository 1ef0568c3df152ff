import json
from pathlib import Path

import pytest

from tuningfork.domain.errors import InvalidArgument, NotFound
from tuningfork.embedded import model_directory
from tuningfork.modeling.files.base_files import base_directory, base_directory_of, fingerprint_of, weight_files

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def cache(tmp_path):
    """A cache of the Hub that holds one model, as a download leaves it."""
    model = tmp_path / "cache" / "models--someone--small"
    snapshot = model / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (model / "refs").mkdir()
    (model / "refs" / "main").write_text(COMMIT)
    (snapshot / "config.json").write_text("{}")
    (snapshot / "model.safetensors").write_bytes(b"")
    return tmp_path / "cache"


def in_cache(cache, location="someone/small", **how):
    return base_directory(location, cache=cache, fetch=False, **how)


def index(directory, *names):
    weights = {f"weight{number}": name for number, name in enumerate(names)}
    (directory / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weights}))


def test_a_directory_is_where_it_is(tmp_path):
    (tmp_path / "config.json").write_text("{}")

    assert base_directory(str(tmp_path)) == tmp_path


@pytest.mark.parametrize(
    "place", ["/somewhere/site-packages/tuningfork/embedded/model", r"/a b/tuningfork/embedded/model"]
)
def test_the_embedded_model_of_another_installation_is_that_of_this_one(place):
    assert base_directory(place) == model_directory()


@pytest.mark.parametrize("revision", [None, "main", COMMIT])
def test_a_hub_id_is_found_in_the_cache(cache, revision):
    assert in_cache(cache, revision=revision) == cache / "models--someone--small" / "snapshots" / COMMIT


@pytest.mark.parametrize("wanted", [{"location": "someone/else"}, {"revision": "v2"}])
def test_what_the_cache_does_not_hold_is_not_found(cache, wanted):
    with pytest.raises(NotFound, match=r"no directory of this machine, nor wholly in its cache"):
        in_cache(cache, **wanted)


def test_a_model_that_the_cache_holds_in_part_is_not_found(cache):
    directory = in_cache(cache)
    (directory / "model.safetensors").unlink()
    index(directory, "model-1.safetensors", "model-2.safetensors")
    (directory / "model-1.safetensors").write_bytes(b"")

    with pytest.raises(NotFound):
        in_cache(cache)


@pytest.mark.parametrize("location", ["/nowhere/at/all", "~/nowhere", "./nowhere", "a/b/c", "../x"])
def test_what_can_only_be_a_directory_is_not_looked_for_on_the_hub(location):
    with pytest.raises(NotFound, match=f"{location} is no directory of this machine"):
        base_directory(location)


def test_a_directory_without_a_model_is_told(tmp_path):
    with pytest.raises(NotFound, match=r"has no config\.json"):
        base_directory(str(tmp_path))


def test_an_adapter_names_its_base(cache, tmp_path):
    base = in_cache(cache)
    (tmp_path / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": str(base), "revision": None}))

    assert base_directory_of(tmp_path) == base


@pytest.mark.parametrize("content", ["{}", "[]", "no JSON"])
def test_an_adapter_that_names_no_base_is_told(tmp_path, content):
    (tmp_path / "adapter_config.json").write_text(content)

    with pytest.raises(InvalidArgument, match="does not say what its base model is"):
        base_directory_of(tmp_path)


def test_one_file_goes_before_an_index(tmp_path):
    index(tmp_path, "model-1.safetensors")
    assert [path.name for path in weight_files(tmp_path)] == ["model-1.safetensors"]

    (tmp_path / "model.safetensors").write_bytes(b"")
    assert [path.name for path in weight_files(tmp_path)] == ["model.safetensors"]


@pytest.mark.parametrize("name", ["../model.safetensors", "/etc/passwd", "below/model.safetensors"])
def test_an_index_cannot_lead_elsewhere(tmp_path, name):
    index(tmp_path, name)

    with pytest.raises(InvalidArgument, match="outside its directory"):
        weight_files(tmp_path)


@pytest.mark.parametrize("content", ["", "[]", '{"weight_map": 1}', '{"weight_map": {"a": 1}}'])
def test_an_index_that_is_none_is_told(tmp_path, content):
    (tmp_path / "model.safetensors.index.json").write_text(content)

    with pytest.raises(InvalidArgument, match="is no index of weights"):
        weight_files(tmp_path)


def test_a_base_whose_files_are_not_found_again_has_no_fingerprint():
    assert fingerprint_of("/nowhere/at/all", None) is None
    assert len(fingerprint_of(str(model_directory()), None)) == 64


def test_a_copy_has_the_fingerprint_of_its_original(tiny_directories, tmp_path):
    for path in Path(tiny_directories["llama"]).iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())

    assert fingerprint_of(str(tmp_path), None) == fingerprint_of(str(tiny_directories["llama"]), None)
