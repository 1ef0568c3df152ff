"""A long pass runs in parts: other jobs step in between, it can be given up, and no number depends on either."""

import gc
from dataclasses import replace

import pytest
import torch

from tiny_models import Architecture, tiny_base_model, with_context
from training_runs import LETTERS, curve, engine_over, job, preference, run_to_the_end, weights_of
from tuningfork.domain.conversation import Conversation
from tuningfork.domain.objective import DirectPreferenceOptimization
from tuningfork.modeling.loading import load_base
from tuningfork.training.engine import EvaluationReport, StepReport
from tuningfork.training.jobs import Validation, tokens_and_targets
from tuningfork.training.suspended import fit_together

HUGE = tuple(Conversation.pair(f"{letter}" * 900, f"{letter}" * 60) for letter in "ab")
"""Examples whose attention, in the tests' small pieces, has many of them in each layer."""
HUGE_PAIRS = tuple(preference(f"{letter}" * 900, f"{letter}" * 60, "no" * 30) for letter in "ab")
TILE = 200
"""The side of a tile in these tests."""
LONG = tuple(Conversation.pair(f"{letter}" * 200, f"{letter}" * 40) for letter in "abc")
LONG_TOKENS = 150


@pytest.fixture(scope="module")
def base(tiny_directories):
    return load_base(tiny_base_model(Architecture.LLAMA, tiny_directories["llama"]), device="cpu")


@pytest.fixture(scope="module")
def roomy(base, tiny_directories, tmp_path_factory):
    """A base whose context has room for the huge examples, and whose products are computed in small blocks."""
    tiny = tiny_base_model(Architecture.LLAMA, tiny_directories["llama"])
    base = load_base(with_context(tiny, tmp_path_factory.mktemp("roomy") / "base", 2048), device="cpu")
    for product in [base.decoder.head, *(each.frozen for layer in base.decoder.layers for each in layer.products)]:
        product.piece = TILE * product.weight.numel()
    return base


@pytest.fixture
def jobs():
    """A job whose every pass is long, and two whose passes are short."""
    return job("long", examples=LONG, batch_size=1), job("numbers"), job("letters", examples=LETTERS, seed=5)


def engine_in_parts(base, *jobs):
    """An engine that gives other jobs a turn after each layer of a long pass."""
    engine = engine_over(base)
    engine._passes._lanes = 1
    engine._passes.long_tokens, engine._passes.part_seconds = LONG_TOKENS, 0.0
    for each in jobs:
        engine.admit(each)
    return engine


def alone(base, each):
    """The curve and the weights of a job that is alone, and whose passes are whole."""
    engine = engine_over(base)
    engine.admit(each)
    return curve(run_to_the_end(engine), each.id), weights_of(engine, each.id)


def in_small_pieces(engine):
    """The same engine, whose attention has small pieces."""
    heads = engine._base.decoder.layers[0]
    engine._passes.piece = 5 * heads.heads * heads.head_size * TILE**2
    return engine


def alone_in_pieces(base, each):
    """The reports and the weights of a job that is alone, and whose passes are cut into pieces but never suspended."""
    engine = in_small_pieces(engine_over(base))
    engine._passes.long_tokens = 10**9
    engine.admit(each)
    return run_to_the_end(engine), weights_of(engine, each.id)


def said(reports, name):
    """The losses of a job's steps and evaluations."""
    steps = [each for each in reports if isinstance(each, StepReport)]
    found = [each.evaluation for each in reports if isinstance(each, EvaluationReport) and each.job_id == name]
    return curve(steps, name), [(each.mean_loss, each.right_targets) for each in found]


def test_jobs_beside_passes_in_parts_have_the_curves_and_weights_that_they_have_alone(base, jobs):
    wanted = {each.id: alone(base, each) for each in jobs}
    engine = engine_in_parts(base, *jobs)
    reports = run_to_the_end(engine)

    for each in jobs:
        assert curve(reports, each.id) == wanted[each.id][0]
        assert weights_of(engine, each.id).equal(wanted[each.id][1])


def test_other_jobs_step_while_a_long_pass_is_under_way(base, jobs):
    engine = engine_in_parts(base, *jobs)
    under_way = []
    for _ in range(20):
        others = [report for report in engine.advance() if report.job_id != "long"]
        under_way += [not engine.is_between_steps(jobs[0].id) for _ in others]

    assert any(under_way)


