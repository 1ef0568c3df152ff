"""Steps over buffers that stay where they are give what ordinary steps give; what does not is switched off.

There is no GPU here: operations are done again where a CUDA graph would be replayed. What a graph adds to that is that
its operations cannot change any more, which the tests show by making them once a shape and looking at nothing else.
"""

import logging
import random
from dataclasses import dataclass, field, replace
from functools import partial

import pytest
import torch

import precisions
from engine_runs import Run, greedy, loud_adapter, request
from tuningfork.inference.cached_plan import CachedPlan, Span
from tuningfork.inference.engine import InferenceEngine
from tuningfork.inference.graphs import DecodeGraphs
from tuningfork.inference.kv_cache import PAGE_TOKENS, KvCache, probed_shapes
from tuningfork.modeling.adapters.slots import BASE_ALONE
from tuningfork.modeling.device.capture import Operations, reexecution
from tuningfork.modeling.loading import LoadedBase, load_base

NEVER = "the ordinary computation is not asked for"


@dataclass
class Counting:
    """Does the operations again, and counts what was kept and how often it ran."""

    kept: int = 0
    runs: int = 0

    def __call__(self, operations: Operations) -> Operations:
        self.kept += 1

        def again() -> None:
            self.runs += 1
            operations()

        return again


@dataclass
class Scene:
    """Rows in a cache, stepped in both ways over two caches that hold the same."""

    base: LoadedBase
    lengths: list[int]
    slots: list[int]
    counting: Counting = field(default_factory=Counting)
    kept: int = 64

    def __post_init__(self) -> None:
        shapes = probed_shapes(self.base.model)
        how = {"pages": 200, "dtype": self.base.dtype, "device": self.base.device}
        self.caches = [KvCache(shapes, **how), KvCache(shapes, **how)]
        assert self.base.decoder is not None
        self.graphs = DecodeGraphs(
            self.base, self.base.decoder, self.caches[0], self.counting, trials=0, kept=self.kept
        )
        self.random = random.Random(3)
        self.pages: list[list[list[int]]] = [[[] for _ in self.lengths] for _ in self.caches]
        for index, length in enumerate(self.lengths):
            ids = [self.random.randrange(250) for _ in range(length)]
            for cache, pages in zip(self.caches, self.pages, strict=True):
                assert cache.extend(pages[index], length)
                span = Span(pages[index], 0, length)
                self.ordinary(cache, ids, [span], [self.slots[index]] * length)

    @torch.inference_mode()
    def ordinary(self, cache: KvCache, ids: list[int], spans: list[Span], slots: list[int]):
        positions = [position for span in spans for position in range(span.begin, span.end)]
        ends = torch.tensor([span.length for span in spans]).cumsum(0) - 1
        return self.base.logits(torch.tensor(ids), torch.tensor(positions), ends, CachedPlan(cache, spans), slots)

    @torch.inference_mode()
    def step(self, rows: list[int]):
        """Feed these rows a token each; logits from a graph and in the ordinary way."""
        ids = [self.random.randrange(250) for _ in rows]
        slots = [self.slots[row] for row in rows]
        spans = []
        for cache, pages in zip(self.caches, self.pages, strict=True):
            for row in rows:
                assert cache.extend(pages[row], self.lengths[row] + 1)
            spans.append([Span(pages[row], self.lengths[row], self.lengths[row] + 1) for row in rows])
        for row in rows:
            self.lengths[row] += 1
        ours = self.graphs.logits(ids, spans[0], slots, lambda: pytest.fail(NEVER))
        return ours, self.ordinary(self.caches[1], ids, spans[1], slots)


TOLERANCES = {torch.float32: 2e-4, torch.bfloat16: 0.04}
"""Of a logit's spread: rows that fill up and pages that pad change the order of sums, and so the last bits."""


def assert_alike(ours_BV, ordinary_BV, dtype) -> None:
    assert ours_BV.shape == ordinary_BV.shape
    off_B = (ours_BV - ordinary_BV).square().mean(-1).sqrt() / ordinary_BV.std(-1)
    assert off_B.max() < TOLERANCES[dtype]


@pytest.fixture
def base(tiny_base) -> LoadedBase:
    return load_base(tiny_base, dtype=torch.float32)


