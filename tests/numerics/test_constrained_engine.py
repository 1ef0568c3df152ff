"""Models with random weights, held to a form by the engine, beside others and alone."""

import json

import pytest
import torch
from jsonschema import Draft202012Validator
from transformers import AutoModelForCausalLM, GenerationConfig

from engine_runs import Run, answers_of, greedy, loud_adapter, request
from tiny_models import CONTEXT_TOKENS, Architecture, configuration, tiny_base_model
from tokenizer_kinds import KINDS
from tuningfork.domain.errors import InvalidArgument
from tuningfork.domain.generation import ChoiceAnswer, FinishReason, JsonAnswer
from tuningfork.inference.engine import InferenceEngine
from tuningfork.inference.kv_cache import probed_shapes
from tuningfork.modeling.loading import LoadedBase, load_base

SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 8},
        "age": {"type": "integer", "minimum": 0, "maximum": 150},
        "tags": {"type": "array", "items": {"enum": ["x", "y", "東京"]}, "maxItems": 3},
        "where": {"anyOf": [{"type": "null"}, {"type": "boolean"}]},
    },
    "required": ["name", "age", "tags", "where"],
    "additionalProperties": False,
}
PERSON = JsonAnswer(json.dumps(SCHEMA, ensure_ascii=False))
CHOICE = ChoiceAnswer(("positive", "negative", "neither\nnor", "¿qué?"))
ARCHITECTURE_OF = {
    "llama3": Architecture.LLAMA,
    "qwen": Architecture.QWEN3,
    "gemma": Architecture.GEMMA3,
    "llama2": Architecture.LLAMA,
}


@pytest.fixture(scope="module", params=list(ARCHITECTURE_OF))
def base(request, tmp_path_factory) -> LoadedBase:
    """A random model of each kind; its logits are wider than its tokenizer."""
    directory = tmp_path_factory.mktemp(request.param)
    tokenizer = KINDS[request.param]()
    architecture = ARCHITECTURE_OF[request.param]
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(7)
        model = AutoModelForCausalLM.from_config(configuration(architecture, len(tokenizer) + 11, 2))
    ends = tokenizer.convert_tokens_to_ids(["<|end|>", "<|eos|>"])
    model.generation_config = GenerationConfig(eos_token_id=ends)
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return load_base(tiny_base_model(architecture, directory), dtype=torch.float32)


def asked(base: LoadedBase, name: str, form, *, seed: int = 0, temperature: float = 1.5, tokens: int = 300, slot=-1):
    ids = base.chat.tokenizer.encode(f"who is {name}?", add_special_tokens=False)
    how = greedy(tokens, temperature=temperature, seed=seed, answer_format=form)
    return request(name, ids, slot, how)


def test_a_random_model_writes_what_was_asked_for(base):
    answers = answers_of(base, *(asked(base, str(seed), PERSON, seed=seed) for seed in range(12)))
    finished = [answer for answer in answers.values() if answer.finish_reason is FinishReason.STOP]
    assert len(finished) >= 6
    for answer in finished:
        value = json.loads(answer.text)
        Draft202012Validator(SCHEMA).validate(value)
        assert list(value) == list(SCHEMA["properties"])


def test_an_answer_that_is_cut_short_says_so_and_is_the_beginning_of_one(base):
    [whole] = answers_of(base, asked(base, "a", PERSON)).values()
    [cut] = answers_of(base, asked(base, "a", PERSON, tokens=5)).values()
    assert (cut.finish_reason, cut.output_tokens) == (FinishReason.MAX_TOKENS, 5)
    assert whole.text.startswith(cut.text)
    with pytest.raises(ValueError, match=r"."):
        json.loads(cut.text)


def test_an_answer_closes_what_it_has_opened_before_its_limit(base):
    limits = (70, 80, 120)
    answers = answers_of(base, *(asked(base, str(most), PERSON, seed=most, tokens=most) for most in limits))

    for most, answer in zip(limits, answers.values(), strict=True):
        assert (answer.finish_reason, answer.output_tokens <= most) == (FinishReason.STOP, True)
        Draft202012Validator(SCHEMA).validate(json.loads(answer.text))


def test_an_answer_that_is_whole_at_its_limit_has_stopped(base):
    form = ChoiceAnswer(("yes", "yes please, but the lazy dog"))
    least = len(base.chat.tokenizer.encode("yes", add_special_tokens=False))
    [answer] = answers_of(base, asked(base, "a", form, tokens=least)).values()
    assert (answer.text, answer.finish_reason) == ("yes", FinishReason.STOP)


