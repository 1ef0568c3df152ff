"""An evaluation is the mean over the validation set under the adapter of its step; training does not feel it."""

import math

import pytest
import torch
from torch.nn.functional import cross_entropy

from tiny_models import CONTEXT_TOKENS, packed_logits
from training_runs import LETTERS, NUMBERS, curve, engine_over, job, run_to_the_end, weights_of
from tuningfork.domain.conversation import Conversation
from tuningfork.domain.errors import InvalidArgument
from tuningfork.domain.tuning_job import JobId
from tuningfork.modeling.loading import load_base
from tuningfork.training.batches import segments_of
from tuningfork.training.engine import EvaluationReport, StepReport
from tuningfork.training.jobs import Validation
from tuningfork.training.reports import TrainingDiverged

STEPS = 5

precisions = pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])


def evaluated(name="job", every=0, examples=LETTERS, **different):
    return job(name, validation=Validation(examples=examples, every=every), **different)


def evaluations(reports, name="job"):
    return [each.evaluation for each in reports if isinstance(each, EvaluationReport) and each.job_id == name]


def steps_of(reports):
    return [each for each in reports if isinstance(each, StepReport)]


def trained(base, *jobs, **how):
    engine = engine_over(base, **how)
    for each in jobs:
        engine.admit(each)
    reports = run_to_the_end(engine)
    weights = {each.id: weights_of(engine, each.id) for each in jobs}
    for each in jobs:
        engine.release(each.id)
    return reports, weights


def test_it_comes_at_its_steps_and_after_the_last_one_and_ends_the_job(loaded_llama):
    reports, _ = trained(loaded_llama, evaluated(every=2))
    seen = [
        ("evaluation", each.evaluation.step) if isinstance(each, EvaluationReport) else ("step", each.snapshot.step)
        for each in reports
    ]
    assert seen == [
        ("step", 1),
        ("step", 2),
        ("evaluation", 2),
        ("step", 3),
        ("step", 4),
        ("evaluation", 4),
        ("step", 5),
        ("evaluation", 5),
    ]
    assert [each.done for each in reports] == [False] * 7 + [True]
    assert [each.epoch for each in evaluations(reports)] == [0, 1, 2]


def test_without_a_cadence_it_comes_after_the_last_step_alone(loaded_llama):
    reports, _ = trained(loaded_llama, evaluated())
    assert [each.step for each in evaluations(reports)] == [STEPS]


@torch.no_grad()
def test_it_is_the_mean_over_all_targets_and_the_count_of_those_that_were_likeliest(loaded_tiny):
    engine = engine_over(loaded_tiny)
    engine.admit(evaluated(examples=NUMBERS + LETTERS, epoch_count=20, learning_rate=0.003))
    found = evaluations(run_to_the_end(engine))[-1]
    losses, right = [], 0
    validation = engine._jobs["job"].validation
    for index in range(len(validation)):
        for segment in validation[index]:
            ids = segment.ids_T.long()
            [logits_TV] = packed_logits(loaded_tiny, [ids.tolist()], engine._jobs["job"].slot)
            predicted_NV, targets_N = logits_TV[segment.first_target - 1 : -1], ids[segment.first_target :]
            losses += cross_entropy(predicted_NV.float(), targets_N, reduction="none").tolist()
            right += int((predicted_NV.argmax(-1) == targets_N).sum())
    assert found.targets == len(losses)
    assert found.mean_loss == pytest.approx(math.fsum(losses) / len(losses), rel=1e-4)
    assert found.right_targets == right > 0
    assert found.right_share == right / len(losses)


def on_its_own_examples(every=0, **different):
    """A job that is evaluated on what it trains on."""
    return job(examples=LETTERS, validation=Validation(examples=LETTERS, every=every), **different)


def test_the_predictions_of_a_step_are_those_of_its_batch_before_the_update(loaded_llama):
    whole = {"batch_size": len(LETTERS), "epoch_count": 10, "learning_rate": 0.003}
    reports, _ = trained(loaded_llama, on_its_own_examples(every=1, **whole))
    taken = [each.snapshot for each in steps_of(reports)]
    seen = {each.step: each for each in evaluations(reports)}
    for snapshot in taken[1:]:
        before = seen[snapshot.step - 1]
        assert (snapshot.targets, snapshot.right_targets) == (before.targets, before.right_targets)
    assert taken[-1].right_targets > taken[0].right_targets


def test_the_steps_of_an_epoch_predict_each_target_once(loaded_llama):
    reports, _ = trained(loaded_llama, on_its_own_examples(batch_size=1, epoch_count=1))
    [seen] = evaluations(reports)
    assert sum(each.snapshot.targets for each in steps_of(reports)) == seen.targets


@precisions
def test_it_changes_no_bit_of_the_training(tiny_llama, dtype):
    jobs = ({"name": "a", "seed": 1}, {"name": "b", "seed": 2, "examples": LETTERS, "batch_size": 2})
    base = load_base(tiny_llama, dtype=dtype)
    plain, wanted = trained(base, *(job(**each) for each in jobs))
    validation = Validation(examples=NUMBERS, every=1)
    reports, weights = trained(base, *(job(**each, validation=validation) for each in jobs))
    for each in "ab":
        assert len(evaluations(reports, each)) == 5
        assert curve(steps_of(reports), each) == curve(plain, each)
        assert torch.equal(weights[each], wanted[each])


