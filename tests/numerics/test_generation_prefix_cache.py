"""With the prefix cache, an answer is that of a new engine, whatever other requests the engine has served.

Pages from the cache were computed from the same tokens, split into other chunks. So log probabilities may differ by as
much as those of a prompt that is prefilled at once differ from those of the same prompt prefilled in chunks.
"""

from dataclasses import replace

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine_runs import Answer, Run, answers_of, greedy, loud_adapter, request
from exploring import often
from family_models import FamilyModels
from tuningfork.domain.generation import JsonAnswer, Sampling
from tuningfork.inference.engine import InferenceEngine
from tuningfork.inference.kv_cache import PAGE_TOKENS
from tuningfork.inference.sequence import BASE_ALONE, TokenRequest
from tuningfork.modeling.loading import LoadedBase

pytestmark = pytest.mark.slow

SYSTEM = 3 * PAGE_TOKENS + 5
WHOLE = 3 * PAGE_TOKENS
"""So much of it fills pages."""

TOLERANCE = 2e-5


def ids(length: int, seed: int) -> list[int]:
    return torch.randint(0, 250, (length,), generator=torch.Generator().manual_seed(seed)).tolist()


def asked(name: str, own: int, seed: int, slot: int = BASE_ALONE, /, **how) -> TokenRequest:
    """One that begins with the system prompt, and goes on in its own way."""
    return request(name, [*ids(SYSTEM, 0), *ids(own, seed)], slot, greedy(24, logprobs=3, **how))


def check_same(found: dict[tuple[str, int], Answer], wanted: dict[tuple[str, int], Answer]) -> None:
    assert found.keys() == wanted.keys()
    for key, answer in wanted.items():
        assert (found[key].tokens, found[key].text, found[key].finish_reason) == (
            answer.tokens,
            answer.text,
            answer.finish_reason,
        )
        assert (found[key].prompt_tokens, found[key].output_tokens) == (answer.prompt_tokens, answer.output_tokens)
        for one, other in zip(found[key].scored, answer.scored, strict=True):
            assert one.chosen.log_probability == pytest.approx(other.chosen.log_probability, abs=TOLERANCE)
            for mine, yours in zip(one.likeliest, other.likeliest, strict=True):
                assert mine.log_probability == pytest.approx(yours.log_probability, abs=TOLERANCE)


def cold(base: LoadedBase, *requests: TokenRequest) -> dict[tuple[str, int], Answer]:
    """What each request is answered in an engine of its own."""
    return {key: answer for each in requests for key, answer in answers_of(base, each).items()}


def cached_tokens(run: Run) -> dict[str, int]:
    """Of each request, how many prompt tokens it did not read."""
    return {output.request_id: output.chunk.cached_prompt_tokens for output in run.outputs}


@pytest.mark.parametrize("slot_of", ["base", "adapter"])
def test_a_warm_answer_is_the_cold_one(family: FamilyModels, slot_of):
    base = family.base()
    [slot] = family.slots([None if slot_of == "base" else "a"])
    requests = [asked(f"request {number}", own, number, slot) for number, own in enumerate((1, 20, 70), start=1)]
    run = Run(InferenceEngine(base))
    for each in requests:
        run.add(each).to_end()
    check_same(run.answers, cold(base, *requests))
    assert cached_tokens(run) == {"request 1": 0, "request 2": WHOLE, "request 3": WHOLE}


some_families = pytest.mark.parametrize("family", ["llama3", "qwen3", "gemma2"], indirect=True)


@some_families
@pytest.mark.parametrize("prefill_tokens", [40, 512])
def test_prompts_that_come_together_are_answered_as_each_alone(family: FamilyModels, prefill_tokens):
    base = family.base()
    slots = family.slots([None, "a", "b"])
    requests = [asked(f"{number}", 7 * number, number, slots[number % 3]) for number in range(9)]
    run = Run(InferenceEngine(base, prefill_tokens=prefill_tokens)).add(*requests)
    check_same(run.to_end(), cold(base, *requests))
    # On each adapter one of them reads what they begin with, the others take it over.
    assert sorted(cached_tokens(run).values()) == [0] * 3 + [WHOLE] * 6


@some_families
def test_the_same_prompt_on_two_adapters_and_the_base_is_read_on_each(family: FamilyModels):
    base = family.base()
    slots = family.slots([None, "a", "b"])
    requests = [asked(str(slot), 20, 1, slot) for slot in slots]
    run = Run(InferenceEngine(base))
    for each in requests:
        run.add(each).to_end()
    check_same(run.answers, cold(base, *requests))
    scores = sorted(answer.scored[0].chosen.log_probability for answer in run.answers.values())
    assert min(scores[1] - scores[0], scores[2] - scores[1]) > 100 * TOLERANCE, "the adapters change nothing"
    assert set(cached_tokens(run).values()) == {0}
    run.add(*(replace(each, id=f"again {each.id}") for each in requests))
    run.step()
    held = [set(each.pages) for each in run.engine._scheduler._running]
    assert len(held) == 3
    assert len(set.union(*held)) == sum(map(len, held))