def test_a_random_model_takes_one_of_the_choices(base):
    answers = answers_of(base, *(asked(base, str(seed), CHOICE, seed=seed) for seed in range(12)))
    assert {answer.text for answer in answers.values()} <= set(CHOICE.choices)
    assert {answer.finish_reason for answer in answers.values()} == {FinishReason.STOP}
    assert len({answer.text for answer in answers.values()}) > 1


def test_the_likeliest_answer_keeps_to_the_form_too(base):
    [answer] = answers_of(base, asked(base, "a", CHOICE, temperature=0)).values()
    assert answer.text in CHOICE.choices


def test_constrained_and_free_answers_say_beside_each_other_what_they_say_alone(base):
    loud = base.slots.load(loud_adapter(base, rank=4, seed=3))
    requests = [
        asked(base, "one", PERSON, seed=1),
        asked(base, "two", None, seed=2, tokens=60),
        asked(base, "three", CHOICE, seed=3, slot=loud),
        asked(base, "four", None, temperature=0, tokens=60, slot=loud),
        asked(base, "five", JsonAnswer(), seed=5, tokens=60),
    ]
    together = answers_of(base, *requests)
    for each in requests:
        alone = answers_of(base, each)[each.id, 0]
        beside = together[each.id, 0]
        assert (alone.text, alone.tokens, alone.finish_reason) == (beside.text, beside.tokens, beside.finish_reason)
    base.slots.unload(loud)


def test_an_answer_goes_on_where_it_was_when_the_cache_put_it_back(base):
    requests = [asked(base, str(seed), PERSON, seed=seed, tokens=100) for seed in range(3)]
    wide = answers_of(base, *requests)
    # Room for one answer and a half: the younger ones are put back, and read again what they had said.
    narrow = answers_of(base, *requests, cache_bytes=bytes_for(base, tokens=180))
    assert {key: answer.text for key, answer in narrow.items()} == {key: answer.text for key, answer in wide.items()}


def bytes_for(base: LoadedBase, tokens: int) -> int:
    shapes = probed_shapes(base.model).values()
    return tokens * sum(shape.heads * (shape.key_size + shape.value_size) for shape in shapes) * base.dtype.itemsize


def test_candidates_of_one_request_are_each_held_to_the_form(base):
    ids = base.chat.tokenizer.encode("a", add_special_tokens=False)
    how = greedy(300, temperature=1.5, seed=1, answer_format=CHOICE, candidate_count=6)
    answers = answers_of(base, request("a", ids, sampling=how))
    assert len(answers) == 6
    assert {answer.text for answer in answers.values()} <= set(CHOICE.choices)


def test_stop_sequences_and_penalties_apply_to_constrained_answers(base):
    ids = base.chat.tokenizer.encode("a", add_special_tokens=False)
    how = greedy(300, temperature=1.5, seed=1, answer_format=PERSON, stop_sequences=('"age"',), frequency_penalty=1.0)
    [answer] = answers_of(base, request("a", ids, sampling=how)).values()
    assert answer.finish_reason is FinishReason.STOP
    assert answer.text.startswith("{")
    assert "age" not in answer.text


def test_a_form_that_cannot_be_kept_to_refuses_its_own_request_only(base):
    engine = InferenceEngine(base)
    run = Run(engine).add(asked(base, "good", CHOICE))
    with pytest.raises(InvalidArgument, match="uniqueItems"):
        engine.add(asked(base, "bad", JsonAnswer('{"type": "array", "uniqueItems": true}')))
    assert run.to_end()["good", 0].text in CHOICE.choices


def test_a_form_that_turns_out_too_complex_ends_its_own_answer_only(base):
    engine = InferenceEngine(base)
    engine.add(asked(base, "bad", JsonAnswer(json.dumps({"type": "string", "pattern": "a?" * 20_000}))))
    engine.add(asked(base, "good", CHOICE))
    outputs = []
    while engine.has_work:
        outputs += engine.step()
    [error] = [output.error for output in outputs if output.error is not None]
    assert isinstance(error, InvalidArgument)
    assert "too many expressions" in error.message
    assert "".join(output.chunk.text for output in outputs if output.request_id == "good") in CHOICE.choices


def test_log_probabilities_of_a_forced_token_are_the_models_own(base):
    ids = base.chat.tokenizer.encode("a", add_special_tokens=False)
    forced = ChoiceAnswer(("zebra",))
    how = greedy(50, answer_format=forced, logprobs=3)
    [answer] = answers_of(base, request("a", ids, sampling=how)).values()
    assert answer.text == "zebra"
    # A model that was free would hardly have said this; were the constraint counted, each would be certain.
    assert max(scored.chosen.log_probability for scored in answer.scored) < -0.5
    assert len(ids) + len(answer.tokens) < CONTEXT_TOKENS