def test_a_long_pass_can_be_given_up_at_once_and_nobody_notices(base, jobs):
    wanted = {each.id: alone(base, each) for each in jobs}
    engine = engine_in_parts(base, *jobs)
    while engine.is_between_steps(jobs[0].id):
        assert engine.advance() is not None
    assert engine._jobs[jobs[0].id].under_way.suspended is not None
    engine.release(jobs[0].id)
    engine.admit(jobs[0])
    reports = run_to_the_end(engine)

    assert curve(reports, "long") == wanted["long"][0]
    assert weights_of(engine, "numbers").equal(wanted["numbers"][1])
    assert weights_of(engine, "letters").equal(wanted["letters"][1])


def test_a_whole_batch_of_long_passes_runs_in_parts(base):
    large = job("large", examples=LONG * 2, batch_size=4)
    engine = engine_in_parts(base, large)
    assert curve(run_to_the_end(engine), "large") == alone(base, large)[0]


def test_a_pass_that_jobs_share_is_never_suspended(base, jobs):
    both = jobs[1:]
    whole = engine_over(base, max_jobs_per_step=2)
    for each in both:
        whole.admit(each)
    wanted = run_to_the_end(whole)
    engine = engine_over(base, max_jobs_per_step=2)
    engine._passes._lanes, engine._passes.long_tokens, engine._passes.part_seconds = 1, 0, 0.0
    for each in both:
        engine.admit(each)
    reports = []
    while not all(engine._jobs[each.id].is_done for each in both):
        reports += engine.advance()
        suspended = [job.under_way for job in engine._jobs.values() if job.under_way is not None]
        assert all(len(batch.jobs) == 1 for batch in suspended)

    for each in both:
        assert curve(reports, each.id) == curve(wanted, each.id)
        assert weights_of(engine, each.id).equal(weights_of(whole, each.id))


def test_one_pass_beyond_the_usual_size_is_in_memory_at_a_time(base):
    long = [job(f"long{number}", examples=LONG, batch_size=1, seed=number) for number in range(3)]
    wanted = {each.id: alone(base, each) for each in long}
    engine = engine_in_parts(base, *long)
    engine._scheduler._long.most_tokens = LONG_TOKENS
    reports, most = [], 0
    while not all(job.is_done for job in engine._jobs.values()):
        reports += engine.advance()
        most = max(most, len(engine._passes._suspended))

    assert most == 1
    assert {each.id: curve(reports, each.id) for each in long} == {each.id: wanted[each.id][0] for each in long}


def test_a_long_example_is_computed_while_a_pass_of_many_short_ones_is_suspended(base):
    long, many = job("long", examples=LONG, batch_size=1), job("many", examples=LETTERS * 5, batch_size=25)
    engine = engine_in_parts(base, many)
    engine._scheduler._long.most_tokens = LONG_TOKENS
    engine.advance()
    suspended = engine._jobs["many"].suspended
    assert suspended.longest < LONG_TOKENS
    engine.admit(long)
    while engine._jobs["long"].suspended is None:
        engine.advance()
    assert engine._jobs["long"].suspended.longest > LONG_TOKENS
    assert engine._jobs["many"].suspended is suspended


def test_suspended_passes_share_the_memory_for_activations(base):
    long = [job(f"long{number}", examples=LONG, batch_size=1, seed=number) for number in range(3)]
    wanted = {each.id: alone(base, each) for each in long}
    engine = engine_in_parts(base, *long)
    passes = engine._passes
    one = max(each.tokens for each in engine._jobs["long0"].next_batch())
    passes.pass_bytes, passes.short_bytes = int(2.5 * passes._memory.of_training(one, one, one, keep=True)), 0
    reports, most = [], 0
    while not all(job.is_done for job in engine._jobs.values()):
        reports += engine.advance()
        held = [each.held_bytes for each in passes._suspended]
        assert not held or fit_together(held, passes.pass_bytes, passes.short_bytes)
        most = max(most, len(held))

    assert most > 1
    assert {each.id: curve(reports, each.id) for each in long} == {each.id: wanted[each.id][0] for each in long}


