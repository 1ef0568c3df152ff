"""`tuningfork export`: an adapter, a whole model, and why not. Merging itself: tests/acceptance and tests/numerics."""

import pytest
from gguf import GGUFReader

from gguf_exports import save_adapter, save_base
from gguf_writing import small_llama
from tuningfork.cli.exporting import _directory_of, _make
from tuningfork.client.errors import ClientError
from tuningfork.domain.file_types import FileType


@pytest.fixture
def tuned(service):
    service.create(
        {
            "baseModel": "models/gemini-1.0-pro-001",
            "tuningTask": {
                "hyperparameters": {},
                "trainingData": {"examples": {"examples": [{"textInput": "1", "output": "2"}]}},
            },
        },
        "mine",
    )
    return "tunedModels/mine"


def test_an_adapter_is_exported_and_its_place_printed(tuningfork, tuned, tmp_path):
    ended = tuningfork("export", tuned, "--to", tmp_path / "adapter")

    assert (ended.code, ended.output) == (0, f"{tmp_path / 'adapter'}\n")
    assert (tmp_path / "adapter" / "adapter_config.json").read_text() == "{}"


@pytest.mark.parametrize("option", ["--to", "--merged"])
def test_an_export_does_not_write_over_what_is_there(tuningfork, tuned, tmp_path, option):
    (tmp_path / "precious").write_text("")

    ended = tuningfork("export", tuned, option, tmp_path)

    assert ended.code == 1
    assert f"{tmp_path} is there already" in ended.errors
    assert option in ended.errors
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]


@pytest.mark.parametrize("option", ["--gguf", "--gguf-adapter"])
def test_an_export_does_not_write_over_a_file(tuningfork, tuned, tmp_path, option):
    (tmp_path / "x.gguf").write_text("precious")

    ended = tuningfork("export", tuned, "--to", tmp_path / "adapter", option, tmp_path / "x.gguf")

    assert ended.code == 1
    assert f"Name a new file with {option}." in ended.errors
    assert (tmp_path / "x.gguf").read_text() == "precious"
    assert not (tmp_path / "adapter").exists()


def test_a_type_that_files_do_not_have_is_told_with_those_that_they_have(tuningfork, tuned, tmp_path):
    ended = tuningfork("export", tuned, "--gguf", tmp_path / "x.gguf", "--gguf-type", "q3")

    assert ended.code == 2
    assert all(each in ended.errors for each in ("'q3'", "f32", "f16", "bf16", "q8_0"))


def test_files_for_llama_cpp_are_made_of_an_adapter_and_its_base(tmp_path):
    save_adapter(save_base("qwen2", {}, tmp_path / "base"), tmp_path / "adapter")

    for form, file_type in (("gguf", FileType.Q8_0), ("gguf_adapter", FileType.F16)):
        _make(form, tmp_path / "adapter", tmp_path / f"{form}.gguf", str(tmp_path / "base"), "numbers", file_type)

    whole, adapter = (GGUFReader(tmp_path / f"{form}.gguf") for form in ("gguf", "gguf_adapter"))
    assert [file.fields["general.name"].contents() for file in (whole, adapter)] == ["numbers", "numbers"]
    assert [file.fields["general.type"].contents() for file in (whole, adapter)] == ["model", "adapter"]
    assert whole.fields["general.file_type"].contents() == 7


def test_a_base_that_llama_cpp_does_not_have_is_told_in_a_sentence(tmp_path):
    save_adapter(save_base("smollm3", {"no_rope_layer_interval": 3}, tmp_path / "base"), tmp_path / "adapter")

    with pytest.raises(ClientError, match=r"^The base in .* cannot be written as a GGUF file: llama.cpp has no"):
        _make("gguf", tmp_path / "adapter", tmp_path / "x.gguf", str(tmp_path / "base"), "x", FileType.F16)


def test_nothing_is_fetched_for_a_model_that_could_not_be_written(tuningfork, tuned, tmp_path):
    (tmp_path / "precious").write_text("")

    ended = tuningfork("export", tuned, "--to", tmp_path / "adapter", "--merged", tmp_path)

    assert ended.code == 1
    assert not (tmp_path / "adapter").exists()


def test_where_to_has_to_be_said(tuningfork, tuned):
    ended = tuningfork("export", tuned)

    assert ended.code == 2
    assert "--to DIR" in ended.errors
    assert "--merged DIR" in ended.errors
    assert "--gguf FILE" in ended.errors


def test_what_the_adapter_calls_its_base_can_be_said(tuningfork, tuned, tmp_path, service):
    ended = tuningfork("export", tuned, "--to", tmp_path / "adapter", "--base-name", "Org/Base-1B")

    assert (ended.code, service.base_names) == (0, ["Org/Base-1B"])
    assert tuningfork("export", tuned, "--merged", tmp_path / "merged", "--base-name", "x").code == 2


def test_a_base_that_nothing_is_merged_into_is_a_mistake(tuningfork, tuned, tmp_path):
    ended = tuningfork("export", tuned, "--to", tmp_path / "adapter", "--base", tmp_path)

    assert ended.code == 2
    assert "only needed for --merged" in ended.errors


def test_a_base_that_is_not_here_is_told_with_what_to_do(tuningfork, tuned, tmp_path):
    ended = tuningfork("export", tuned, "--merged", tmp_path / "merged", "--base", tmp_path / "nowhere")

    assert (ended.code, ended.output) == (1, "")
    assert ended.errors.splitlines() == [
        f"Error: The base model cannot be read: {tmp_path / 'nowhere'} is no directory of this machine.",
        "Name a directory of this machine that holds a copy of it: --base DIR.",
    ]
    assert not (tmp_path / "merged").exists()


def test_an_adapter_that_does_not_name_its_base_is_told(tuningfork, tuned, tmp_path):
    ended = tuningfork("export", tuned, "--merged", tmp_path / "merged")

    assert ended.code == 1
    assert "does not say what its base model is" in ended.errors
    assert "Traceback" not in ended.errors


def test_a_gguf_file_to_merge_into_is_converted(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "made").mkdir()

    directory = _directory_of(str(small_llama(tmp_path / "made")))

    assert (directory / "model.safetensors").is_file()
    assert directory.is_relative_to(tmp_path / "cache")
