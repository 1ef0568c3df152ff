"""A job that goes on from an adapter begins where that adapter is, and is as reproducible as any other."""

import math

import peft
import pytest
import torch
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM

import precisions
from training_runs import LETTERS, NUMBERS, curve, engine_over, job, run_to_the_end, weights_of
from tuningfork.domain.base_model import AdapterShape
from tuningfork.domain.errors import InternalError
from tuningfork.modeling.adapters import format as adapter_format
from tuningfork.modeling.adapters.weights import AdapterWeights
from tuningfork.modeling.loading import load_base
from tuningfork.training.batches import OwnedSegment, pack
from tuningfork.training.initial_weights import SourceDamaged
from tuningfork.training.objectives import LossWeights
from tuningfork.training.passes import forward_backward


def source_of(base, directory, **different):
    """The adapter of a finished job, which has learned the numbers."""
    engine = engine_over(base)
    engine.admit(job("source", **different))
    run_to_the_end(engine)
    engine.save_adapter("source", directory)
    engine.release("source")
    return directory


def continued(source, **different):
    """A job that goes on with the letters, all of them in one batch."""
    return job("continued", **({"examples": LETTERS, "batch_size": 5, "initial_adapter": source} | different))


def loss_of(base, source, segments):
    """The mean loss of a batch under the adapter of a directory."""
    packed = pack([OwnedSegment(segment=segment, owner=0) for segment in segments], share=True)
    slot = base.slots.load(adapter_format.load(source), trainable=True)
    weights = LossWeights(fixed_N=torch.ones(len(packed.targets_N)))
    losses_N = forward_backward(base, packed, [slot], weights, keep=True).losses_N
    return math.fsum(losses_N.tolist()) / len(losses_N)


@pytest.mark.parametrize("dtype", precisions.BOTH)
def test_its_first_loss_is_the_loss_of_the_model_that_it_goes_on_from(tiny_base, tmp_path, dtype):
    base = load_base(tiny_base, dtype=dtype)
    source = source_of(base, tmp_path / "source")
    engine, fresh = engine_over(base), engine_over(load_base(tiny_base, dtype=dtype))
    engine.admit(continued(source))
    fresh.admit(continued(None))
    segments = engine._jobs["continued"].next_batch()
    [first] = engine.step()

    assert first.snapshot.mean_loss == loss_of(base, source, segments)
    # Not the base's, from which it would begin without the adapter.
    assert first.snapshot.mean_loss != fresh.step()[0].snapshot.mean_loss


# PEFT 0.21 still asks transformers by a name that is on its way out.
@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")
def test_its_first_loss_is_the_one_that_peft_computes_for_the_source(tiny_base, tmp_path):
    base = load_base(tiny_base, dtype=torch.float32)
    source = source_of(base, tmp_path / "source")
    engine = engine_over(base)
    engine.admit(continued(source))
    segments = engine._jobs["continued"].next_batch()
    [first] = engine.step()
    plain = AutoModelForCausalLM.from_pretrained(base.location, attn_implementation="eager")
    theirs = peft.PeftModel.from_pretrained(plain, source)

    with torch.no_grad():
        losses = [
            cross_entropy(
                theirs(segment.ids_T[None].long()).logits[0, segment.first_target - 1 : -1],
                segment.ids_T[segment.first_target :].long(),
                reduction="none",
            )
            for segment in segments
        ]
    assert first.snapshot.mean_loss == pytest.approx(float(torch.cat(losses).mean()), rel=1e-5)


def test_it_begins_with_the_very_numbers_of_the_source(loaded_llama, tmp_path):
    engine = engine_over(loaded_llama)
    engine.admit(job())
    run_to_the_end(engine)
    engine.save_adapter("job", tmp_path / "source")
    again = engine_over(loaded_llama)
    again.admit(continued(tmp_path / "source"))

    # In fp32, the precision in which they are trained: a chain of jobs loses nothing from one to the next.
    assert torch.equal(weights_of(again, "continued"), weights_of(engine))
    assert not again._jobs["continued"].optimizer.mean_P.any()
    assert not again._jobs["continued"].optimizer.square_P.any()


