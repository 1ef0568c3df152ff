import json

import pytest
import torch

from tiny_models import trained_looking
from tuningfork.domain.base_model import AdapterShape
from tuningfork.domain.errors import InvalidArgument
from tuningfork.modeling.adapters import format as adapter_format
from tuningfork.modeling.adapters.weights import AdapterWeights

SHAPE = AdapterShape(rank=4, alpha=6.0)


@pytest.fixture
def weights(loaded_llama):
    return trained_looking(loaded_llama.slots, SHAPE, seed=1)


def change(directory, **settings):
    path = directory / adapter_format.CONFIG
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))


def test_what_is_saved_is_loaded_to_the_bit(weights, tmp_path):
    adapter_format.save(tmp_path / "adapter", weights, "some/base")
    again = adapter_format.load(tmp_path / "adapter")
    assert again.shape == SHAPE
    assert again.tensors.keys() == weights.tensors.keys()
    assert all(torch.equal(again.tensors[name], tensor) for name, tensor in weights.tensors.items())


def test_the_config_names_the_base_the_rank_and_the_layers(weights, tmp_path):
    adapter_format.save(tmp_path / "adapter", weights, "some/base")
    config = json.loads((tmp_path / "adapter" / adapter_format.CONFIG).read_text())
    assert config["base_model_name_or_path"] == "some/base"
    assert (config["r"], config["lora_alpha"]) == (4, 6)
    assert config["target_modules"] == ["down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj"]


def test_an_adapter_knows_the_revision_and_the_fingerprint_of_its_base(weights, tmp_path):
    adapter_format.save(tmp_path / "adapter", weights, "some/base", base_revision="v2", base_fingerprint="abc")
    config = json.loads((tmp_path / "adapter" / adapter_format.CONFIG).read_text())
    assert (config["base_model_name_or_path"], config["revision"]) == ("some/base", "v2")
    assert adapter_format.base_fingerprint(tmp_path / "adapter") == "abc"


def test_an_adapter_may_know_nothing_of_its_base(weights, tmp_path):
    adapter_format.save(tmp_path / "adapter", weights, "some/base")
    assert adapter_format.base_fingerprint(tmp_path / "adapter") is None


def test_saving_again_replaces_and_leaves_nothing_beside(weights, loaded_llama, tmp_path):
    adapter_format.save(tmp_path / "adapter", weights, "some/base")
    newer = trained_looking(loaded_llama.slots, AdapterShape(rank=2, alpha=0.5), seed=2)
    adapter_format.save(tmp_path / "adapter", newer, "some/base")
    assert adapter_format.load(tmp_path / "adapter").shape == AdapterShape(rank=2, alpha=0.5)
    assert [path.name for path in tmp_path.iterdir()] == ["adapter"]


def test_the_same_adapter_is_the_same_file(weights, tmp_path):
    # Two entries of metadata come in either order, as chance has it.
    for attempt in range(12):
        adapter_format.save(tmp_path / str(attempt), weights, "some/base", base_fingerprint="ab" * 32)
        assert adapter_format.base_fingerprint(tmp_path / str(attempt)) == "ab" * 32
    files = {(tmp_path / str(attempt) / adapter_format.WEIGHTS).read_bytes() for attempt in range(12)}
    assert len(files) == 1


def test_views_of_one_vector_are_saved_as_tensors_of_their_own(weights, loaded_llama, tmp_path):
    slots = loaded_llama.slots
    adapter_format.save(tmp_path / "adapter", slots.unflatten(SHAPE, slots.flatten(weights)), "some/base")
    again = adapter_format.load(tmp_path / "adapter")
    assert all(torch.equal(again.tensors[name], tensor) for name, tensor in weights.tensors.items())


@pytest.mark.parametrize(
    "settings",
    [{"use_dora": True}, {"use_rslora": True}, {"bias": "all"}, {"rank_pattern": {"q_proj": 2}}, {"peft_type": "IA3"}],
)
def test_an_adapter_that_slots_cannot_compute_is_refused(weights, tmp_path, settings):
    adapter_format.save(tmp_path / "adapter", weights, "some/base")
    change(tmp_path / "adapter", **settings)
    with pytest.raises(InvalidArgument, match="support"):
        adapter_format.load(tmp_path / "adapter")


@pytest.mark.parametrize("name", [adapter_format.CONFIG, adapter_format.WEIGHTS])
def test_a_directory_that_lacks_a_file_is_no_adapter(weights, tmp_path, name):
    adapter_format.save(tmp_path / "adapter", weights, "some/base")
    (tmp_path / "adapter" / name).unlink()
    with pytest.raises(InvalidArgument, match="holds no adapter that can be read"):
        adapter_format.load(tmp_path / "adapter")


def test_a_damaged_file_is_no_adapter(weights, tmp_path):
    adapter_format.save(tmp_path / "adapter", weights, "some/base")
    path = tmp_path / "adapter" / adapter_format.WEIGHTS
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(InvalidArgument, match="holds no adapter that can be read"):
        adapter_format.load(tmp_path / "adapter")


@pytest.mark.parametrize(
    ("stem", "targets"),
    [
        ("model", ["k_proj", "q_proj"]),
        ("model.language_model", r"(model\.language_model)\.layers\..*\.(k_proj|q_proj)"),
        ("gpt_neox", r"(gpt_neox)\.layers\..*\.(k_proj|q_proj)"),
    ],
)
def test_only_a_whole_models_layers_are_told_by_their_own_names(tmp_path, stem, targets):
    paths = [
        f"base_model.model.{stem}.layers.{layer}.self_attn.{name}" for layer in (0, 1) for name in ("q_proj", "k_proj")
    ]
    tensors = {f"{path}.lora_A.weight": torch.zeros(4, 8) for path in paths}
    tensors |= {f"{path}.lora_B.weight": torch.zeros(8, 4) for path in paths}
    adapter_format.save(tmp_path / "adapter", AdapterWeights(SHAPE, tensors), "some/base")
    config = json.loads((tmp_path / "adapter" / adapter_format.CONFIG).read_text())
    assert config["target_modules"] == targets
