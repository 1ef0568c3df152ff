"""What the engine says is what transformers and PEFT say, token for token and logit for logit, in fp32."""

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from peft import PeftModel
from torch import Tensor
from transformers import AutoModelForCausalLM

from engine_runs import answers_of, greedy, loud_adapter, request
from exploring import often
from tuningfork.inference.cached_plan import CachedPlan, Span
from tuningfork.inference.kv_cache import KvCache, probed_shapes
from tuningfork.modeling.adapters import format as adapter_format
from tuningfork.modeling.attention.plans import PackedPlan
from tuningfork.modeling.loading import LoadedBase, load_base

LONGER_THAN_WINDOW_AND_PAGES = 75


@pytest.fixture(name="base")
def _base(tiny_base) -> LoadedBase:
    return load_base(tiny_base, dtype=torch.float32)


def prompt(length: int, seed: int = 0) -> list[int]:
    return torch.randint(0, 250, (length,), generator=torch.Generator().manual_seed(seed)).tolist()


def transformers_tokens(model, prompt_ids: list[int], ends: frozenset[int], count: int) -> tuple[int, ...]:
    """Greedy generation by transformers, without the token that ends it."""
    ids = model.generate(
        torch.tensor([prompt_ids]),
        attention_mask=torch.ones(1, len(prompt_ids), dtype=torch.long),
        max_new_tokens=count,
        do_sample=False,
        eos_token_id=sorted(ends),
        pad_token_id=0,
    )
    generated = ids[0, len(prompt_ids) :].tolist()
    return tuple(generated[:-1] if generated[-1] in ends else generated)


@pytest.mark.parametrize("length", [1, 5, LONGER_THAN_WINDOW_AND_PAGES])
def test_greedy_generation_is_that_of_transformers(tiny_base, base, length):
    theirs = AutoModelForCausalLM.from_pretrained(tiny_base.location, attn_implementation="eager")
    for seed in range(3):
        ids = prompt(length, seed)
        [answer] = answers_of(base, request("a", ids, sampling=greedy(60))).values()
        assert answer.tokens == transformers_tokens(theirs, ids, base.chat.end_of_turn_ids, 60)


# PEFT asks transformers by a name that is going out of use.
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
def test_an_adapter_says_what_the_base_with_merged_weights_says(tiny_base, base, tmp_path):
    weights = loud_adapter(base, rank=4, seed=1)
    adapter_format.save(tmp_path / "adapter", weights, tiny_base.location)
    theirs = AutoModelForCausalLM.from_pretrained(tiny_base.location, attn_implementation="eager")
    merged = PeftModel.from_pretrained(theirs, tmp_path / "adapter").merge_and_unload()
    slot = base.slots.load(weights)
    said = set()
    for seed in range(3):
        ids = prompt(20, seed)
        [answer] = answers_of(base, request("a", ids, slot, greedy(40))).values()
        assert answer.tokens == transformers_tokens(merged, ids, base.chat.end_of_turn_ids, 40)
        [without] = answers_of(base, request("a", ids, sampling=greedy(40))).values()
        said.add(answer.tokens != without.tokens)
    assert True in said, "the adapter changed nothing, so nothing was tested"


def full_logits(base: LoadedBase, tokens: list[int]) -> Tensor:
    """`TV` of one forward over the whole sequence, without a cache."""
    return base.model(
        input_ids=torch.tensor([tokens]),
        position_ids=torch.arange(len(tokens))[None],
        use_cache=False,
        attention_plan=PackedPlan((len(tokens),)),
    ).logits[0]


def fed_logits(base: LoadedBase, cache: KvCache, spans: list[Span], sequences: list[list[int]]) -> list[Tensor]:
    """Feed one span of each sequence in one forward; `TV` for each."""
    ids_T = [token for span, tokens in zip(spans, sequences, strict=True) for token in tokens[span.begin : span.end]]
    positions_T = [position for span in spans for position in range(span.begin, span.end)]
    logits_TV = base.model(
        input_ids=torch.tensor([ids_T]),
        position_ids=torch.tensor([positions_T]),
        use_cache=False,
        attention_plan=CachedPlan(cache, spans),
    ).logits[0]
    return list(logits_TV.split([span.length for span in spans]))


def small_cache(base: LoadedBase, pages: int = 40) -> KvCache:
    return KvCache(probed_shapes(base.model), pages=pages, dtype=base.dtype, device=base.device)


@settings(max_examples=often(15), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
@torch.inference_mode()
def test_logits_from_the_cache_are_those_of_a_full_forward_however_the_tokens_are_fed(base, data):
    sequences = [prompt(data.draw(st.integers(1, 90)), seed) for seed in range(data.draw(st.integers(1, 4)))]
    cache = small_cache(base)
    # What earlier owners left behind must not matter.
    for store in map(cache.store, range(len(probed_shapes(base.model)))):
        store.keys_GXK[:, 32:] = torch.nan
        store.values_GXK[:, 32:] = torch.nan
    pages: list[list[int]] = [[] for _ in sequences]
    begins = [0] * len(sequences)
    found: list[list[Tensor]] = [[] for _ in sequences]
    while unread := [index for index, tokens in enumerate(sequences) if begins[index] < len(tokens)]:
        spans = []
        for index in unread:
            left = len(sequences[index]) - begins[index]
            end = begins[index] + data.draw(st.one_of(st.just(1), st.integers(1, left)))
            assert cache.extend(pages[index], end)
            spans.append(Span(pages[index], begins[index], end))
        logits = fed_logits(base, cache, spans, [sequences[index] for index in unread])
        for index, span, logits_TV in zip(unread, spans, logits, strict=True):
            found[index].append(logits_TV)
            begins[index] = span.end
    for tokens, pieces in zip(sequences, found, strict=True):
        torch.testing.assert_close(torch.cat(pieces), full_logits(base, tokens), rtol=1e-4, atol=1e-4)


@torch.inference_mode()
def test_sequences_that_share_a_beginning_go_their_own_ways(base):
    cache = small_cache(base)
    beginning = prompt(45)
    sequences = [beginning + prompt(20, seed) for seed in (1, 2)]
    first: list[int] = []
    assert cache.extend(first, 45)
    fed_logits(base, cache, [Span(first, 0, 45)], sequences[:1])
    second = cache.share(first, 45)
    assert second is not None
    assert (second[0], second[1] == first[1]) == (first[0], False)
    found: list[list[Tensor]] = [[], []]
    for end in range(46, 66):
        assert cache.extend(first, end)
        assert cache.extend(second, end)
        spans = [Span(first, end - 1, end), Span(second, end - 1, end)]
        for pieces, logits_TV in zip(found, fed_logits(base, cache, spans, sequences), strict=True):
            pieces.append(logits_TV)
    for tokens, pieces in zip(sequences, found, strict=True):
        torch.testing.assert_close(torch.cat(pieces), full_logits(base, tokens)[45:], rtol=1e-4, atol=1e-4)
