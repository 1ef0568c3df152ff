"""DPO: the curve of a plain implementation; alone as beside others; resumed as undisturbed; with and without graphs."""

import math
from dataclasses import replace

import peft
import pytest
import torch
from torch.nn.functional import log_softmax, logsigmoid
from transformers import AutoModelForCausalLM

from tiny_models import CONTEXT_TOKENS
from training_runs import LETTERS, NUMBERS, curve, engine_over, job, preference, run_to_the_end, weights_of
from tuningfork.domain.base_model import AdapterShape
from tuningfork.domain.errors import InternalError, InvalidArgument
from tuningfork.domain.objective import DirectPreferenceOptimization
from tuningfork.domain.tuning_job import JobId
from tuningfork.modeling.device.capture import reexecution
from tuningfork.modeling.loading import load_base, native_dtype
from tuningfork.training.batches import DataOrder, pack
from tuningfork.training.engine import EvaluationReport, StepReport
from tuningfork.training.jobs import Validation

BETA = 0.3
INSTRUCTION = "Answer in one word, in lower case, and say nothing else: "
PREFERENCES = (
    preference("1", "2", "three"),
    preference("three", "four", "44"),
    preference(INSTRUCTION + "what comes after two hundred?", "two hundred one", "199"),
    preference(INSTRUCTION * 2 + "eighty", "eighty one", "I cannot say"),
    preference("七", "八", "7"),
)
"""Some with prompts long enough to be shared by their two answers."""
STEPS = 7


def preferring(name="dpo", **different):
    fields = {
        "examples": PREFERENCES,
        "objective": DirectPreferenceOptimization(beta=BETA),
        "epoch_count": 4,
        "learning_rate": 0.003,
    }
    return job(name, **(fields | different))


def trained(base, *jobs, **how):
    """The losses and the weights of each job, and the graphs that there were."""
    engine = engine_over(base, **how)
    for each in jobs:
        engine.admit(each)
    reports = [each for each in run_to_the_end(engine) if isinstance(each, StepReport)]
    found = {each.id: (curve(reports, each.id), weights_of(engine, each.id)) for each in jobs}
    for each in jobs:
        engine.release(each.id)
    return found, engine._passes.graphs


def assert_same(found, wanted):
    for name, (losses, weights_P) in wanted.items():
        assert found[name][0] == losses, name
        assert torch.equal(found[name][1], weights_P), name


def every(rendered):
    return [rendered[index] for index in range(len(rendered))]


def log_probability(model, segment):
    """Of the answer that a segment ends with, from all logits of a pass of its own."""
    ids_T = segment.ids_T.long()
    scores_TV = log_softmax(model(ids_T[None]).logits[0].float(), dim=-1)
    first = segment.first_target
    return scores_TV[first - 1 : -1].gather(1, ids_T[first:, None]).sum()


def plain_losses(base, one, segments, source=None):
    """The loss of each step, by autograd over PEFT and torch's AdamW; the data order and first weights are ours."""
    plain = AutoModelForCausalLM.from_pretrained(base.location, attn_implementation="eager")
    if source is None:
        shape = one.adapter
        config = peft.LoraConfig(
            r=shape.rank, lora_alpha=shape.alpha, target_modules="all-linear", task_type="CAUSAL_LM"
        )
        model = peft.get_peft_model(plain, config)
        peft.set_peft_model_state_dict(model, base.slots.fresh(shape, one.seed).tensors)
    else:
        model = peft.PeftModel.from_pretrained(plain, source, is_trainable=True)
    with torch.no_grad():
        # Before the first step the model is its own reference.
        reference = [[log_probability(model, answer) for answer in pair] for pair in segments]
    given = one.hyperparameters
    optimizer = torch.optim.AdamW(model.parameters(), lr=given.learning_rate, weight_decay=0.0)
    order = DataOrder(
        example_count=len(segments), epoch_count=given.epoch_count, batch_size=given.batch_size, seed=one.seed
    )
    losses = []
    for step in range(1, given.total_steps(len(segments)) + 1):
        pairs = []
        for index in order.batch(step):
            chosen, rejected = (
                log_probability(model, answer) - known
                for answer, known in zip(segments[index], reference[index], strict=True)
            )
            pairs.append(-logsigmoid(given.objective.beta * (chosen - rejected)))
        loss = torch.stack(pairs).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


without_pefts_warning = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")