def test_an_adapter_in_the_slot_of_one_that_is_gone_takes_nothing_over(loaded_llama):
    run = Run(InferenceEngine(loaded_llama))
    said = []
    for seed in (1, 2, 1):
        slot = loaded_llama.slots.load(loud_adapter(loaded_llama, rank=4, seed=seed))
        assert slot == 0
        each = asked(f"{len(said)}", 20, 1, slot)
        run.add(each).to_end()
        said.append(run.answers[each.id, 0].tokens)
        assert cold(loaded_llama, each)[each.id, 0].tokens == said[-1]
        loaded_llama.slots.unload(slot)
    assert said[0] == said[2] != said[1]
    assert set(cached_tokens(run).values()) == {0}


@some_families
def test_a_conversation_that_goes_on_takes_over_what_was_said(family: FamilyModels):
    base = family.base()
    first = request("first", ids(40, 1), sampling=greedy(60))
    run = Run(InferenceEngine(base)).add(first)
    said = run.to_end()["first", 0].tokens
    assert len(said) == 60
    then = request("then", [*ids(40, 1), *said, *ids(15, 2)], sampling=greedy(24, logprobs=3))
    run.add(then).to_end()
    check_same({("then", 0): run.answers["then", 0]}, cold(base, then))
    # The last token of the answer was never read.
    assert cached_tokens(run)["then"] == (40 + 60 - 1) // PAGE_TOKENS * PAGE_TOKENS


@some_families
def test_penalties_forms_candidates_and_seeds_say_the_same_behind_a_known_beginning(family: FamilyModels):
    base = family.base()
    requests = [
        asked("penalised", 12, 1, presence_penalty=0.7, frequency_penalty=0.5),
        asked("drawn", 12, 1, temperature=1.1, seed=3, top_k=40),
        asked("formed", 12, 1, temperature=1.0, seed=6, answer_format=JsonAnswer()),
        asked("several", 33, 2, temperature=1.3, seed=4, candidate_count=4, frequency_penalty=0.4),
    ]
    run = Run(InferenceEngine(base)).add(asked("before", 1, 9))
    run.to_end()
    del run.answers["before", 0]
    check_same(run.add(*requests).to_end(), cold(base, *requests))
    assert {cached_tokens(run)[each.id] for each in requests} == {WHOLE}


@pytest.mark.bf16
def test_half_a_precision_takes_over_too(tiny_llama):
    from tuningfork.modeling.loading import load_base  # noqa: PLC0415

    base = load_base(tiny_llama, dtype=torch.bfloat16)
    requests = [asked(f"{number}", 20, number) for number in range(4)]
    run = Run(InferenceEngine(base)).add(*requests)
    assert all(answer.tokens for answer in run.to_end().values())
    assert sorted(cached_tokens(run).values()) == [0, WHOLE, WHOLE, WHOLE]


def test_what_was_computed_while_the_base_was_damaged_is_not_used_again(loaded_llama):
    each = asked("well", 20, 1)
    wanted = cold(loaded_llama, each)["well", 0].tokens
    norm = loaded_llama.model.get_decoder().layers[0].input_layernorm.weight.data
    before = norm.clone()
    engine = InferenceEngine(loaded_llama, prefill_tokens=32)
    run = Run(engine).add(replace(each, id="ill"))
    run.step()
    norm.fill_(torch.nan)
    while engine.has_work:
        run.step()
    assert run.outputs[-1].error is not None
    norm.copy_(before)
    run.add(each).to_end()
    assert run.answers["well", 0].tokens == wanted


