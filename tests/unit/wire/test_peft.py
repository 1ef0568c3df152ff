"""Adapters from elsewhere: what can be served is understood, and the rest is refused by its name."""

import io
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peft_adapters import LAYER, assembled, config, matrices, weights
from tuningfork.domain.base_model import AdapterShape
from tuningfork.domain.errors import InvalidArgument
from tuningfork.wire.peft.config import parse_config, render_config
from tuningfork.wire.peft.weights import has_strange_numbers, parse_weights

SHAPE = AdapterShape(rank=4, alpha=8.0)
A, B = f"{LAYER}.lora_A.weight", f"{LAYER}.lora_B.weight"


def read(content, shape=SHAPE):
    return parse_weights(io.BytesIO(content), len(content), shape)


def refusal(content, shape=SHAPE):
    with pytest.raises(InvalidArgument) as refused:
        read(content, shape)
    return refused.value.message


def test_a_plain_adapter_has_its_rank_and_alpha():
    assert parse_config(config(r=16, lora_alpha=12)).shape == AdapterShape(rank=16, alpha=12.0)


def test_rslora_has_the_same_scale_by_another_alpha():
    shape = parse_config(config(r=16, lora_alpha=12, use_rslora=True)).shape

    assert shape.alpha / shape.rank == pytest.approx(12 / math.sqrt(16))


def test_what_is_written_again_says_the_same_and_no_more():
    parsed = parse_config(config(use_rslora=True, target_modules="all-linear", auto_mapping={"a": "b"}))

    again = json.loads(render_config(parsed))

    assert parse_config(render_config(parsed)) == parsed
    assert (again["use_rslora"], again["lora_alpha"], again["target_modules"]) == (False, 16, "all-linear")
    assert "auto_mapping" not in again


def test_the_options_of_every_adapter_that_is_saved_here_are_plain(tmp_path):
    from tuningfork.modeling.adapters.format import _PLAIN  # noqa: PLC0415 - loads torch

    assert json.loads(render_config(parse_config(config()))).items() >= _PLAIN.items()


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"peft_type": "LOHA"}, 'peft_type "LOHA"'),
        ({"peft_type": None}, "peft_type null"),
        ({"use_dora": True}, "use_dora=true"),
        ({"bias": "lora_only"}, 'bias="lora_only"'),
        ({"lora_bias": True}, "lora_bias=true"),
        ({"modules_to_save": ["lm_head"]}, 'modules_to_save=["lm_head"]'),
        ({"rank_pattern": {"q_proj": 8}}, "rank_pattern"),
        ({"alpha_pattern": {"q_proj": 8}}, "alpha_pattern"),
        ({"trainable_token_indices": [1]}, "trainable_token_indices=[1]"),
        ({"layer_replication": [[0, 4]]}, "layer_replication"),
        ({"fan_in_fan_out": True}, "fan_in_fan_out=true"),
        ({"loftq_config": {"loftq_bits": 4}}, "loftq_config"),
        ({"init_lora_weights": "pissa_niter_4"}, "init_lora_weights"),
        ({"alora_invocation_tokens": [5]}, "alora_invocation_tokens"),
        ({"an_option_of_tomorrow": 3}, "an_option_of_tomorrow=3"),
        ({"use_dora": True, "bias": "all"}, 'bias="all", use_dora=true'),
        ({"r": 0}, "r 0"),
        ({"r": 257}, "1 to 256"),
        ({"r": 4.0}, "r 4.0"),
        ({"r": True}, "r true"),
        ({"r": "4"}, 'r "4"'),
        ({"lora_alpha": 0}, "lora_alpha 0"),
        ({"lora_alpha": -1}, "lora_alpha -1"),
        ({"lora_alpha": float("nan")}, "lora_alpha NaN"),
        ({"lora_alpha": 1e300}, "lora_alpha 1e+300"),
        ({"lora_alpha": None}, "lora_alpha null"),
        ({"lora_alpha": 10**400}, "lora_alpha 1000"),
        ({"r": 10**400}, "r 1000"),
        ({"target_modules": ["q_proj", ["k_proj"]]}, 'target_modules ["q_proj", ["k_proj"]]'),
        ({"target_modules": {"q_proj": 1}}, 'target_modules {"q_proj": 1}'),
        ({"exclude_modules": [None]}, "exclude_modules [null]"),
        ({"layers_to_transform": [True]}, "layers_to_transform [true]"),
        ({"layers_to_transform": 1.5}, "layers_to_transform 1.5"),
        ({"layers_pattern": [{}]}, "layers_pattern [{}]"),
        ({"base_model_name_or_path": [[]]}, "base_model_name_or_path [[]]"),
    ],
)
def test_what_cannot_be_served_is_refused_by_its_name(changes, named):
    with pytest.raises(InvalidArgument) as refused:
        parse_config(config(**changes))

    assert named in refused.value.message


