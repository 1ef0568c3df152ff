"""The compiled step computes what the decoder computes, for every family, and each row by itself, to the bit."""

import ctypes
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from tuningfork.inference import compiled_rows
from tuningfork.inference.cached_plan import CachedPlan, Span
from tuningfork.inference.compiled_rows import CompiledRows, _shortened, pages_of, trial
from tuningfork.inference.kv_cache import KvCache, pages_for, probed_shapes
from tuningfork.modeling.compiled import proof
from tuningfork.modeling.compiled.library import Level, Library, library
from tuningfork.modeling.compiled.step import DecodingStep, TokenRow, unsupported
from tuningfork.modeling.loading import LoadedBase

TOLERANCE = 1e-5
"""In fp32, relative to the spread of a row's logits."""
ENDS = (1, 2, 31, 32, 33, 64, 127, 128, 129, 200, 256, 257, 300, 5, 90, 11, 18)
"""First tokens, full pages and chunks and those before and after, windows that hide something and that do not."""
ADAPTERS = ("a", None, "b", "c", "a", "b", "b", None, "c")

compiled = library()
pytestmark = pytest.mark.skipif(compiled is None, reason="the package was installed without compiled parts")
LEVELS = [] if compiled is None else [level for level in Level if level <= compiled.level]
"""All that this processor has."""


class Rows:
    """Rows over a cache with random keys and values, and what they were before a step."""

    def __init__(self, base: LoadedBase, slots: Sequence[int], ends: Sequence[int] = ENDS) -> None:
        draw = torch.Generator().manual_seed(3)
        self.base = base
        self.ends = [min(end, base.context_tokens) for end in ends]
        pages = sum(map(pages_for, self.ends))
        self.cache = KvCache(probed_shapes(base.model), pages=pages, dtype=base.dtype, device=base.device)
        self.pages = pages_of(base.decoder, self.cache)
        self._before = [
            tuple(torch.randn(each.shape, generator=draw).to(each.dtype) for each in own) for own in self.pages.layers
        ]
        ids = torch.randint(0, base.decoder.head.outputs, (len(self.ends),), generator=draw).tolist()
        own_pages: list[list[int]] = [[] for _ in self.ends]
        # Pages of different rows lie among each other.
        for tokens in range(1, max(self.ends) + 1):
            for each, end in zip(own_pages, self.ends, strict=True):
                if tokens <= end:
                    assert self.cache.extend(each, tokens)
        self.rows = [
            TokenRow(token, each, end, slots[index % len(slots)])
            for index, (token, each, end) in enumerate(zip(ids, own_pages, self.ends, strict=True))
        ]
        self.reset()

    def reset(self) -> None:
        for own, before in zip(self.pages.layers, self._before, strict=True):
            for each, old in zip(own, before, strict=True):
                each.copy_(old)

    def by_decoder(self) -> Tensor:
        """Each row in a pass of its own."""
        self.reset()
        found = []
        for row in self.rows:
            plan = CachedPlan(self.cache, [Span(row.pages, row.end - 1, row.end)])
            ids, positions = torch.tensor([row.token]), torch.tensor([row.end - 1])
            found.append(self.base.logits(ids, positions, torch.tensor([0]), plan, [row.slot]))
        return torch.cat(found)

    def by_step(self, level: Level, order: Sequence[int] | None = None, threads: int = 1) -> Tensor:
        """All rows at once, or those of these indices, in their order; reset before."""
        assert compiled is not None
        self.reset()
        step = DecodingStep(compiled, self.base.decoder, self.pages, level)
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            return step.logits([self.rows[index] for index in (range(len(self.rows)) if order is None else order)])
        finally:
            torch.set_num_threads(before)


def check_close(found_BV: Tensor, right_BV: Tensor, tolerance: float = TOLERANCE) -> None:
    off_B = (found_BV - right_BV).abs().amax(dim=-1) / right_BV.std(dim=-1)
    assert off_B.max().item() < tolerance, off_B


def is_computed(family) -> bool:
    base = family.base()
    return base.decoder is not None


def rows_of(family, dtype=torch.float32, adapters=ADAPTERS) -> Rows:
    if not is_computed(family):
        pytest.skip("this family runs by transformers' code")
    return Rows(family.base(dtype), family.slots(adapters, dtype))