@pytest.mark.parametrize("share", [0.5, 2.5])
def test_passes_that_fill_the_memory_let_no_further_one_begin(base, share):
    """Eight jobs with large batches; the plan has room for so many of their passes with activation checkpointing."""
    many = [
        job(f"many{number}", examples=LETTERS * 5, batch_size=25, seed=number, owner=f"owner{number}", epoch_count=1)
        for number in range(8)
    ]
    wanted = {each.id: alone(base, each) for each in many}
    engine = engine_in_parts(base, *many)
    passes = engine._passes
    batch = engine._jobs["many0"].next_batch()
    size = (*tokens_and_targets(batch), max(segment.tokens for segment in batch))
    passes.pass_bytes, passes.short_bytes = int(share * passes._memory.of_training(*size, keep=False)), 0
    reports, most = [], 0
    while not all(job.is_done for job in engine._jobs.values()):
        reports += engine.advance()
        held = [each.held_bytes for each in passes._suspended]
        assert not held or fit_together(held, passes.pass_bytes, passes.short_bytes)
        most = max(most, len(held))

    assert (most == 1) is (share < 1)
    assert {each.id: curve(reports, each.id) for each in many} == {each.id: wanted[each.id][0] for each in many}


def test_a_short_pass_runs_beside_one_that_is_larger_than_the_memory_that_is_planned(roomy):
    long, short = job("long", examples=HUGE, batch_size=2, owner="ann"), job("short", examples=LONG, batch_size=1)
    engine = engine_in_parts(roomy, long)
    passes = engine._passes
    passes.pass_bytes = passes.short_bytes = 0
    engine.advance()
    (larger,) = passes._suspended
    passes.pass_bytes = larger.held_bytes * 9 // 10
    engine.admit(short)
    reports = []
    while not reports:
        reports = engine.advance()

    assert [report.job_id for report in reports] == ["short"]
    assert engine._jobs["long"].suspended is larger


@pytest.mark.parametrize("validated", [False, True], ids=["training", "evaluation"])
def test_a_short_pass_runs_beside_another_one_where_no_memory_is_planned(roomy, validated):
    """The base was loaded while other programs held the memory, say."""
    settings = {"validation": Validation(examples=LONG[:1])} if validated else {}
    short = job("short", examples=LONG, batch_size=3, epoch_count=1, **settings)
    undisturbed = engine_in_parts(roomy, short)
    wanted = said(run_to_the_end(undisturbed), "short")
    engine = engine_in_parts(roomy, job("long", examples=HUGE, batch_size=2, owner="ann"))
    passes = engine._passes
    passes.pass_bytes = 0
    engine.advance()
    (larger,) = passes._suspended
    engine.admit(short)
    reports = []
    while not engine._jobs["short"].is_done:
        assert engine._jobs["long"].suspended is larger
        reports += engine.advance()

    assert said(reports, "short") == wanted
    assert weights_of(engine, "short").equal(weights_of(undisturbed, "short"))


@pytest.mark.parametrize("keep", [True, False], ids=["with all activations", "with activation checkpointing"])
@pytest.mark.parametrize("validated", [False, True], ids=["training", "evaluation"])
def test_a_suspended_pass_holds_no_more_memory_than_is_counted(roomy, keep, validated):
    """What the tensors that are there take at places where the pass is suspended, beside those before it."""
    # What earlier tests left is not to be freed meanwhile.
    gc.collect()
    settings = {"validation": Validation(examples=HUGE[:1])} if validated else {}
    examples = LETTERS if validated else HUGE[:1]
    engine = in_small_pieces(engine_in_parts(roomy, job("long", examples=examples, epoch_count=1, **settings)))
    engine._passes.pass_bytes = 10**12 if keep else 0
    long = engine._jobs["long"]
    while validated and long.evaluating is None:
        engine.advance()
    before, found, held, parts = tensor_bytes(), 0, 0, 0
    engine.advance()
    while (suspended := long.suspended) is not None:
        if parts % 25 == 0:
            found, held = max(found, tensor_bytes() - before), suspended.held_bytes
        parts += 1
        engine.advance()

    assert parts > 50
    assert held / 2 < found <= held


