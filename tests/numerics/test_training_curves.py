"""What must be true of every training run: the same seed gives the same bits, company changes nothing, and a plain loop
over PEFT and torch's own optimizer sees the same losses.
"""

import dataclasses

import peft
import pytest
import torch
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM

import precisions
from rendering import row_of
from tiny_models import CONTEXT_TOKENS
from training_runs import LETTERS, curve, engine_over, job, run_to_the_end, weights_of
from tuningfork.domain.base_model import AdapterShape
from tuningfork.domain.conversation import Conversation
from tuningfork.domain.tuning_job import JobId
from tuningfork.modeling.loading import load_base
from tuningfork.training.batches import DataOrder

JOBS = (
    job("small", adapter=AdapterShape(rank=1, alpha=4.0), batch_size=1, epoch_count=1, learning_rate=0.02, seed=1),
    job("large", adapter=AdapterShape(rank=16, alpha=16.0), batch_size=7, epoch_count=6, learning_rate=0.003, seed=2),
    job("letters", examples=LETTERS, adapter=AdapterShape(rank=4, alpha=16.0), batch_size=2, learning_rate=0.01),
)


every_architecture_and_bfloat16 = pytest.mark.parametrize(
    ("tiny_base", "dtype"),
    precisions.EVERY_ARCHITECTURE_AND_BFLOAT16,
    indirect=["tiny_base"],
)


def alone(base, one):
    engine = engine_over(base)
    engine.admit(one)
    reports = run_to_the_end(engine)
    weights = weights_of(engine, one.id)
    engine.release(one.id)
    return curve(reports, one.id), weights


@pytest.mark.parametrize("jobs_per_step", [2, 3])
def test_jobs_that_share_their_passes_learn_as_they_would_alone(loaded_tiny, jobs_per_step):
    wanted = {one.id: alone(loaded_tiny, one) for one in JOBS}
    engine = engine_over(loaded_tiny, max_jobs_per_step=jobs_per_step)
    for one in JOBS:
        engine.admit(one)
    reports = run_to_the_end(engine)
    for one in JOBS:
        losses, weights_P = wanted[one.id]
        assert curve(reports, one.id) == pytest.approx(losses, rel=1e-5, abs=1e-5)
        # Adam divides by the gradient's size, so that where a gradient is nearly zero its last bits are all there is.
        close = torch.isclose(weights_of(engine, one.id), weights_P, rtol=1e-3, atol=1e-3)
        assert close.float().mean() > 0.999


@pytest.fixture(params=[1, 3], ids=["one_lane", "three_lanes"])
def lanes(request):
    """How many passes of engines made now are computed at a time."""
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@every_architecture_and_bfloat16
def test_company_does_not_change_a_bit_of_a_job_that_has_its_passes_to_itself(tiny_base, dtype, lanes):
    wanted_losses, wanted_P = alone(load_base(tiny_base, dtype=dtype), JOBS[1])
    engine = engine_over(load_base(tiny_base, dtype=dtype))
    engine.admit(JOBS[0])
    engine.step()
    engine.admit(JOBS[1])
    engine.admit(JOBS[2])
    assert len(engine.step()) == lanes
    for _ in range(3):
        engine.step()
    engine.release(JobId("letters"))
    reports = run_to_the_end(engine, lambda _: None)
    assert torch.equal(weights_of(engine, "large"), wanted_P)
    assert curve(reports, "large") == wanted_losses[-len(curve(reports, "large")) :]


@every_architecture_and_bfloat16
def test_the_seed_decides_every_bit(tiny_base, dtype):
    first, same = (alone(load_base(tiny_base, dtype=dtype), job(seed=3)) for _ in range(2))
    other = alone(load_base(tiny_base, dtype=dtype), job(seed=4))
    assert first[0] == same[0]
    assert torch.equal(first[1], same[1])
    assert not torch.equal(first[1], other[1])


@every_architecture_and_bfloat16
def test_a_learning_rate_of_zero_changes_nothing(tiny_base, dtype):
    base = load_base(tiny_base, dtype=dtype)
    shape = AdapterShape(rank=4, alpha=16.0)
    losses, weights_P = alone(base, job(learning_rate=0.0, batch_size=7, epoch_count=3, adapter=shape, seed=5))
    assert torch.equal(weights_P, base.slots.flatten(base.slots.fresh(shape, seed=5)))
    assert losses == pytest.approx([losses[0]] * 3, rel=1e-6 if dtype == torch.float32 else 1e-2)