@without_pefts_warning
def test_the_curve_is_that_of_a_plain_implementation(loaded_tiny):
    engine = engine_over(loaded_tiny)
    one = preferring()
    engine.admit(one)
    segments = every(engine._jobs[one.id].examples)
    found = curve(run_to_the_end(engine), one.id)
    assert len(found) == STEPS
    assert found == pytest.approx(plain_losses(loaded_tiny, one, segments), rel=1e-4, abs=1e-5)
    # It learned, so that the curve is more than its beginning.
    assert found[-1] < 0.5 * found[0]


@without_pefts_warning
def test_a_job_that_goes_on_from_a_tuned_model_is_held_to_that_model(tiny_base, tmp_path):
    base = load_base(tiny_base, dtype=torch.float32)
    engine = engine_over(base)
    engine.admit(job("source"))
    run_to_the_end(engine)
    engine.save_adapter(JobId("source"), tmp_path / "source")
    engine.release(JobId("source"))
    one = preferring(initial_adapter=tmp_path / "source")
    engine.admit(one)
    segments = every(engine._jobs[one.id].examples)
    found = curve(run_to_the_end(engine), one.id)
    assert found[0] == math.log(2)
    assert found == pytest.approx(plain_losses(base, one, segments, tmp_path / "source"), rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
def test_before_the_first_step_no_bit_differs_from_the_reference(tiny_base, dtype):
    found, _ = trained(load_base(tiny_base, dtype=dtype), preferring())
    assert found["dpo"][0][0] == math.log(2)


def test_every_family_has_the_curve_of_autograd(family):
    found, _ = trained(family.fresh_base(), preferring())
    wanted, _ = trained(replace(family.fresh_base(), decoder=None), preferring())
    assert found["dpo"][0] == pytest.approx(wanted["dpo"][0], rel=2e-3, abs=1e-4)


MIXED = (
    preferring("dpo", adapter=AdapterShape(rank=8, alpha=80.0)),
    preferring("milder", objective=DirectPreferenceOptimization(beta=0.05), batch_size=2, seed=8),
    job("numbers", adapter=AdapterShape(rank=8, alpha=80.0), epoch_count=3, seed=9),
    job("letters", examples=LETTERS, batch_size=2, seed=10),
)
"""Two objectives, and two values of beta."""


def alone(base):
    found = {}
    for each in MIXED:
        found |= trained(base, each)[0]
    return found


@pytest.fixture(params=[1, 3], ids=["one_lane", "three_lanes"])
def lanes(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("dtype", "jobs_per_step"),
    [
        pytest.param(torch.float32, 1, id="fp32-passes-of-their-own"),
        pytest.param(
            torch.bfloat16,
            4,
            id="bf16-shared-passes",
            marks=pytest.mark.skipif(
                native_dtype(torch.device("cpu")) != torch.bfloat16, reason="no bfloat16 products here"
            ),
        ),
    ],
)
def test_beside_jobs_of_other_objectives_no_bit_differs_from_alone(tiny_llama, lanes, dtype, jobs_per_step):
    base = load_base(tiny_llama, dtype=dtype)
    wanted = alone(base)
    found, _ = trained(base, *MIXED, max_jobs_per_step=jobs_per_step)
    assert_same(found, wanted)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
def test_a_job_resumed_after_any_step_ends_with_the_same_adapter(tiny_llama, tmp_path, dtype):
    one = preferring()
    undisturbed = engine_over(load_base(tiny_llama, dtype=dtype))
    undisturbed.admit(one)
    reports = run_to_the_end(
        undisturbed,
        lambda report: undisturbed.write_savepoint(one.id, tmp_path / str(report.snapshot.step)),
    )
    assert len(reports) == STEPS
    for step in range(STEPS + 1):
        engine = engine_over(load_base(tiny_llama, dtype=dtype))
        assert engine.admit(one, tmp_path / str(step)) == step
        assert curve(run_to_the_end(engine), one.id) == curve(reports, one.id)[step:]
        assert torch.equal(weights_of(engine, one.id), weights_of(undisturbed, one.id))


def test_a_savepoint_of_another_objective_is_refused(loaded_llama, tmp_path):
    engine = engine_over(loaded_llama)
    engine.admit(preferring())
    engine.step()
    engine.write_savepoint(JobId("dpo"), tmp_path)
    other = preferring(objective=DirectPreferenceOptimization(beta=0.4))
    with pytest.raises(InternalError, match="of another job"):
        engine_over(loaded_llama).admit(other, tmp_path)


def test_passes_from_graphs_learn_what_ordinary_ones_do(tiny_base):
    base = load_base(tiny_base, dtype=torch.float32)
    # Short prompts: pairs that share theirs go without graphs.
    jobs = [preferring(examples=PREFERENCES[:2] + PREFERENCES[4:], epoch_count=6, seed=7), MIXED[3]]
    wanted, _ = trained(base, *jobs, max_jobs_per_step=2)
    found, graphs = trained(base, *jobs, max_jobs_per_step=2, capture=reexecution)
    assert graphs.is_on
    assert any(shape.pairs for shape in graphs._graphs)
    for name, (losses, weights_P) in wanted.items():
        assert found[name][0] == pytest.approx(losses, abs=1e-3)
        off_P = (found[name][1] - weights_P).abs()
        assert off_P.quantile(0.99) < 0.1 * weights_P.abs().mean()


def test_the_prompt_of_a_pair_is_computed_once(loaded_llama):
    engine = engine_over(loaded_llama)
    engine.admit(preferring())
    job = engine._jobs["dpo"]
    long = [job.examples[2], job.examples[3]]
    owned = job.owned_segments([answer for pair in long for answer in pair], owner=0)
    together, apart = pack(owned, share=True), pack(owned)
    saved = len(apart.ids_T) - len(together.ids_T)
    assert saved == sum(chosen.first_target - 1 for chosen, _ in long)
    assert [before is not None for before in together.prefixes] == [False, True, True] * 2


def test_a_batch_that_needs_several_passes_is_one_step_and_keeps_its_pairs_whole(loaded_llama):
    few = tuple(preference(letter * (CONTEXT_TOKENS - 65), letter * 3, "no") for letter in "abcde")
    one = preferring("large", examples=few * 5, batch_size=25, epoch_count=1)
    engine = engine_over(loaded_llama)
    engine.admit(one)
    assert engine.advance() == []
    for group in engine._jobs["large"].under_way.passes:
        assert len({each.pair for each in group}) * 2 == len(group)
    [report] = engine.step()
    assert report.tokens > 16_384
    # The five different pairs, once each, have the same mean gradient, and so lead to the same step.
    once, _ = trained(loaded_llama, preferring("once", examples=few, batch_size=5, epoch_count=1))
    assert torch.allclose(weights_of(engine, "large"), once["once"][1], atol=1e-5)


def test_an_evaluation_says_the_loss_of_held_out_pairs_and_how_well_chosen_answers_are_predicted(loaded_llama):
    engine = engine_over(loaded_llama)
    one = preferring(examples=PREFERENCES[:3], validation=Validation(examples=PREFERENCES[2:], every=1))
    engine.admit(one)
    reports = run_to_the_end(engine)
    found = [each.evaluation for each in reports if isinstance(each, EvaluationReport)]
    assert len(found) == 4
    job = engine._jobs[one.id]
    assert {each.targets for each in found} == {sum(chosen.targets for chosen, _ in every(job.validation))}
    plain, _ = trained(loaded_llama, preferring("plain", examples=PREFERENCES[:3]))
    assert curve([each for each in reports if isinstance(each, StepReport)], one.id) == plain["plain"][0]
    # A step at a rate of zero over the same pairs shows their loss before it; here before any step.
    assert found[0].mean_loss != math.log(2)
    again = preferring("held", examples=PREFERENCES[2:], batch_size=3, epoch_count=1, learning_rate=0.0)
    again = replace(again, validation=Validation(examples=PREFERENCES[2:]))
    engine.admit(again)
    step, evaluation = run_to_the_end(engine)
    assert evaluation.evaluation.mean_loss == pytest.approx(step.snapshot.mean_loss, rel=1e-6)


@pytest.mark.parametrize(
    ("objective", "examples", "found"),
    [
        (DirectPreferenceOptimization(), (PREFERENCES[0], NUMBERS[0]), "learns from preferences"),
        (None, (NUMBERS[0], PREFERENCES[0]), "learns from conversations"),
    ],
    ids=["a conversation for DPO", "a preference for cross-entropy"],
)
def test_examples_of_another_objectives_kind_are_named(loaded_llama, objective, examples, found):
    how = {} if objective is None else {"objective": objective}
    with pytest.raises(InvalidArgument) as caught:
        engine_over(loaded_llama).admit(job(examples=examples, **how))
    assert [violation.field for violation in caught.value.violations] == ["examples[1]"]
    assert found in caught.value.message


def test_both_slots_of_a_released_job_are_free(loaded_llama):
    engine = engine_over(loaded_llama)
    before = len(loaded_llama.slots._residents)
    engine.admit(preferring())
    engine.step()
    engine.release(JobId("dpo"))
    assert len(loaded_llama.slots._residents) == before