@precisions
def test_company_and_lanes_change_no_bit_of_it(tiny_llama, dtype):
    before = torch.get_num_threads()
    base = load_base(tiny_llama, dtype=dtype)
    one = evaluated("one", every=2)
    alone = [(each.mean_loss, each.right_targets) for each in evaluations(trained(base, one)[0], "one")]
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            others = (evaluated("two", every=1, seed=8), job("three", examples=LETTERS, batch_size=2, seed=9))
            reports, _ = trained(base, one, *others)
            assert [(each.mean_loss, each.right_targets) for each in evaluations(reports, "one")] == alone
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(("threads", "passes"), [(1, 6), (2, 4)])
def test_small_evaluations_are_computed_side_by_side_where_there_are_cores_for_them(loaded_llama, threads, passes):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        engine = engine_over(loaded_llama)
        for name in "abc":
            engine.admit(evaluated(name, epoch_count=1, batch_size=7))
        reports, calls = [], 0
        while not all(run.is_done for run in engine._jobs.values()):
            reports += engine.advance()
            calls += 1
    finally:
        torch.set_num_threads(before)
    assert [report.job_id for report in reports] == [*"abc", *"abc"]
    # A step and an evaluation each; and one call for each evaluation's result.
    assert calls == passes + 3


def long_examples(count):
    return tuple(Conversation.pair("x" * (CONTEXT_TOKENS - 65), "abc"[index % 3]) for index in range(count))


def test_a_large_one_takes_several_passes_between_which_others_have_their_turns(loaded_llama):
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        engine = engine_over(loaded_llama)
        engine.admit(evaluated("large", examples=long_examples(39), epoch_count=1, batch_size=7))
        [step] = engine.step()
        assert not step.done
        engine.admit(job("small", epoch_count=1, batch_size=4))
        reports = run_to_the_end(engine)
    finally:
        torch.set_num_threads(before)
    assert [each.job_id for each in reports] == ["small", "small", "large"]
    assert reports[-1].done
    # The three different examples alone have the mean of all.
    engine.release(JobId("large"))
    few, _ = trained(loaded_llama, evaluated("few", examples=long_examples(3), epoch_count=1, batch_size=7))
    [found], [wanted] = evaluations(reports, "large"), evaluations(few, "few")
    assert found.targets == 13 * wanted.targets
    assert found.mean_loss == pytest.approx(wanted.mean_loss, rel=1e-5)


def test_a_job_resumed_where_one_was_due_is_evaluated_again_to_the_bit(tiny_llama, tmp_path):
    engine = engine_over(load_base(tiny_llama))
    one = evaluated(every=2)
    engine.admit(one)
    reports = [*engine.step(), *engine.step()]
    engine.write_savepoint(one.id, tmp_path)
    reports += run_to_the_end(engine)
    again = engine_over(load_base(tiny_llama))
    assert again.admit(one, tmp_path) == 2
    resumed = run_to_the_end(again)
    assert [(each.step, each.mean_loss) for each in evaluations(resumed)] == [
        (each.step, each.mean_loss) for each in evaluations(reports)
    ]


def test_a_job_released_in_the_middle_of_one_is_forgotten(loaded_llama):
    engine = engine_over(loaded_llama)
    engine.admit(evaluated(examples=long_examples(40), epoch_count=1, batch_size=7))
    engine.step()
    assert engine.advance() == []
    engine.release(JobId("job"))
    assert engine.step() == []


@pytest.mark.parametrize("every", [1, 2])
def test_a_validation_loss_that_is_no_number_ends_its_job_and_no_other(loaded_llama, every):
    """As where training has blown up in a direction that only the validation set shows."""
    [segment] = segments_of(loaded_llama.chat, Conversation.pair("1", "~"))
    with torch.no_grad():
        loaded_llama.model.get_input_embeddings().weight[segment.ids_T[segment.first_target]] = torch.nan
    engine = engine_over(loaded_llama)
    engine.admit(evaluated("bad", examples=(Conversation.pair("1", "~"),), every=every))
    engine.admit(evaluated("good"))
    seen = []
    with pytest.raises(TrainingDiverged, match=f"diverged at step {every}: its loss is nan") as caught:
        run_to_the_end(engine, seen.append)
    assert caught.value.job_id == "bad"
    assert [each.job_id for each in seen].count("bad") == every
    seen += run_to_the_end(engine)
    assert [each.step for each in evaluations(seen, "good")] == [STEPS]


def test_validation_examples_that_do_not_fit_the_context_are_named(loaded_llama):
    with pytest.raises(InvalidArgument) as caught:
        engine_over(loaded_llama).admit(evaluated(examples=(NUMBERS[0], Conversation.pair("x" * 600, "y"))))
    assert [violation.field for violation in caught.value.violations] == ["validation[1]"]