@pytest.mark.bf16
def test_bfloat16_follows_the_curve_of_float32(tiny_llama):
    exact, _ = alone(load_base(tiny_llama, dtype=torch.float32), JOBS[1])
    rounded, _ = alone(load_base(tiny_llama, dtype=torch.bfloat16), JOBS[1])
    assert rounded == pytest.approx(exact, rel=0.02)
    assert rounded != exact


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")
@pytest.mark.parametrize("one", JOBS, ids=lambda one: one.id)
def test_a_plain_loop_over_peft_sees_the_same_losses(loaded_tiny, one):
    """Padded rows, all logits, torch's AdamW, PEFT's layers: only the data order and the first weights are ours."""
    model = peft.get_peft_model(
        AutoModelForCausalLM.from_pretrained(loaded_tiny.location, attn_implementation="eager"),
        peft.LoraConfig(
            r=one.adapter.rank, lora_alpha=one.adapter.alpha, target_modules="all-linear", task_type="CAUSAL_LM"
        ),
    )
    peft.set_peft_model_state_dict(model, loaded_tiny.slots.fresh(one.adapter, one.seed).tensors)
    given = one.hyperparameters
    optimizer = torch.optim.AdamW(model.parameters(), lr=given.learning_rate, weight_decay=0.0)
    order = DataOrder(
        example_count=len(one.examples), epoch_count=given.epoch_count, batch_size=given.batch_size, seed=one.seed
    )
    losses = []
    for step in range(1, given.total_steps(len(one.examples)) + 1):
        loss = padded_loss(model, loaded_tiny, [one.examples[index] for index in order.batch(step)])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert alone(loaded_tiny, one)[0] == pytest.approx(losses, rel=1e-5, abs=1e-5)


def padded_loss(model, base, examples: list[Conversation]):
    rendered = [row_of(base.chat, example) for example in examples]
    width = max(len(each.header) + len(each.output) for each in rendered)
    ids = torch.zeros(len(rendered), width, dtype=torch.long)
    labels = torch.full_like(ids, -100)
    mask = torch.zeros_like(ids)
    for row, each in enumerate(rendered):
        end = len(each.header) + len(each.output)
        ids[row, :end] = torch.tensor([*each.header, *each.output])
        labels[row, len(each.header) : end] = torch.tensor(each.output)
        mask[row, :end] = 1
    logits = model(input_ids=ids, attention_mask=mask).logits
    return cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=-100)


@every_architecture_and_bfloat16
def test_saving_memory_does_not_change_a_bit(tiny_base, dtype):
    wanted_losses, wanted_P = alone(load_base(tiny_base, dtype=dtype), job())
    engine = engine_over(load_base(tiny_base, dtype=dtype))
    engine._spare_bytes = 0
    engine.admit(job())
    assert curve(run_to_the_end(engine)) == wanted_losses
    assert torch.equal(weights_of(engine), wanted_P)


def test_a_batch_that_needs_several_passes_is_one_step(tiny_llama):
    # Two passes: forty examples of almost the whole context are more tokens than one pass takes.
    examples = tuple(Conversation.pair(letter * (CONTEXT_TOKENS - 65), letter * 3) for letter in "abcdefghij" * 4)
    one = job(examples=examples, batch_size=40, epoch_count=1)
    base = load_base(tiny_llama, dtype=torch.float32)
    engine = engine_over(base)
    engine.admit(one)
    [report] = engine.step()
    by_tens = [
        alone(base, job(examples=examples[start : start + 10], batch_size=10, epoch_count=1))[0][0]
        for start in range(0, 40, 10)
    ]
    assert report.tokens > 16_384
    assert report.snapshot.mean_loss == pytest.approx(sum(by_tens) / 4, rel=1e-5)
    # The ten different examples, once each, have the same mean gradient, and so lead to the same step.
    once = dataclasses.replace(one, id=JobId("once"), examples=examples[:10])
    assert torch.allclose(weights_of(engine), alone(base, once)[1], atol=1e-5)