@pytest.mark.parametrize("dtype", precisions.BOTH)
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "prepacked"])
@pytest.mark.parametrize(
    "ranks", [[0], [4], [0, 4], [2, 4, 0, 8]], ids=["base", "adapters", "adapters_and_base", "several_ranks_and_base"]
)
def test_random_mixes_of_rows_are_answered_as_in_ordinary_steps(tiny_base, dtype, packed, ranks):
    base = load_base(tiny_base, dtype=dtype)
    if packed:
        base.decoder.pack(backward=False)
    chosen = [ranks[seed % len(ranks)] for seed in range(9)]
    slots = [base.slots.load(loud_adapter(base, rank, rank)) if rank else BASE_ALONE for rank in chosen]
    scene = Scene(base, [1, 31, 32, 33, 5, 64, 100, 200, 17], slots)
    choices = random.Random(8)
    for _ in range(40):
        rows = choices.sample(range(9), choices.randint(1, 9))
        assert_alike(*scene.step(rows), dtype)
    assert scene.counting.runs == 40
    # One for each number of rows and pages, rounded up, and ranks: far fewer than there were mixes.
    assert scene.counting.kept <= 5 * 4 + 4 * (len(ranks) - 1)


@pytest.mark.parametrize("dtype", precisions.BOTH)
def test_where_nothing_is_filled_up_the_logits_are_the_same_to_the_last_bit(tiny_base, dtype):
    base = load_base(tiny_base, dtype=dtype)
    slots = [base.slots.load(loud_adapter(base, 8, seed)) for seed in range(4)]
    scene = Scene(base, [20, 9, 13, 1], slots)
    for rows in ([0], [1, 2], [0, 1, 2, 3], [3, 2, 1, 0], [2], [3, 0]):
        ours, ordinary = scene.step(rows)
        assert torch.equal(ours, ordinary)


def test_what_is_kept_reads_a_steps_numbers_from_the_buffers_alone(base):
    scene = Scene(base, [4, 40, 9], [BASE_ALONE] * 3)
    for rows in ([0, 1], [1, 2], [2, 0], [0, 1]):
        assert_alike(*scene.step(rows), torch.float32)
    # [2, 0] needs one page a row, the others two; the second pair goes through what was kept for the first.
    assert scene.counting.kept == 2
    assert scene.counting.runs == 4


def test_rows_that_fill_up_leave_no_trace_in_the_cache(base):
    scene = Scene(base, [4, 40, 9], [BASE_ALONE] * 3)
    scene.step([0, 1, 2])
    for layer in range(len(base.decoder.layers)):
        ours, ordinary = (cache.store(layer) for cache in scene.caches)
        torch.testing.assert_close(ours.keys_GXK, ordinary.keys_GXK, rtol=0, atol=1e-4)
        torch.testing.assert_close(ours.values_GXK, ordinary.values_GXK, rtol=0, atol=1e-4)
        assert not ours.keys_GXK[:, :PAGE_TOKENS].any()


def test_a_damaged_adapter_beside_others_hurts_its_own_row_alone(base):
    weights = loud_adapter(base, 4, 1)
    damaged = replace(weights, tensors={name: each * torch.nan for name, each in weights.tensors.items()})
    slots = [base.slots.load(damaged), base.slots.load(weights), base.slots.load(loud_adapter(base, 4, 2))]
    scene = Scene(base, [9, 40, 20], slots)
    for rows in ([0, 1, 2], [2, 1, 0], [1, 2]):
        ours, ordinary = scene.step(rows)
        sound = [index for index, row in enumerate(rows) if row]
        assert ours.isfinite().all(-1).tolist() == [row != 0 for row in rows]
        assert_alike(ours[sound], ordinary[sound], torch.float32)


def test_tables_that_grow_or_go_take_along_what_was_kept_of_them(base):
    slots = [base.slots.load(loud_adapter(base, 4, seed)) for seed in range(2)]
    other = base.slots.load(loud_adapter(base, 8, 7))
    scene = Scene(base, [9, 12, 30], [*slots, other])
    scene.step([0, 1])
    scene.step([2])
    assert scene.counting.kept == 2
    # The sixth of a rank doubles its tables twice over: the old ones are left as they were.
    more = [base.slots.load(loud_adapter(base, 4, seed)) for seed in range(2, 10)]
    base.slots.unload(slots[0])
    scene.slots[0] = base.slots.load(loud_adapter(base, 4, 90))
    assert_alike(*scene.step([0, 1]), torch.float32)
    assert_alike(*scene.step([2]), torch.float32)
    assert scene.counting.kept == 3
    for slot in (*more, scene.slots[0], slots[1]):
        base.slots.unload(slot)
    scene.slots[:2] = [base.slots.load(loud_adapter(base, 4, seed)) for seed in (50, 51)]
    assert_alike(*scene.step([0, 1]), torch.float32)
    assert scene.counting.kept == 4


def test_an_adapter_that_takes_anothers_place_needs_nothing_new(base):
    first = base.slots.load(loud_adapter(base, 4, 0))
    keeps_the_tables = base.slots.load(loud_adapter(base, 4, 5))
    scene = Scene(base, [9], [first])
    scene.step([0])
    base.slots.unload(first)
    scene.slots[0] = base.slots.load(loud_adapter(base, 4, 1))
    assert_alike(*scene.step([0]), torch.float32)
    assert scene.counting.kept == 1
    base.slots.unload(keeps_the_tables)


