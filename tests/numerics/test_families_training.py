"""For every family of models: an engine's steps are those of a plain loop over PEFT's layers with torch's AdamW.

The loop feeds each example alone, computes all logits in transformers' eager way, and knows nothing of packing. In fp32
the two agree to rounding. In bf16 the exact gradient is that of the rounded base in fp32, and the engine's may be no
further from it than PEFT's in bf16 is, give or take a half: the engine rounds adapters too, which PEFT keeps in fp32.
"""

from dataclasses import dataclass

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from torch import Tensor
from torch.nn.functional import cross_entropy

import precisions
from family_models import ADAPTERS
from rendering import row_of
from tiny_models import packed_logits
from training_runs import curve, engine_over, job, run_to_the_end
from tuningfork.domain.conversation import Conversation
from tuningfork.modeling.adapters import format as adapter_format
from tuningfork.training.batches import DataOrder
from tuningfork.training.optimizer import MEAN_DECAY
from tuningfork.training.savepoint import FILE

# PEFT 0.21 still asks transformers by a name that is on its way out.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning"),
]

EXAMPLES = (
    Conversation.pair("what comes after twelve?", "thirteen, as everybody knows"),
    Conversation.pair("and then", "on the other hand, the two of them were there"),
    Conversation.pair("seven", "8"),
    Conversation.pair("the theory of the theremin, in one word or two", "tone"),
    Conversation.pair("-98", "ninety-seven below"),
)
STEPS = 4
TEXT = torch.randint(0, 250, (40,), generator=torch.Generator().manual_seed(2)).tolist()


@dataclass(frozen=True)
class Training:
    """What a run showed: each step's loss, the gradient of the first, and the adapter after the last."""

    losses: list[float]
    gradients: dict[str, Tensor]
    weights: dict[str, Tensor]


def job_of(family):
    """It goes on from an adapter that does something: a fresh one's A has no gradient yet."""
    return job(
        examples=EXAMPLES,
        epoch_count=2,
        batch_size=3,
        learning_rate=0.003,
        adapter=ADAPTERS["a"],
        initial_adapter=family.adapter_directory("a"),
    )


def trained_here(family, dtype, tmp_path) -> Training:
    base = family.fresh_base(dtype)
    engine = engine_over(base)
    one = job_of(family)
    engine.admit(one)
    reports = engine.step()
    engine.write_savepoint(one.id, tmp_path / "first")
    # After one step the running mean of the gradients is a tenth of the only one so far.
    gradient_P = load_file(tmp_path / "first" / FILE)["mean"] / (1 - MEAN_DECAY)
    gradients = base.slots.unflatten(one.adapter, gradient_P).tensors
    reports += run_to_the_end(engine)
    engine.save_adapter(one.id, tmp_path / "last")
    return Training(curve(reports), gradients, adapter_format.load(tmp_path / "last").tensors)


def summed_loss(model, rendered) -> Tensor:
    ids_T = torch.tensor([*rendered.header, *rendered.output])
    logits_TV = model(ids_T[None]).logits[0].float()
    first = len(rendered.header)
    return cross_entropy(logits_TV[first - 1 : -1], ids_T[first:], reduction="sum")


def trained_by_peft(family, plain, steps=STEPS) -> Training:
    one = job_of(family)
    model = PeftModel.from_pretrained(plain, family.adapter_directory("a"), is_trainable=True).eval()
    learned = {name.replace(".default", ""): each for name, each in model.named_parameters() if each.requires_grad}
    optimizer = torch.optim.AdamW(learned.values(), lr=one.hyperparameters.learning_rate, weight_decay=0.0)
    order = DataOrder(example_count=len(EXAMPLES), epoch_count=2, batch_size=3, seed=one.seed)
    rendered = [row_of(family.base().chat, example) for example in EXAMPLES]
    losses, gradients = [], {}
    for step in range(1, steps + 1):
        batch = [rendered[index] for index in order.batch(step)]
        loss = sum(summed_loss(model, each) for each in batch) / sum(len(each.output) for each in batch)
        optimizer.zero_grad()
        loss.backward()
        gradients = gradients or {name: each.grad.clone() for name, each in learned.items()}
        optimizer.step()
        losses.append(loss.item())
    return Training(losses, gradients, {name: each.detach().clone() for name, each in learned.items()})


def distance(found: Tensor, wanted: Tensor) -> float:
    """How far apart they are, relative to the size of the second."""
    return ((found.float() - wanted).norm() / wanted.norm()).item()


def moved(family, training: Training) -> Tensor:
    """All that the steps changed, as one vector."""
    return torch.cat([(training.weights[name] - each).flatten() for name, each in family.adapters["a"].tensors.items()])