def test_a_suspended_pass_of_many_short_examples_holds_no_more_memory_than_is_counted(base):
    """Their attention is computed in one piece each."""
    gc.collect()
    engine = engine_in_parts(base, job("many", examples=LETTERS * 10, batch_size=60, epoch_count=1))
    engine._passes.pass_bytes = 10**12
    many = engine._jobs["many"]
    before, found, held, parts = tensor_bytes(), 0, 0, 0
    engine.advance()
    while (suspended := many.suspended) is not None:
        found, held, parts = max(found, tensor_bytes() - before), suspended.held_bytes, parts + 1
        engine.advance()

    assert parts > 3
    assert held / 2 < found <= held


def tensor_bytes():
    """The memory of all tensors that Python knows of, each storage counted once."""
    storages = {}
    for each in gc.get_objects():
        if issubclass(type(each), torch.Tensor) and each.layout == torch.strided:
            storage = each.untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
    return sum(storages.values())


def test_a_long_pass_that_is_given_up_frees_its_memory_at_once(base, jobs):
    engine = engine_in_parts(base, *jobs)
    while engine.is_between_steps(jobs[0].id):
        engine.advance()
    gc.disable()
    try:
        engine.release(jobs[0].id)
        assert not engine._passes._suspended
    finally:
        gc.enable()


@pytest.mark.parametrize(
    "long",
    [
        job("long", examples=HUGE, batch_size=1, epoch_count=1, validation=Validation(examples=HUGE[:1])),
        job("long", examples=HUGE_PAIRS, batch_size=1, epoch_count=1, objective=DirectPreferenceOptimization(beta=0.3)),
    ],
    ids=["with an evaluation", "of preferences"],
)
def test_a_layer_in_pieces_gives_the_same_bits_whatever_comes_between_them(roomy, jobs, long):
    wanted = {each.id: alone_in_pieces(roomy, each) for each in (long, jobs[1])}
    engine = in_small_pieces(engine_in_parts(roomy, long, jobs[1]))
    reports = run_to_the_end(engine)

    for name, (alone_reports, weights) in wanted.items():
        assert said(reports, name) == said(alone_reports, name)
        assert weights_of(engine, name).equal(weights)


def test_pieces_change_what_a_long_example_teaches_by_no_more_than_rounding(roomy):
    long = job("long", examples=HUGE, batch_size=1, epoch_count=1)
    whole_curve, whole_P = alone(roomy, long)
    reports, pieces_P = alone_in_pieces(roomy, long)
    assert curve(reports, "long") == pytest.approx(whole_curve, rel=1e-2)
    assert torch.nn.functional.cosine_similarity(whole_P, pieces_P, dim=0) > 0.99


def test_a_part_of_a_long_pass_is_a_piece_of_a_layer(roomy):
    engine = in_small_pieces(engine_in_parts(roomy, job("long", examples=HUGE[:1], batch_size=1, epoch_count=1)))
    parts = 1
    while not engine.advance():
        parts += 1
    layers, rows = len(roomy.decoder.layers), -(-960 // TILE)
    # In the forward pass and, since all activations are kept, once in the backward pass.
    assert parts > 2 * layers * rows * (rows + 1) // 2


def test_an_evaluation_and_a_reference_pass_let_other_jobs_step(roomy, jobs):
    """Each suspended pass has no activations to keep; its memory is free at once when its job is released."""
    long = job("long", examples=LETTERS, epoch_count=1, validation=Validation(examples=HUGE[:1]))
    pairs = job("pairs", examples=HUGE_PAIRS, batch_size=1, objective=DirectPreferenceOptimization(beta=0.3))
    short = replace(jobs[1], owner="else")
    for each in (long, pairs):
        engine = in_small_pieces(engine_in_parts(roomy, each))
        while (suspended := engine._jobs[each.id].suspended) is None:
            engine.advance()
        engine.admit(short)
        reports = []
        while not reports:
            reports += engine.advance()
        assert [report.job_id for report in reports] == [short.id]
        assert engine._jobs[each.id].suspended is suspended
        del suspended
        gc.disable()
        try:
            engine.release(each.id)
            assert not engine._passes._suspended
        finally:
            gc.enable()
        for name in list(engine._jobs):
            engine.release(name)
