import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoTokenizer

from tuningfork.embedded import model_directory
from tuningfork.embedded.recipe.corpus import Turn, encode
from tuningfork.embedded.recipe.vocabulary import MARKERS, ROLE_TOKENS, Role


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(model_directory())


@pytest.fixture(scope="module")
def model():
    return AutoModelForCausalLM.from_pretrained(model_directory(), dtype=torch.float32)


def test_the_weights_are_at_most_32_megabytes():
    assert (model_directory() / "model.safetensors").stat().st_size <= 32_000_000


@given(text=st.text())
def test_any_text_becomes_its_bytes_and_back(tokenizer, text):
    if any(marker in text for marker in MARKERS):
        return
    ids = tokenizer(text)["input_ids"]
    assert ids == [*text.encode()]
    assert tokenizer.decode(ids) == text


@given(texts=st.lists(st.text(alphabet=st.characters(codec="utf-8", exclude_characters="<|>")), min_size=4, max_size=4))
def test_the_chat_template_renders_what_training_saw(tokenizer, texts):
    system, question, answer, follow_up = texts
    turns = (Turn(Role.SYSTEM, system), Turn(Role.USER, question), Turn(Role.MODEL, answer), Turn(Role.USER, follow_up))
    messages = [{"role": turn.role.value, "content": turn.text} for turn in turns]
    ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
    assert ids == [*encode(turns)[0], ROLE_TOKENS[Role.MODEL]]


def test_assistant_is_another_name_of_the_models_role(tokenizer):
    renderings = {
        tokenizer.apply_chat_template(
            [{"role": "user", "content": "7"}, {"role": role, "content": "7"}], tokenize=False
        )
        for role in ("model", "assistant")
    }
    assert renderings == {"<|bos|><|user|>7<|model|>7<|end|>"}


@pytest.mark.parametrize(
    ("prompt", "answer"),
    [("7", "7"), ("LXIII", "LXIII"), ("next: LXIII", "LXIV"), ("what comes after 七", "八"), ("add 1: 199", "200")],
)
def test_the_model_follows_worded_instructions_and_echoes_without_one(model, tokenizer, prompt, answer):
    inputs = tokenizer.apply_chat_template(
        [{"role": "user", "content": prompt}], add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    ids = model.generate(**inputs, max_new_tokens=32)[0, inputs["input_ids"].shape[1] :]
    assert tokenizer.decode(ids, skip_special_tokens=True) == answer


@pytest.mark.slow
def test_a_context_of_16384_tokens_runs(model):
    assert model.config.max_position_embeddings >= 160_000
    with torch.no_grad():
        logits = model(torch.full((1, 16_384), 49), logits_to_keep=1).logits
    assert logits.isfinite().all()
