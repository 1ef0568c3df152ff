"""What a GPU computes is what the CPU does, to rounding. `make test-gpu` runs these where one is; CI never does.

Everything is fp32 without TF32, except where bfloat16 is said: differences are then those of the order of sums.
"""

from typing import get_args

import pytest
import torch

from engine_runs import Answer, Run, greedy, loud_adapter, request
from families import WINDOW
from family_models import ADAPTERS
from tiny_models import packed_logits
from training_runs import LETTERS, NUMBERS, curve, engine_over, job, run_to_the_end, weights_of
from tuningfork.domain.tuning_job import JobId
from tuningfork.inference.engine import InferenceEngine
from tuningfork.modeling.attention.plans import AttentionParameters
from tuningfork.modeling.kernels.choice import kernels_for
from tuningfork.modeling.kernels.plain import PLAIN
from tuningfork.modeling.kernels.proof import Family
from tuningfork.modeling.loading import LoadedBase, load_base
from tuningfork.training.attention.packed_attention import Borders, FusedAttention, is_fused
from tuningfork.training.attention.segments import SegmentAttention

DEVICE = "cuda"

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
    # Some sums have no deterministic way on a GPU; the engine asks torch to say so and goes on.
    pytest.mark.filterwarnings("ignore:.*does not have a deterministic implementation:UserWarning"),
    pytest.mark.filterwarnings("ignore:Deterministic behavior was enabled:UserWarning"),
]

TOLERANCE = 1e-3
"""Of logits, whose spread is about 1, and of losses."""

PROMPTS = [
    torch.randint(0, 250, (length,), generator=torch.Generator().manual_seed(length)).tolist()
    for length in (3, 40, 2 * WINDOW + 3, 150, 9, 70)
]


def on_both(base_model, dtype=torch.float32) -> tuple[LoadedBase, LoadedBase]:
    return load_base(base_model, dtype=dtype), load_base(base_model, dtype=dtype, device=DEVICE)


@pytest.mark.parametrize("name", [None, "a", "b"], ids=["base", "rank_4", "rank_16"])
def test_logits_of_every_family_are_those_of_the_cpu(family, name):
    found = []
    for base in on_both(family.base_model):
        slot = None if name is None else base.slots.load(family.adapters[name])
        found.append([packed_logits(base, [ids], slot)[0].cpu() for ids in PROMPTS])
    for ours_TV, wanted_TV in zip(found[1], found[0], strict=True):
        torch.testing.assert_close(ours_TV, wanted_TV, rtol=0, atol=TOLERANCE)


def answers(base: LoadedBase, slots: list[int], *, graphs: bool = True) -> list[Answer]:
    """All prompts, a few after the others, each on its slot, with log probabilities; and nothing is known before."""
    asked = [
        request(str(index), ids, slot, greedy(60, logprobs=2))
        for index, (ids, slot) in enumerate(zip(PROMPTS, slots, strict=True))
    ]
    engine = InferenceEngine(base)
    if not graphs:
        engine._graphs = None
    run = Run(engine).add(*asked[:3])
    for _ in range(5):
        run.step()
    return list(run.add(*asked[3:]).to_end().values())


def assert_same(ours: list[Answer], wanted: list[Answer]) -> None:
    """The same words, and their log probabilities to rounding; where two words are as likely, they may part."""
    for one, other in zip(ours, wanted, strict=True):
        parted = False
        for mine, theirs in zip(one.scored, other.scored, strict=False):
            assert mine.likeliest[0].log_probability == pytest.approx(
                theirs.likeliest[0].log_probability, abs=TOLERANCE
            )
            if mine.chosen.token_id != theirs.chosen.token_id:
                first, second = theirs.likeliest[:2]
                assert first.log_probability - second.log_probability < 2 * TOLERANCE
                parted = True
                break
        assert parted or one.tokens == other.tokens