@pytest.mark.parametrize("value", [None, "layers", 3, [], [0, 1], ["q_proj", "k_proj"]])
def test_which_layers_it_is_for_is_kept(value):
    parsed = parse_config(config(layers_to_transform=value))

    assert json.loads(render_config(parsed))["layers_to_transform"] == value
    assert parse_config(render_config(parsed)) == parsed


def test_a_long_list_is_not_written_longer():
    content = config(target_modules=[1] * 100_000)

    assert len(render_config(parse_config(content))) < len(content)


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff", b"[" * 100_000, b" " * (2**20 + 1)])
def test_what_is_no_configuration_is_refused(content):
    with pytest.raises(InvalidArgument, match=r"adapter_config\.json"):
        parse_config(content)


def test_every_matrix_is_found_where_it_is():
    content = weights()

    first, second = read(content)

    assert [(first.name, first.shape), (second.name, second.shape)] == [(A, (4, 8)), (B, (6, 4))]
    assert (first.end, second.end) == (second.begin, len(content))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("base_model.model.model.embed_tokens.lora_embedding_A", "lora_embedding"),
        (f"{LAYER}.lora_magnitude_vector", "DoRA"),
        ("base_model.model.lm_head.modules_to_save.weight", "modules_to_save"),
        (f"{LAYER}.base_layer.bias", "biases"),
        ("base_model.model.lm_head.base_layer.weight", "the head or the embedding was adapted"),
        (f"{LAYER}.lora_A.default.weight", "no LoRA matrix"),
        ("../../etc/passwd", "no LoRA matrix"),
        ("model.layers.0.self_attn.q_proj.weight", "no LoRA matrix"),
    ],
)
def test_other_tensors_are_refused_by_what_they_are(name, said):
    assert said in refusal(weights({**matrices(), name: (1, 1)}))


def test_a_rank_that_is_not_the_configurations_is_refused():
    assert "its rank is 8; adapter_config.json says 4" in refusal(weights(matrices(rank=8)))


def test_half_a_pair_is_refused():
    assert f"{A} without {B}" in refusal(weights({A: (4, 8)}))


@pytest.mark.parametrize(
    "change",
    [
        {A: {"dtype": "F32", "shape": [4, 8], "data_offsets": [0, 124]}},
        {A: {"dtype": "F32", "shape": [4, 8], "data_offsets": [-128, 0]}},
        {A: {"dtype": "F32", "shape": [4, -8], "data_offsets": [0, -128]}},
        {A: {"dtype": "F32", "shape": [2**62, 8], "data_offsets": [0, 2**67]}},
        {A: {"dtype": "F32", "shape": [32], "data_offsets": [0, 128]}},
        {A: {"dtype": "F32", "shape": ["4", 8], "data_offsets": [0, 128]}},
        {A: {"dtype": "F64", "shape": [4, 4], "data_offsets": [0, 128]}},
        {A: {"dtype": ["F32"], "shape": [4, 8], "data_offsets": [0, 128]}},
        {A: None},
        {A: 5},
        {B: {"dtype": "F32", "shape": [6, 4], "data_offsets": [0, 96]}},
        {"__metadata__": {"format": {"deep": 1}}},
        {"__metadata__": 3},
    ],
)
def test_a_header_that_lies_is_refused(change):
    assert "adapter_model.safetensors" in refusal(weights(**change))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x80\x04\x95",
        (2**63).to_bytes(8, "little") + b"{}",
        (5 * 2**20).to_bytes(8, "little") + b" " * (5 * 2**20),
        assembled({}, b""),
        weights() + b"\0",
        weights()[:-1],
        b"\x08" + bytes(7) + b"[" * 8,
    ],
)
def test_what_is_no_such_file_is_refused(content):
    assert "adapter_model.safetensors" in refusal(content)


@given(st.binary(max_size=300))
def test_nothing_but_a_refusal_comes_of_bytes_by_chance(noise):
    length = len(noise).to_bytes(8, "little")

    assert refusal(length + noise)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists, max_leaves=5))
def test_nothing_but_a_refusal_comes_of_a_header_by_chance(value):
    assert refusal(weights(**{A: value}))
    assert refusal(weights(**{A: {"dtype": "F32", "shape": value, "data_offsets": value}}))


@pytest.mark.parametrize("kind", ["F32", "BF16", "F16"])
@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_numbers_that_are_none_are_found_in_every_type(kind, value):
    good = weights(kind=kind)
    bad = weights(kind=kind, numbers={A: [0.5] * 31 + [value]})

    def strange(content):
        return [has_strange_numbers(kind, content[each.begin : each.end]) for each in read(content)]

    assert strange(good) == [False, False]
    assert strange(bad) == [True, False]


def test_the_largest_and_the_smallest_numbers_are_numbers():
    extreme = [3.4028234e38, -3.4028234e38, 1e-45, 0.0]

    content = weights(numbers={A: extreme * 8})

    assert not has_strange_numbers("F32", content[read(content)[0].begin : read(content)[0].end])
