"""Passes from buffers that stay where they are are ordinary passes.

What takes a CUDA graph's place here does the same operations over the same buffers again, so that all but the graph
itself is seen; `test_gpu` sees the graphs.
"""

import pytest
import torch

from family_models import ADAPTERS
from pairs import pairs_of
from training_runs import LETTERS, NUMBERS, curve, engine_over, job, run_to_the_end, weights_of
from tuningfork.domain.base_model import AdapterShape
from tuningfork.domain.conversation import Conversation
from tuningfork.modeling.device.capture import reexecution
from tuningfork.modeling.loading import load_base

pytestmark = pytest.mark.slow

TOLERANCE = 1e-3

LONG = tuple(Conversation.pair("word " * (3 * index), "answer " * (index + 1)) for index in range(1, 9))
"""Of lengths that differ by far, some longer than a sliding window."""


def trained(base, jobs, **how):
    engine = engine_over(base, **how)
    for each in jobs:
        engine.admit(each)
    reports = run_to_the_end(engine)
    found = {each.id: (curve(reports, each.id), weights_of(engine, each.id)) for each in jobs}
    for each in jobs:
        engine.release(each.id)
    return found, engine._passes.graphs


def assert_near(ours, wanted) -> None:
    for name, (losses, weights_P) in wanted.items():
        assert ours[name][0] == pytest.approx(losses, abs=TOLERANCE)
        # Adam's first steps have one length whatever the gradient's: where that is nothing but rounding, so is a step.
        off_P = (ours[name][1] - weights_P).abs()
        assert off_P.quantile(0.99) < 0.1 * weights_P.abs().mean()


@pytest.fixture
def base(tiny_base):
    return load_base(tiny_base, dtype=torch.float32)


def test_every_family_is_trained_as_without_graphs(family, caplog):
    base = load_base(family.base_model, dtype=torch.float32)
    one = job(examples=LONG, epoch_count=4, batch_size=4, learning_rate=0.001, adapter=ADAPTERS["a"])
    wanted, none = trained(base, [one])
    assert none is None
    found, graphs = trained(base, [one], capture=reexecution)
    assert_near(found, wanted)
    if base.decoder is None:
        # What transformers' own code does in a pass is not known to be repeatable.
        assert graphs is None
        return
    assert graphs.is_on
    assert graphs._graphs
    assert not caplog.records


def test_jobs_of_different_shapes_share_graphs(base):
    jobs = [
        job("a", learning_rate=0.001, seed=1, epoch_count=4),
        job("b", learning_rate=0.002, seed=2, epoch_count=4, examples=LETTERS, batch_size=2),
        job("wide", learning_rate=0.001, seed=3, epoch_count=4, adapter=AdapterShape(rank=16, alpha=8.0)),
        job("long", learning_rate=0.001, seed=4, epoch_count=2, examples=LONG),
    ]
    alone = {}
    for each in jobs:
        alone |= trained(base, [each])[0]
    found, graphs = trained(base, jobs, capture=reexecution, max_jobs_per_step=4)
    assert_near(found, alone)
    assert graphs.is_on
    assert any(len(shape.blocks) > 1 for shape in graphs._graphs)


def test_one_graph_serves_all_batches_of_like_size(base):
    captured = []

    def capture(operations):
        captured.append(operations)
        return operations

    one = job(epoch_count=20, batch_size=4)
    _, graphs = trained(base, [one], capture=capture)
    assert graphs.is_on
    assert 1 <= len(captured) <= 3


def test_what_all_examples_begin_with_is_shared_where_that_halves_the_pass(base):
    system = "Answer with the next number, and with nothing else, in the language that it is written in. " * 4
    shared = tuple(Conversation.pair(system + text_input, output) for text_input, output in pairs_of(NUMBERS))
    one = job(examples=shared, batch_size=7, epoch_count=3, learning_rate=0.001)
    wanted, _ = trained(base, [one])
    found, graphs = trained(base, [one], capture=reexecution)
    assert found[one.id][0] == wanted[one.id][0]
    assert torch.equal(found[one.id][1], wanted[one.id][1])
    assert not graphs._graphs


def test_a_graph_that_cannot_be_made_is_done_without(base, caplog):
    def capture(operations):
        raise RuntimeError("operation not permitted when stream is capturing")

    one = job(epoch_count=3)
    wanted, _ = trained(base, [one])
    found, graphs = trained(base, [one], capture=capture)
    assert found[one.id][0] == wanted[one.id][0]
    assert torch.equal(found[one.id][1], wanted[one.id][1])
    assert not graphs.is_on
    assert "without CUDA graphs" in caplog.text


def test_a_graph_that_computes_something_else_is_found_out_before_it_does_harm(base, caplog):
    def capture(operations):
        return lambda: None

    one = job(epoch_count=3)
    wanted, _ = trained(base, [one])
    found, graphs = trained(base, [one], capture=capture)
    assert found[one.id][0] == wanted[one.id][0]
    assert torch.equal(found[one.id][1], wanted[one.id][1])
    assert not graphs.is_on
    assert "are off by" in caplog.text
