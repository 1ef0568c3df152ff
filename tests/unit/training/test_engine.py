import math
import pickle

import pytest
import torch

from rendering import row_of
from tiny_models import CONTEXT_TOKENS, packed_logits
from training_runs import LETTERS, NUMBERS, engine_over, job, run_to_the_end, weights_of
from tuningfork.domain.base_model import AdapterShape
from tuningfork.domain.conversation import Conversation
from tuningfork.domain.errors import Code, InternalError, InvalidArgument
from tuningfork.domain.tuning_job import JobId
from tuningfork.modeling.adapters import format as adapter_format
from tuningfork.training.jobs import tokens_and_targets
from tuningfork.training.pass_runner import PassRunner
from tuningfork.training.passes import forward_backward
from tuningfork.training.reports import TrainingDiverged


@pytest.fixture(autouse=True)
def lanes():
    """One pass at a time, however many cores this machine has, unless a test sets another number of threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_an_engine_without_jobs_has_nothing_to_do(loaded_llama):
    assert engine_over(loaded_llama).step() == []


def test_a_job_reports_each_of_its_steps_and_then_no_more(loaded_llama):
    engine = engine_over(loaded_llama)
    assert engine.admit(job(epoch_count=2, batch_size=3)) == 0
    reports = run_to_the_end(engine)
    # Seven examples twice, in batches of three: 14 / 3.
    assert [report.snapshot.step for report in reports] == [1, 2, 3, 4, 5]
    assert [report.snapshot.epoch for report in reports] == [0, 0, 1, 1, 2]
    assert [report.done for report in reports] == [False] * 4 + [True]
    times = [report.snapshot.compute_time for report in reports]
    assert times == sorted(set(times))


def test_the_tokens_of_a_report_are_those_of_its_batch(loaded_tiny):
    engine = engine_over(loaded_tiny)
    engine.admit(job(epoch_count=2, batch_size=len(NUMBERS)))
    rendered = [row_of(loaded_tiny.chat, example) for example in NUMBERS]
    tokens = sum(len(each.header) + len(each.output) for each in rendered)
    assert [report.tokens for report in run_to_the_end(engine)] == [tokens, tokens]


def test_a_batch_may_be_larger_than_the_dataset(loaded_llama):
    engine = engine_over(loaded_llama)
    engine.admit(job(epoch_count=3, batch_size=16))
    assert [report.snapshot.epoch for report in run_to_the_end(engine)] == [2, 3]


def test_jobs_take_turns(loaded_llama):
    engine = engine_over(loaded_llama)
    engine.admit(job("a", epoch_count=1, batch_size=3))
    engine.admit(job("b", epoch_count=1, batch_size=4))
    engine.step()
    engine.admit(job("c", epoch_count=1, batch_size=7))
    assert [report.job_id for report in run_to_the_end(engine)] == ["b", "a", "c", "b", "a"]


def test_small_jobs_move_side_by_side_where_there_are_cores_for_them(loaded_llama):
    torch.set_num_threads(2)
    engine = engine_over(loaded_llama)
    for name in "abc":
        engine.admit(job(name, epoch_count=1, batch_size=4))
    steps = [[report.job_id for report in engine.step()] for _ in range(3)]
    assert steps == [["a", "b"], ["c", "a"], ["b", "c"]]


def test_a_large_job_does_not_move_beside_others_but_on_all_cores(loaded_llama):
    torch.set_num_threads(2)
    engine = engine_over(loaded_llama)
    # As if the base had so many weights that threads are worth waking for every pass.
    engine._passes._weights = 10**12
    for name in "ab":
        engine.admit(job(name, epoch_count=1, batch_size=7))
    # Each has passes of its own; they take turns while a pass is under way, so either may be done first.
    assert sorted([report.job_id for report in engine.step()] for _ in range(2)) == [["a"], ["b"]]


def test_passes_that_do_not_fit_into_memory_together_are_computed_twice_to_the_same_bits(loaded_llama):
    kept = []

    def spied(*given, keep, **how):
        kept.append(keep)
        return forward_backward(*given, keep=keep, **how)

    found = []
    # Much; enough for one pass at a time and not for two; nothing.
    for share in (1 << 40, 1, 0):
        torch.set_num_threads(2)
        engine = engine_over(loaded_llama)
        engine._passes = PassRunner(loaded_llama, jobs_per_pass=1, capture=None, compute=spied)
        for name in "ab":
            engine.admit(job(name, epoch_count=1, batch_size=7))
        batch = engine._jobs["a"].next_batch()
        size = (*tokens_and_targets(batch), max(segment.tokens for segment in batch))
        engine._passes.pass_bytes = share * engine._passes._memory.of_training(*size, keep=True)
        engine.step()
        found.append([weights_of(engine, name) for name in "ab"])
        for name in "ab":
            engine.release(JobId(name))
    assert kept == [True] * 2 + [False] * 4
    for other in found[1:]:
        assert all(torch.equal(ours, theirs) for ours, theirs in zip(other, found[0], strict=True))


def test_jobs_that_share_a_step_take_turns_as_well(loaded_llama):
    engine = engine_over(loaded_llama, max_jobs_per_step=2)
    for name in "abc":
        engine.admit(job(name, epoch_count=1, batch_size=4))
    steps = [[report.job_id for report in engine.step()] for _ in range(4)]
    assert steps == [["a", "b"], ["c", "a"], ["b", "c"], []]


def large_job(name="large"):
    """A job whose only step needs two passes, with more tokens than one takes."""
    examples = tuple(Conversation.pair(letter * (CONTEXT_TOKENS - 65), letter * 3) for letter in "abcdefghij" * 4)
    return job(name, examples=examples, batch_size=40, epoch_count=1)


@pytest.mark.parametrize("jobs_per_step", [1, 2])
def test_a_small_job_is_done_before_a_large_step_that_began_earlier(loaded_llama, jobs_per_step):
    engine = engine_over(loaded_llama, max_jobs_per_step=jobs_per_step)
    engine.admit(large_job())
    assert engine.advance() == []
    engine.admit(job("small", epoch_count=2, batch_size=3))
    assert [report.job_id for report in run_to_the_end(engine)] == ["small"] * 5 + ["large"]


def test_a_large_step_is_the_same_when_others_have_their_turns_in_it(loaded_llama):
    undisturbed = engine_over(loaded_llama)
    undisturbed.admit(large_job())
    [wanted] = undisturbed.step()
    wanted_P = weights_of(undisturbed, "large")
    undisturbed.release(JobId("large"))

    engine = engine_over(loaded_llama)
    engine.admit(large_job())
    engine.advance()
    engine.admit(job("small"))
    [reached] = [report for report in run_to_the_end(engine) if report.job_id == "large"]

    assert reached.snapshot.mean_loss == wanted.snapshot.mean_loss
    assert torch.equal(weights_of(engine, "large"), wanted_P)


def test_a_job_is_released_in_the_middle_of_a_step(loaded_llama):
    engine = engine_over(loaded_llama)
    engine.admit(large_job())
    engine.advance()
    engine.release(JobId("large"))
    assert engine.step() == []


def test_a_released_job_is_forgotten_and_its_slot_is_free(loaded_llama):
    engine = engine_over(loaded_llama)
    engine.admit(job("a"))
    engine.step()
    engine.release(JobId("a"))
    assert engine.step() == []
    assert loaded_llama.slots.load(loaded_llama.slots.fresh(AdapterShape(), seed=0)) == 0


def test_examples_that_do_not_fit_the_context_are_all_named(loaded_llama):
    long = Conversation.pair("x" * 600, "y")
    with pytest.raises(InvalidArgument) as caught:
        engine_over(loaded_llama).admit(job(examples=(NUMBERS[0], long, NUMBERS[1], long)))
    assert [violation.field for violation in caught.value.violations] == ["examples[1]", "examples[3]"]
    assert "base model's context is 512" in caught.value.message
    assert engine_over(loaded_llama).step() == []


def test_the_longest_example_that_fits_is_trained(loaded_llama):
    frame = sum(len(part) for part in astuple(row_of(loaded_llama.chat, Conversation.pair("", "y"))))
    engine = engine_over(loaded_llama)
    engine.admit(job(examples=(Conversation.pair("x" * (512 - frame), "y"),), epoch_count=1))
    assert engine.step()[0].tokens == 512


def astuple(rendered):
    return rendered.header, rendered.output


def test_a_saved_adapter_is_the_one_that_was_trained(loaded_tiny, tmp_path):
    engine = engine_over(loaded_tiny)
    engine.admit(job())
    run_to_the_end(engine)
    engine.save_adapter(JobId("job"), tmp_path / "adapter")
    with torch.no_grad():
        trained = packed_logits(loaded_tiny, [[1, 2, 3]], 0)[0]
        saved = loaded_tiny.slots.load(adapter_format.load(tmp_path / "adapter"), trainable=True)
        assert torch.equal(packed_logits(loaded_tiny, [[1, 2, 3]], saved)[0], trained)
        assert not torch.equal(packed_logits(loaded_tiny, [[1, 2, 3]], None)[0], trained)


def test_what_is_learned_becomes_the_likeliest(loaded_tiny):
    engine = engine_over(loaded_tiny)
    engine.admit(job(examples=LETTERS[:1], epoch_count=50, batch_size=1))
    losses = [report.snapshot.mean_loss for report in run_to_the_end(engine)]
    rendered = row_of(loaded_tiny.chat, LETTERS[0])
    with torch.no_grad():
        [logits_TV] = packed_logits(loaded_tiny, [[*rendered.header, *rendered.output]], 0)
    assert tuple(logits_TV.argmax(-1)[len(rendered.header) - 1 : -1].tolist()) == rendered.output
    assert losses[-1] < losses[0] / 3


def test_a_diverging_job_is_dropped_with_advice(loaded_llama):
    engine = engine_over(loaded_llama)
    engine.admit(job("wild", learning_rate=math.inf))
    with pytest.raises(TrainingDiverged) as caught:
        run_to_the_end(engine)
    assert caught.value.job_id == "wild"
    assert caught.value.code == Code.INVALID_ARGUMENT
    assert "learning rate" in caught.value.message
    assert [violation.field for violation in caught.value.violations] == ["hyperparameters.learning_rate"]
    assert engine.step() == []


def test_a_diverging_job_takes_no_other_with_it(loaded_llama):
    engine = engine_over(loaded_llama, max_jobs_per_step=3)
    engine.admit(job("wild", learning_rate=math.inf))
    engine.admit(job("calm"))
    engine.step()
    with pytest.raises(TrainingDiverged) as caught:
        engine.step()
    assert caught.value.job_id == "wild"
    reports = run_to_the_end(engine)
    assert [report.snapshot.step for report in reports] == [2, 3, 4, 5]
    assert {report.job_id for report in reports} == {"calm"}


def test_the_news_of_a_divergence_crosses_process_borders():
    error = TrainingDiverged(JobId("j"), 3, math.nan, 0.5)
    again = pickle.loads(pickle.dumps(error))
    assert (again.job_id, again.message, again.violations) == ("j", error.message, error.violations)
    assert "try 0.05" in error.message


def test_a_savepoint_of_a_job_that_was_changed_is_refused(loaded_llama, tmp_path):
    engine = engine_over(loaded_llama)
    engine.admit(job())
    engine.step()
    engine.write_savepoint(JobId("job"), tmp_path)
    changed = {"examples": NUMBERS[1:], "learning_rate": 0.02, "seed": 8, "adapter": AdapterShape(rank=4, alpha=8.0)}
    for name, value in changed.items():
        with pytest.raises(InternalError, match="savepoint of another job"):
            engine_over(loaded_llama).admit(job(**{name: value}), tmp_path)


def test_a_job_whose_directory_holds_no_savepoint_starts_at_the_start(loaded_llama, tmp_path):
    assert engine_over(loaded_llama).admit(job(), tmp_path / "none") == 0


def test_training_leaves_torchs_settings_as_they_were(loaded_llama):
    before = torch.are_deterministic_algorithms_enabled()
    engine = engine_over(loaded_llama)
    engine.admit(job())
    engine.step()
    assert torch.are_deterministic_algorithms_enabled() == before
    assert torch.utils.deterministic.fill_uninitialized_memory