def test_every_step_is_that_of_a_plain_loop_over_peft(family, tmp_path):
    found, wanted = trained_here(family, torch.float32, tmp_path), trained_by_peft(family, family.plain())
    assert found.losses == pytest.approx(wanted.losses, rel=1e-5)
    assert found.gradients.keys() == wanted.gradients.keys()
    for name, gradient in wanted.gradients.items():
        # A tensor for itself, so that none hides behind the larger ones.
        assert distance(found.gradients[name], gradient) < 2e-5, name
    ours_P, theirs_P = moved(family, found), moved(family, wanted)
    # Adam divides by the gradient's size, so that where a gradient is nearly zero its last bits are all there is.
    assert ((ours_P - theirs_P).abs() < 1e-4).float().mean() > 0.999
    assert distance(ours_P, theirs_P) < 5e-3


def test_whatever_else_a_configuration_says_is_learned_with_too(variant, tmp_path):
    found = trained_here(variant, torch.float32, tmp_path)
    wanted = trained_by_peft(variant, variant.plain(), steps=1)
    assert found.losses[0] == pytest.approx(wanted.losses[0], rel=1e-5)
    for name, gradient in wanted.gradients.items():
        assert distance(found.gradients[name], gradient) < 2e-5, name


@pytest.mark.bf16
def test_in_bfloat16_the_gradient_is_as_exact_as_that_of_peft(family, tmp_path):
    found = trained_here(family, torch.bfloat16, tmp_path)
    theirs = trained_by_peft(family, family.plain(torch.bfloat16), steps=1)
    exact = trained_by_peft(family, family.plain(torch.bfloat16).float())
    ratios = [
        distance(found.gradients[name], gradient) / distance(theirs.gradients[name], gradient)
        for name, gradient in exact.gradients.items()
    ]
    assert sum(ratios) / len(ratios) < 1.5
    assert max(ratios) < 3
    assert found.losses[0] == pytest.approx(exact.losses[0], rel=0.003)
    # Adam's first steps go by the gradient's sign, which rounding decides where it is small.
    assert found.losses == pytest.approx(exact.losses, rel=0.03)


def test_jobs_that_share_their_passes_learn_as_they_would_alone(family):
    jobs = [job_of(family), job("other", examples=EXAMPLES, adapter=ADAPTERS["c"], batch_size=2, seed=3)]
    wanted = {}
    for one in jobs:
        engine = engine_over(family.fresh_base())
        engine.admit(one)
        wanted[one.id] = curve(run_to_the_end(engine), one.id)
    engine = engine_over(family.fresh_base(), max_jobs_per_step=2)
    for one in jobs:
        engine.admit(one)
    reports = run_to_the_end(engine)
    for one in jobs:
        assert curve(reports, one.id) == pytest.approx(wanted[one.id], rel=1e-4)


@pytest.mark.parametrize("dtype", precisions.BOTH)
def test_a_job_that_was_stopped_and_resumed_ends_with_the_same_bits(family, tmp_path, dtype):
    one = job_of(family)
    undisturbed = engine_over(family.fresh_base(dtype))
    undisturbed.admit(one)
    reports = undisturbed.step() + undisturbed.step()
    undisturbed.write_savepoint(one.id, tmp_path)
    reports += run_to_the_end(undisturbed)
    undisturbed.save_adapter(one.id, tmp_path / "wanted")
    resumed = engine_over(family.fresh_base(dtype))
    assert resumed.admit(one, tmp_path) == 2
    assert curve(run_to_the_end(resumed)) == curve(reports)[2:]
    resumed.save_adapter(one.id, tmp_path / "found")
    found, wanted = ((tmp_path / name / adapter_format.WEIGHTS).read_bytes() for name in ("found", "wanted"))
    assert found == wanted


@pytest.mark.parametrize("dtype", precisions.BOTH)
def test_layers_that_are_computed_twice_to_save_memory_give_the_same_bits(family, tmp_path, dtype):
    losses = []
    for name in ("kept", "twice"):
        engine = engine_over(family.fresh_base(dtype))
        if name == "twice":
            engine._spare_bytes = 0
        one = job_of(family)
        engine.admit(one)
        losses.append(curve(run_to_the_end(engine)))
        engine.save_adapter(one.id, tmp_path / name)
    assert losses[0] == losses[1]
    found, wanted = ((tmp_path / name / adapter_format.WEIGHTS).read_bytes() for name in ("twice", "kept"))
    assert found == wanted


def test_a_tuned_adapter_gives_the_same_logits_in_plain_peft_and_beside_the_base(family, tmp_path):
    engine = engine_over(family.fresh_base())
    one = job(examples=EXAMPLES, adapter=ADAPTERS["b"], learning_rate=0.003)
    engine.admit(one)
    run_to_the_end(engine)
    engine.save_adapter(one.id, tmp_path / "adapter")
    base = family.base()
    slot = base.slots.load(adapter_format.load(tmp_path / "adapter"))
    [ours_TV], [without_TV] = (packed_logits(base, [TEXT], which) for which in (slot, None))
    base.slots.unload(slot)
    assert not torch.allclose(ours_TV, without_TV, atol=0.05)
    theirs = PeftModel.from_pretrained(family.plain(), tmp_path / "adapter").eval()
    for model in (theirs, theirs.merge_and_unload()):
        torch.testing.assert_close(ours_TV, model(torch.tensor([TEXT])).logits[0], rtol=0, atol=5e-5)