def test_what_the_source_knew_makes_its_own_lesson_easier(loaded_llama, tmp_path):
    source = source_of(loaded_llama, tmp_path / "source", epoch_count=20)
    engine = engine_over(loaded_llama)
    engine.admit(job("afresh"))
    engine.admit(job("continued", initial_adapter=source))
    reports = run_to_the_end(engine)

    assert curve(reports, "continued")[0] < curve(reports, "afresh")[0] / 2


@pytest.mark.parametrize("dtype", precisions.BOTH)
def test_resumed_after_any_step_it_ends_with_the_same_adapter(tiny_llama, tmp_path, dtype):
    source = source_of(load_base(tiny_llama, dtype=dtype), tmp_path / "source")
    wanted = continued(source, examples=NUMBERS[::-1], batch_size=3)
    undisturbed = engine_over(load_base(tiny_llama, dtype=dtype))
    undisturbed.admit(wanted)
    reports = run_to_the_end(
        undisturbed,
        lambda report: undisturbed.write_savepoint("continued", tmp_path / str(report.snapshot.step)),
    )
    undisturbed.save_adapter("continued", tmp_path / "wanted")

    for step in range(len(reports) + 1):
        engine = engine_over(load_base(tiny_llama, dtype=dtype))
        # There is no savepoint of step 0: the job starts at the source again.
        assert engine.admit(wanted, tmp_path / str(step)) == step
        assert curve(run_to_the_end(engine), "continued") == curve(reports, "continued")[step:]
        engine.save_adapter("continued", tmp_path / f"adapter{step}")
        for name in ("adapter_model.safetensors", "adapter_config.json"):
            assert (tmp_path / f"adapter{step}" / name).read_bytes() == (tmp_path / "wanted" / name).read_bytes()


def test_among_other_jobs_it_learns_what_it_learns_alone(tiny_llama, tmp_path):
    source = source_of(load_base(tiny_llama), tmp_path / "source")
    alone, beside = engine_over(load_base(tiny_llama)), engine_over(load_base(tiny_llama))
    alone.admit(continued(source))
    beside.admit(job("before", examples=NUMBERS[:2]))
    beside.admit(continued(source))
    beside.admit(job("twin", examples=LETTERS, batch_size=5, initial_adapter=source))
    run_to_the_end(alone)
    run_to_the_end(beside)

    assert torch.equal(weights_of(beside, "continued"), weights_of(alone, "continued"))
    assert torch.equal(weights_of(beside, "twin"), weights_of(alone, "continued"))


def test_the_savepoint_of_a_job_that_went_on_from_elsewhere_is_refused(loaded_llama, tmp_path):
    one = source_of(loaded_llama, tmp_path / "one")
    other = source_of(loaded_llama, tmp_path / "other", seed=8)
    engine = engine_over(loaded_llama)
    engine.admit(continued(one))
    engine.step()
    engine.write_savepoint("continued", tmp_path / "savepoint")
    for wrong in (continued(other), continued(None)):
        with pytest.raises(InternalError, match="savepoint of another job"):
            engine_over(loaded_llama).admit(wrong, tmp_path / "savepoint")


def test_an_adapter_of_another_shape_is_refused(loaded_llama, tmp_path):
    source = source_of(loaded_llama, tmp_path / "source")
    with pytest.raises(SourceDamaged, match="rank 4 and alpha 16, and the job rank 8 and alpha 16"):
        engine_over(loaded_llama).admit(continued(source, adapter=AdapterShape(rank=8, alpha=16.0)))


def test_an_adapter_of_another_base_is_refused(loaded_llama, tmp_path):
    weights = adapter_format.load(source_of(loaded_llama, tmp_path / "source"))
    name = next(name for name in weights.tensors if "lora_A" in name)
    narrower = AdapterWeights(weights.shape, {**weights.tensors, name: weights.tensors[name][:, :-1]})
    adapter_format.save(tmp_path / "other", narrower, "elsewhere")
    with pytest.raises(SourceDamaged, match="does not fit the base"):
        engine_over(loaded_llama).admit(continued(tmp_path / "other"))


def test_a_source_that_is_gone_is_told(loaded_llama, tmp_path):
    with pytest.raises(SourceDamaged, match="missing or damaged on this server: No such file"):
        engine_over(loaded_llama).admit(continued(tmp_path / "nowhere"))
