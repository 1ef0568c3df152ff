import pytest

import beside_llama_cpp
import memory
import real_base
import shapes
from beside_llama_cpp import F16, Q8_0, Task
from decoding import Pace

SAME = {False: {"greedy tokens": "32, 7"}, True: {"greedy tokens": "5, 5"}}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return shapes.make_model(tmp_path_factory.mktemp("made") / "model", shapes.TINY)


def made_rows(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    given = beside_llama_cpp.tasks()
    paces = {
        task.work: {"ours": [Pace(64, 9.0, 1.0)], F16: [Pace(64, 9.0, 2.0)], Q8_0: [Pace(64, 9.0, 0.5)]}
        for task in given
    }
    return {row["work"]: row for row in (each.as_json() for each in beside_llama_cpp.rows(given, paces, SAME, []))}


def test_each_comparison_says_what_is_wanted_of_it(monkeypatch):
    wanted = {work.removeprefix("smollm2: "): row["wanted_ratios"] for work, row in made_rows(monkeypatch).items()}

    mixed = "16 streams of 48 + 64 tokens, 16 adapters"
    assert wanted == {
        "one stream of 48 + 64 tokens, no adapter": {F16: 1.0},
        "one stream of 48 + 64 tokens, one adapter": {F16: 1.5},
        "16 streams of 48 + 64 tokens, no adapter": {},
        mixed: {f"{F16}, one adapter for all": 1.0},
        "reading a prompt of 512 tokens": {F16: 1.0},
        "reading a prompt of 4,096 tokens": {F16: 1.0},
        f"{mixed}, beside our own without adapters": {"ours, no adapter": 0.9},
    }


def test_figures_are_of_processor_time_and_the_clock_stands_beside(monkeypatch):
    row = made_rows(monkeypatch)["smollm2: one stream of 48 + 64 tokens, one adapter"]

    assert row["unit"] == "tokens a second of processor time"
    assert (row["ours"], row["ratios"]) == (64.0, {F16: 2.0, Q8_0: 0.5})
    assert row["facts"] == {"by the clock": f"{F16} 1.00 x, {Q8_0} 1.00 x", "greedy tokens": "5, 5"}


def test_answers_are_alike_up_to_the_first_other_token():
    assert beside_llama_cpp.alike([1, 2, 3], [1, 2, 3]) == 3
    assert beside_llama_cpp.alike([1, 2, 3], [1, 9, 3]) == 1


def test_prompts_have_their_length_and_are_others_with_another_seed(model):
    text = real_base.Text(model)
    assert [len(prompt) for prompt in text.prompts(2, 4_096, "long")] == [4_096, 4_096]
    # That model's tokenizer knows none of the words: all its tokens are alike.
    text._ids = list(range(10_000))

    assert text.prompts(2, 40, "a") == text.prompts(2, 40, "a")
    assert text.prompts(2, 40, "a") != text.prompts(2, 40, "b")


def test_a_text_too_short_for_a_prompt_says_how_long_it_is(model):
    with pytest.raises(ValueError, match="longer than the text, which has"):
        real_base.Text(model).prompts(1, 10**9, "a")


def test_what_a_base_adds_is_compared_with_its_weights_in_two_bytes():
    row = memory.compared(
        "real", 100_000_000, small={"trainer": 300.0, "generator": 200.0}, large={"trainer": 450.0, "generator": 310.0}
    ).as_json()

    assert row["ours"] == pytest.approx(1.3)
    assert row["at_most"] == 1.3


def test_a_bases_weights_are_counted(model):
    from transformers import AutoModelForCausalLM  # noqa: PLC0415

    assert memory.weight_count(model) == AutoModelForCausalLM.from_pretrained(model).num_parameters()


@pytest.mark.slow
def test_our_own_side_runs_where_llama_cpp_is_not_installed(model, tmp_path):
    given = [
        Task(work="alone", new=4),
        Task(work="plain", streams=16, new=4),
        Task(work="mixed", streams=16, new=4, adapters=16),
    ]

    rows, _ = beside_llama_cpp.compare(
        model, tmp_path, rounds=1, threads=1, given=given, shape=shapes.TINY, install=False, only="nobody"
    )

    made = [row.as_json() for row in rows]
    assert [set(row["peers"]) for row in made] == [set(), set(), set(), {"ours, no adapter"}]
    assert all(row["ours"] > 0 for row in made)