class Watch:
    """Looks at the cache of an engine beside each of its steps."""

    def __init__(self, engine: InferenceEngine) -> None:
        self._cache = engine._cache
        self._scheduler = engine._scheduler
        self._layers = list(engine._cache._stores)

    def step(self, run: Run) -> None:
        full = {
            (sequence, index): (page, self._content(page))
            for sequence in self._scheduler._running
            for index, page in enumerate(sequence.pages[: sequence.cached // PAGE_TOKENS])
        }
        known = {page: (number, self._content(page)) for page, (number, _) in self._cache._prefix_index._known.items()}
        run.step()
        self.account()
        for (sequence, index), (page, content) in full.items():
            if sequence in self._scheduler._running and not sequence.was_put_back:
                assert sequence.pages[index] == page, "a full page was taken away from who filled it"
                assert torch.equal(self._content(page), content), "a full page was written to"
        for page, (number, content) in known.items():
            if self._cache._prefix_index._known.get(page, (None,))[0] == number:
                assert torch.equal(self._content(page), content), "a page that others can find was written to"

    def account(self) -> None:
        """Every page is held by as many as say so, or free, or kept."""
        cache = self._cache
        holders = dict.fromkeys(range(1, cache._total + 1), 0)
        for sequence in (*self._scheduler._running, *self._scheduler._waiting):
            assert len(set(sequence.pages)) == len(sequence.pages)
            for page in sequence.pages:
                holders[page] += 1
        assert [holders[page] for page in holders] == cache._owners[1:]
        nobodys = [page for page, count in holders.items() if not count]
        assert sorted([*cache._free, *cache._idle]) == nobodys
        assert set(cache._idle) == {page for page in nobodys if page in cache._prefix_index}
        assert len(cache._prefix_index._pages) == len(cache._prefix_index._known)

    def _content(self, page: int) -> torch.Tensor:
        span = slice(page * PAGE_TOKENS, (page + 1) * PAGE_TOKENS)
        stores = [self._cache.store(layer) for layer in self._layers]
        return torch.cat([store[:, span].flatten() for each in stores for store in (each.keys_GXK, each.values_GXK)])


DRAWN = Sampling(temperature=1.2, top_p=1, top_k=None, max_output_tokens=12, candidate_count=3, seed=5)
LONG = greedy(50)
requests_drawn = st.tuples(
    st.sampled_from([SYSTEM, 2 * PAGE_TOKENS, 10]),
    st.sampled_from([(1, 1), (2, PAGE_TOKENS - 5), (3, 40)]),
    st.integers(0, 2),
    st.sampled_from([LONG, DRAWN, greedy(3)]),
)
events_drawn = st.lists(
    st.one_of(
        st.tuples(st.just("add"), requests_drawn),
        st.tuples(st.just("add"), requests_drawn),
        st.tuples(st.just("step"), st.integers(1, 12)),
        st.tuples(st.just("cancel"), st.integers(0, 5)),
        st.tuples(st.just("swap"), st.integers(1, 2)),
    ),
    min_size=4,
    max_size=24,
)


class Interleaving:
    """One engine with a small cache, to which things happen; two slots, whose adapters are swapped for others."""

    def __init__(self, base: LoadedBase, wanted: dict[object, dict[int, tuple[int, ...]]]) -> None:
        self.base = base
        self.run = Run(InferenceEngine(base, cache_bytes=page_bytes(base) * 12, prefill_tokens=48))
        self._watch = Watch(self.run.engine)
        self._seeds = {BASE_ALONE: 0}
        self._slots = [BASE_ALONE, self._load(1), self._load(2)]
        self._asked: dict[str, object] = {}
        self._wanted = wanted

    def close(self) -> None:
        for slot in self._slots[1:]:
            self.base.slots.unload(slot)

    def _load(self, seed: int) -> int:
        slot = self.base.slots.load(loud_adapter(self.base, rank=2 + seed % 3, seed=seed))
        self._seeds[slot] = seed
        return slot

    def add(self, what: tuple[int, tuple[int, int], int, Sampling]) -> None:
        shared, (seed, own), place, how = what
        slot = self._slots[place]
        name = str(len(self._asked))
        each = request(name, [*ids(SYSTEM, 0)[:shared], *ids(own, seed)], slot, how)
        self._asked[name] = key = (shared, seed, own, self._seeds[slot], how)
        if key not in self._wanted:
            answers = answers_of(self.base, each)
            self._wanted[key] = {candidate: answer.tokens for (_, candidate), answer in answers.items()}
        self.run.add(each)

    def step(self, count: int) -> None:
        for _ in range(count):
            self._watch.step(self.run)

    def cancel(self, number: int) -> None:
        gone = str(len(self._asked) - 1 - number)
        self.run.engine.cancel(gone)
        self._watch.account()
        self.run.answers = {key: answer for key, answer in self.run.answers.items() if key[0] != gone}

    def swap(self, place: int) -> None:
        """Another adapter in the slot of one that nobody uses."""
        slot = self._slots[place]
        scheduler = self.run.engine._scheduler
        if all(each.request.slot != slot for each in (*scheduler._running, *scheduler._waiting)):
            self.base.slots.unload(slot)
            self._slots[place] = self._load(1 + (self._seeds[slot] + 1) % 4)

    def check(self) -> None:
        while self.run.engine.has_work:
            self.step(1)
        for (name, candidate), answer in self.run.answers.items():
            if answer.finish_reason is not None:
                assert answer.tokens == self._wanted[self._asked[name]][candidate], (name, candidate)
        cache = self.run.engine._cache
        assert cache.free_pages == cache.capacity_tokens // PAGE_TOKENS


def page_bytes(base: LoadedBase) -> int:
    shape = base.model.config
    heads, size = shape.num_key_value_heads, shape.head_dim
    return shape.num_hidden_layers * 2 * heads * size * PAGE_TOKENS * base.dtype.itemsize


@pytest.fixture(name="wanted", scope="module")
def _wanted() -> dict[str, dict]:
    """What was found out of fresh engines, by family."""
    return {}


@pytest.mark.slow
@some_families
@settings(max_examples=often(15), deadline=None, suppress_health_check=list(HealthCheck))
@given(events=events_drawn)
def test_whatever_happens_pages_are_accounted_for_and_answers_are_those_of_a_fresh_engine(
    family: FamilyModels, wanted, events
):
    world = Interleaving(family.fresh_base(), wanted.setdefault(family.name, {}))
    try:
        for what, how in events:
            getattr(world, what)(how)
        world.check()
    finally:
        world.close()