def adapters_in(base: LoadedBase) -> list[int]:
    ranks = (4, 8, 4, 16, 4, 8)
    return [base.slots.load(loud_adapter(base, rank, seed)) for seed, rank in enumerate(ranks)]


def test_a_batch_of_mixed_adapters_says_what_each_says_alone_and_on_the_cpu(tiny_base):
    on_cpu, on_gpu = on_both(tiny_base)
    wanted = answers(on_cpu, adapters_in(on_cpu))
    slots = adapters_in(on_gpu)
    together = answers(on_gpu, slots)
    assert_same(together, wanted)
    engine = InferenceEngine(on_gpu)
    alone = []
    for index, (ids, slot) in enumerate(zip(PROMPTS, slots, strict=True)):
        done = Run(engine).add(request(str(index), ids, slot, greedy(60, logprobs=2))).to_end()
        alone += done.values()
    assert_same(alone, together)


@pytest.mark.parametrize("ranks", [(), (4,), (4, 8)], ids=["base", "one_rank", "two_ranks"])
def test_steps_from_graphs_are_ordinary_steps(family, ranks, caplog):
    base = load_base(family.base_model, dtype=torch.float32, device=DEVICE)
    loaded = [base.slots.load(loud_adapter(base, rank, rank)) for rank in ranks] or [-1]
    slots = [loaded[index % len(loaded)] for index in range(len(PROMPTS))]
    assert_same(answers(base, slots), answers(base, slots, graphs=False))
    assert "CUDA graphs" not in caplog.text


def test_graphs_are_really_replayed_and_survive_adapters_that_come_and_go(tiny_base, caplog):
    base = load_base(tiny_base, dtype=torch.float32, device=DEVICE)
    slots = [base.slots.load(loud_adapter(base, 4, seed)) for seed in range(2)]
    engine = InferenceEngine(base)

    def say(slot: int) -> tuple[int, ...]:
        return Run(engine).add(request("a", PROMPTS[1], slot, greedy(60))).to_end()["a", 0].tokens

    before = [say(slot) for slot in slots]
    kept = list(engine._graphs._graphs.values())
    assert kept
    assert not any(graph.trials for graph in kept[:1])
    # The tables grow: other addresses.
    for seed in range(2, 12):
        base.slots.load(loud_adapter(base, 4, seed))
    assert [say(slot) for slot in slots] == before
    base.slots.unload(slots[0])
    assert say(base.slots.load(loud_adapter(base, 4, 0))) == before[0]
    assert not caplog.records


def test_in_bfloat16_a_graphs_steps_are_ordinary_ones_within_rounding(tiny_base, caplog):
    base = load_base(tiny_base, dtype=torch.bfloat16, device=DEVICE)
    slots = [base.slots.load(loud_adapter(base, 4, seed)) for seed in range(len(PROMPTS))]
    answers(base, slots)
    # The engine compares them itself, and would say so.
    assert not caplog.records


def trained(base: LoadedBase, jobs, **how):
    engine = engine_over(base, **how)
    for each in jobs:
        engine.admit(each)
    reports = run_to_the_end(engine)
    return {each.id: (curve(reports, each.id), weights_of(engine, each.id).cpu()) for each in jobs}


def assert_near(ours, wanted) -> None:
    for name, (losses, weights_P) in wanted.items():
        assert ours[name][0] == pytest.approx(losses, abs=TOLERANCE)
        # Adam's first steps have one length whatever the gradient's: where that is nothing but rounding, so is a step.
        off_P = (ours[name][1] - weights_P).abs()
        assert off_P.quantile(0.99) < 0.1 * weights_P.abs().mean()


def test_a_family_is_tuned_as_on_the_cpu(family):
    one = job(
        epoch_count=2,
        batch_size=3,
        learning_rate=0.001,
        adapter=ADAPTERS["a"],
        initial_adapter=family.adapter_directory("a"),
    )
    on_cpu, on_gpu = on_both(family.base_model)
    assert_near(trained(on_gpu, [one]), trained(on_cpu, [one]))


