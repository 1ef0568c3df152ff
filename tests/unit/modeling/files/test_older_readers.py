"""Configurations as transformers 4 reads them. That it reads them the same: tests/contract/test_transformers_4.py."""

import json

import pytest
from transformers import AutoConfig

from families import FAMILIES, family_config
from tuningfork.embedded import model_directory
from tuningfork.modeling.files.older_readers import add_older_forms, with_older_rotations, with_older_tokenizer


def test_rotations_are_written_in_both_forms():
    config = {"rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 5e5}, "hidden_size": 8}

    assert with_older_rotations(config) == config | {
        "rope_theta": 5e5,
        "rope_scaling": {"rope_type": "linear", "factor": 4.0},
    }


def test_plain_rotations_have_no_scaling():
    config = {"rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "partial_rotary_factor": 0.5}}

    assert with_older_rotations(config) == config | {"rope_theta": 1e6, "partial_rotary_factor": 0.5}


def test_rotations_of_two_kinds_of_layers_are_those_of_gemma():
    full, sliding = {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6}, {"rope_theta": 1e4}
    config = {"text_config": {"rope_parameters": {"full_attention": full, "sliding_attention": sliding}}}

    assert with_older_rotations(config)["text_config"] == config["text_config"] | {
        "rope_theta": 1e6,
        "rope_scaling": {"rope_type": "linear", "factor": 8.0},
        "rope_local_base_freq": 1e4,
    }


def test_what_a_configuration_says_in_the_older_form_stays():
    older = {"rope_theta": 7.0, "rope_scaling": None, "model_type": "llama"}
    both = older | {"rope_parameters": {"rope_theta": 7.0, "rope_type": "default"}}

    assert with_older_rotations(older) == older
    assert with_older_rotations(both) == both


@pytest.mark.parametrize("name", FAMILIES)
def test_transformers_5_reads_the_same_from_both_forms(name, tmp_path):
    family_config(name, 300).save_pretrained(tmp_path)
    before = AutoConfig.from_pretrained(tmp_path).get_text_config().rope_parameters

    add_older_forms(tmp_path)

    after = dict(AutoConfig.from_pretrained(tmp_path).get_text_config().rope_parameters)
    # The older name of `rope_type`.
    after.pop("type", None)
    assert after == before
    written = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    assert "rope_theta" in written.get("text_config", written)


def test_a_tokenizer_has_a_class_and_special_tokens_that_transformers_4_knows():
    assert with_older_tokenizer(
        {"tokenizer_class": "TokenizersBackend", "extra_special_tokens": ["<a>"], "eos_token": "</s>"}
    ) == {"tokenizer_class": "PreTrainedTokenizerFast", "additional_special_tokens": ["<a>"], "eos_token": "</s>"}
    older = {"tokenizer_class": "LlamaTokenizer", "extra_special_tokens": {"image_token": "<i>"}}
    assert with_older_tokenizer(older) == older


def test_files_that_cannot_be_read_or_need_nothing_stay_as_they_are(tmp_path):
    for name, text in {"config.json": "no JSON", "tokenizer_config.json": '{ "tokenizer_class":"Own" }'}.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "tokenizer.json").write_text("{}")

    add_older_forms(tmp_path)
    add_older_forms(tmp_path / "nowhere")

    assert (tmp_path / "config.json").read_text() == "no JSON"
    assert (tmp_path / "tokenizer_config.json").read_text() == '{ "tokenizer_class":"Own" }'


def test_the_embedded_model_can_be_read_by_transformers_4_as_it_is():
    directory = model_directory()
    config = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    tokenizer = json.loads((directory / "tokenizer_config.json").read_text(encoding="utf-8"))

    assert (with_older_rotations(config), with_older_tokenizer(tokenizer)) == (config, tokenizer)