def test_only_so_many_are_kept_and_the_others_are_made_again(base):
    scene = Scene(base, [4] * 8, [BASE_ALONE] * 8, kept=2)
    for count in (1, 2, 1, 8, 2, 1):
        assert_alike(*scene.step(list(range(count))), torch.float32)
    assert len(scene.graphs._graphs) == 2
    # 1, 2, (1), 8, which 2 has to go for, 2, for which 1 goes, 1.
    assert scene.counting.kept == 5


@torch.inference_mode()
def test_what_has_no_shape_of_its_own_takes_the_ordinary_way(base):
    slots = [base.slots.load(loud_adapter(base, rank, 1)) for rank in (1, 2, 3, 4, 5)]
    trained = base.slots.load(loud_adapter(base, 4, 1), trainable=True)
    scene = Scene(base, [9, 12], slots[:2])
    spans = [Span(pages, 5, 6) for pages in scene.pages[0]]
    asked = []
    for ids, own, adapters in (
        ([1] * 5, spans[:1] * 5, slots),
        ([1, 2], spans, [slots[0], trained]),
        ([1, 2], [Span(scene.pages[0][0], 5, 7)], [slots[0]] * 2),
        ([1] * 65, spans[:1] * 65, [slots[0]] * 65),
        ([1], [Span([1] * 2049, 65_567, 65_568)], [BASE_ALONE]),
    ):
        scene.graphs.logits(ids, own, adapters, lambda: asked.append(1) or torch.zeros(1))
    assert len(asked) == 5
    assert not scene.counting.kept


@dataclass
class Lying:
    """A capture whose results are wrong from some run on, or that fails."""

    graphs: list[DecodeGraphs]
    from_run: int | None
    runs: int = 0

    def __call__(self, operations: Operations) -> Operations:
        if self.from_run is None:
            raise RuntimeError("operation not permitted when stream is capturing")

        def again() -> None:
            self.runs += 1
            operations()
            if self.runs >= self.from_run:
                # One row of many.
                self.graphs[0]._buffers.logits_BV[0] += torch.randn(len(self.graphs[0]._buffers.logits_BV[0]))

        return again


@pytest.mark.parametrize("from_run", [None, 1, 2], ids=["no_capture", "wrong_at_first", "wrong_at_second"])
def test_a_graph_that_fails_or_lies_is_never_heard(base, from_run, caplog):
    slots = [base.slots.load(loud_adapter(base, 4, seed)) for seed in range(3)]
    asked = [request(str(seed), [seed + 1] * 20, slot, greedy(30)) for seed, slot in enumerate(slots)]
    lying = Lying([], from_run)
    engine = InferenceEngine(base, capture=lying)
    lying.graphs.append(engine._graphs)
    with caplog.at_level(logging.WARNING):
        answers = Run(engine).add(*asked).to_end()
    assert answers == Run(InferenceEngine(base)).add(*asked).to_end()
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "without CUDA graphs" in caplog.text
    assert lying.runs == (from_run or 0)


def test_answers_go_on_beside_one_whose_numbers_cannot_be_compared(base, caplog):
    weights = loud_adapter(base, 4, 1)
    damaged = replace(weights, tensors={name: each * torch.nan for name, each in weights.tensors.items()})
    slots = [base.slots.load(damaged), base.slots.load(weights)]
    scene = Scene(base, [9, 9], slots)
    graphs = DecodeGraphs(base, base.decoder, scene.caches[0], scene.counting)
    for row in (0, 0, 0, 1):
        span = Span(scene.pages[0][row], 8, 9)
        with torch.inference_mode():
            own = [slots[row]]
            ordinary = partial(scene.ordinary, scene.caches[0], [5], [span], own)
            graphs.logits([5], [span], own, ordinary)
    assert scene.counting.runs == 4
    assert not caplog.records


def test_an_engine_answers_the_same_with_steps_done_again(base):
    counting = Counting()
    slots = [base.slots.load(loud_adapter(base, 4, seed)) for seed in range(6)]
    asked = [request(str(index), [index + 1] * (3 + 13 * index), slot, greedy(90)) for index, slot in enumerate(slots)]

    def answers(**how):
        run = Run(InferenceEngine(base, **how)).add(*asked[:2])
        for _ in range(10):
            run.step()
        return run.add(*asked[2:]).to_end()

    assert answers(capture=counting) == answers()
    assert counting.runs > 40


def test_on_a_cpu_steps_are_ordinary_ones_unless_asked_for(base):
    assert InferenceEngine(base)._graphs is None
    assert InferenceEngine(base, capture=reexecution)._graphs is not None


def test_what_transformers_own_code_computes_is_never_kept(base):
    assert InferenceEngine(replace(base, decoder=None), capture=reexecution)._graphs is None