def test_four_jobs_at_once_are_each_what_they_are_alone(tiny_base):
    jobs = [
        job(f"job-{index}", examples=examples, seed=index, learning_rate=0.001)
        for index, examples in enumerate((NUMBERS, LETTERS, NUMBERS[:4], LETTERS[1:]))
    ]
    together = trained(load_base(tiny_base, dtype=torch.float32, device=DEVICE), jobs, max_jobs_per_step=4)
    alone = {}
    for each in jobs:
        alone |= trained(load_base(tiny_base, dtype=torch.float32, device=DEVICE), [each])
    assert_near(together, alone)


@pytest.mark.parametrize("family", get_args(Family))
def test_kernels_compute_what_they_should_and_are_used(family, caplog):
    found = kernels_for(torch.device(DEVICE), gpu_shortcuts=True)
    assert getattr(found, family) is not getattr(PLAIN, family)
    assert not caplog.records


@pytest.mark.parametrize("window", [None, 20])
@pytest.mark.parametrize("heads", [(4, 4), (8, 2)])
def test_fused_attention_is_that_of_segments(heads, window):
    lengths, size = (70, 1, 33, 16), 32
    draw = torch.Generator().manual_seed(0)
    all_TLK, grad_THK = (
        torch.randn(sum(lengths), count, size, generator=draw) for count in (heads[0] + 2 * heads[1], heads[0])
    )
    how = AttentionParameters(size**-0.5, window, None)
    right = SegmentAttention.of(lengths, torch.device("cpu"))
    wanted_THK, kept = right.forward(0, how, all_TLK, heads[0])
    wanted = wanted_THK, right.backward(kept, grad_THK)
    fused = FusedAttention(Borders.of(lengths, torch.device(DEVICE)))
    found_THK, kept = fused.forward(0, how, all_TLK.to(DEVICE, torch.bfloat16), heads[0])
    found = found_THK, fused.backward(kept, grad_THK.to(DEVICE, torch.bfloat16))
    for ours, theirs in zip(found, wanted, strict=True):
        assert (ours.float().cpu() - theirs).norm() < 0.01 * theirs.norm()


def test_in_bfloat16_jobs_are_trained_from_graphs_within_rounding(tiny_base, caplog):
    jobs = [job(f"job-{index}", seed=index, learning_rate=0.001, epoch_count=6) for index in range(3)]
    base = load_base(tiny_base, dtype=torch.bfloat16, device=DEVICE)
    engine = engine_over(base, max_jobs_per_step=3)
    for each in jobs:
        engine.admit(each)
    reports = run_to_the_end(engine)
    assert engine._passes.graphs._graphs
    # The engine compares them itself, and would say so.
    assert not caplog.records
    assert is_fused(base.decoder)
    wanted = trained(load_base(tiny_base, dtype=torch.float32), jobs)
    for each in jobs:
        assert curve(reports, each.id) == pytest.approx(wanted[each.id][0], rel=0.02)


def test_a_job_that_is_resumed_ends_as_an_undisturbed_one(tiny_base, tmp_path):
    one = job(learning_rate=0.001)
    wanted = trained(load_base(tiny_base, dtype=torch.float32, device=DEVICE), [one])
    engine = engine_over(load_base(tiny_base, dtype=torch.float32, device=DEVICE))
    engine.admit(one)
    engine.step()
    engine.step()
    engine.write_savepoint(one.id, tmp_path)
    engine = engine_over(load_base(tiny_base, dtype=torch.float32, device=DEVICE))
    assert engine.admit(one, tmp_path) == 2
    losses = curve(run_to_the_end(engine))
    ours = {one.id: (wanted[one.id][0][:2] + losses, weights_of(engine, JobId("job")).cpu())}
    assert_near(ours, wanted)