@pytest.mark.parametrize("level", LEVELS)
def test_logits_and_cache_are_those_of_the_decoder(family, level):
    rows = rows_of(family)
    right_BV = rows.by_decoder()
    right = [tuple(each.clone() for each in own) for own in rows.pages.layers]
    found_BV = rows.by_step(level)
    check_close(found_BV, right_BV)
    for own, wanted in zip(rows.pages.layers, right, strict=True):
        torch.testing.assert_close(own, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("level", LEVELS)
def test_a_rows_logits_depend_on_no_other_row_and_no_thread(family, level):
    rows = rows_of(family)
    count = len(rows.rows)
    alone_BV = torch.cat([rows.by_step(level, [index]) for index in range(count)])
    order = torch.randperm(count, generator=torch.Generator().manual_seed(1)).tolist()
    for some in (order, order[::-1], order[:2], order[3:6], order[:4], order[2:7], order[:13]):
        for threads in (1, 2):
            assert torch.equal(rows.by_step(level, some, threads), alone_BV[some])


@pytest.mark.parametrize("level", LEVELS)
def test_variants_of_families_are_computed_too(variant, level):
    if not is_computed(variant):
        pytest.skip("this variant runs by transformers' code")
    rows = rows_of(variant)
    check_close(rows.by_step(level), rows.by_decoder())


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_weights_in_two_bytes_are_widened_exactly(family, dtype, level):
    """The activations stay in fp32 on all levels but the last, which rounds them beside weights in bfloat16."""
    rows = rows_of(family)
    decoder = rows.base.decoder
    products = [decoder.head, *(product.frozen for layer in decoder.layers for product in layer.products)]
    exact = [(product.parts, product.stored) for product in products]
    try:
        for product in products:
            product.parts = tuple(part.to(dtype) for part in product.parts)
        found_BV = rows.by_step(level)
        for product in products:
            product.parts, product.stored = (product.weight.float(),), None
        right_BV = rows.by_decoder()
    finally:
        for product, (parts, stored) in zip(products, exact, strict=True):
            product.parts, product.stored = parts, stored
    rounds = level == Level.AVX512_BF16 and dtype == torch.bfloat16
    check_close(found_BV, right_BV, 0.1 if rounds else TOLERANCE)


@pytest.mark.bf16
def test_in_bfloat16_rows_are_as_near_to_fp32_as_those_of_the_decoder_and_independent(family):
    assert compiled is not None
    rows, exact = rows_of(family, torch.bfloat16), rows_of(family)
    right_BV = exact.by_decoder()
    found_BV = rows.by_step(compiled.level)
    ours, theirs = ((each - right_BV).square().mean().sqrt() for each in (found_BV, rows.by_decoder()))
    assert ours < 1.2 * theirs
    alone_BV = torch.cat([rows.by_step(compiled.level, [index], 2) for index in range(len(rows.rows))])
    assert torch.equal(alone_BV, found_BV)


class _Off:
    """The library's step, after which the first logit is wrong."""

    def __init__(self, step) -> None:
        self._step = step

    def __call__(self, model, step) -> int:
        failed = self._step(model, step)
        ctypes.c_float.from_address(step.logits).value += 1e3
        return failed


class _Wrong:
    """The library's functions, but for its step."""

    def __init__(self, calls) -> None:
        self._calls = calls
        self.tf_step = _Off(calls.tf_step)

    def __getattr__(self, name: str):
        return getattr(self._calls, name)


def test_an_engine_uses_the_step_only_after_a_trial_on_its_own_base(family, caplog):
    base = family.base()
    cache = KvCache(probed_shapes(base.model), pages=4, dtype=base.dtype, device=base.device)
    assert (CompiledRows.of(base, cache) is None) == (base.decoder is None)
    if base.decoder is not None:
        assert compiled is not None
        assert trial(base, base.decoder, compiled) < TOLERANCE
        wrong = Library(calls=_Wrong(compiled.calls), level=compiled.level)
        assert CompiledRows.of(base, cache, compiled=wrong) is None
        assert "the logits of a trial are off" in caplog.text


class _ByCompany(DecodingStep):
    """A step that changes the last bit of a number in the logits of several rows."""

    def logits(self, rows: Sequence[TokenRow]) -> Tensor:
        found_BV = super().logits(rows)
        if len(rows) > 1:
            found_BV.view(torch.int32)[-1, 0] ^= 1
        return found_BV


@pytest.mark.parametrize("family", ["smollm2"], indirect=True)
def test_an_engine_does_not_use_a_step_whose_rows_depend_on_each_other(family, caplog, monkeypatch):
    base = family.base()
    cache = KvCache(probed_shapes(base.model), pages=4, dtype=base.dtype, device=base.device)
    # Why: no library of this repository has rows that depend on each other.
    monkeypatch.setattr(compiled_rows, "DecodingStep", _ByCompany)

    assert CompiledRows.of(base, cache) is None
    assert "a row's logits depend on the other rows" in caplog.text


@pytest.mark.parametrize("family", ["smollm2"], indirect=True)
def test_an_engine_does_not_use_a_library_whose_products_are_wrong_here(family, monkeypatch):
    base = family.base()
    cache = KvCache(probed_shapes(base.model), pages=4, dtype=base.dtype, device=base.device)
    assert CompiledRows.of(base, cache) is not None
    # Why: the products of this library are right on every processor that is at hand.
    monkeypatch.setattr(proof, "is_correct", lambda _: False)
    proof.proven.cache_clear()
    try:
        assert CompiledRows.of(base, cache) is None
    finally:
        proof.proven.cache_clear()


def test_what_the_step_cannot_compute_is_named(family):
    base = family.base()
    if base.decoder is None:
        pytest.skip("this family runs by transformers' code")
    cache = KvCache(probed_shapes(base.model), pages=2, dtype=torch.float16, device=base.device)
    assert unsupported(base.decoder, pages_of(base.decoder, cache)) == "a cache in torch.float16"


@pytest.mark.bf16
def test_in_bfloat16_an_engine_uses_the_step_where_it_is_faster(family):
    base = family.base(torch.bfloat16)
    cache = KvCache(probed_shapes(base.model), pages=4, dtype=base.dtype, device=base.device)
    assert compiled is not None
    expected = base.decoder is not None and compiled.level == Level.AVX512_BF16
    assert (CompiledRows.of(base, cache) is not None) == expected


@pytest.mark.parametrize(
    ("family", "kept"), [("smollm2", [0]), ("smollm3", [0, 1]), ("gemma3", [0, 1])], indirect=["family"]
)
def test_a_trial_in_bfloat16_has_one_layer_of_each_kind(family, kept):
    assert [layer.index for layer in _shortened(family.base().decoder).layers] == kept
