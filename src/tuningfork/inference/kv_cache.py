"""Keys and values of all running sequences, in pages from one pool of planned size.

A sequence holds a list of pages; each page has the keys and values of `PAGE_TOKENS` tokens in every layer. Sequences
get pages as they grow, and sequences with a common prefix may share pages (paged attention: Kwon et al. 2023, section
4). A full page that no sequence holds any more can be kept for later prompts with the same prefix, until its memory is
needed: the page that was released longest ago is reused first. Page 0 belongs to no sequence, stays zero, and serves as
padding.

Shape suffixes: T packed tokens, B rows (sequences with one new token), S cached keys of a row, padded, P pages, H query
heads, G key/value heads, N = H / G query heads on one key/value head, K head size.
"""

import math
import mmap
from collections import Counter, OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from tuningfork.inference.prefix_index import PageKey, PrefixIndex, Sharers
from tuningfork.modeling.attention.plans import PackedPlan

PAGE_TOKENS = 32


@dataclass(frozen=True, slots=True)
class LayerShape:
    """What one layer stores for each token: `heads` keys and `heads` values, with these numbers of elements each."""

    heads: int
    key_size: int
    value_size: int


@dataclass(frozen=True, slots=True)
class LayerStore:
    """The pool of one layer: token t of page p is at index p * PAGE_TOKENS + t of the second dimension X."""

    keys_GXK: Tensor
    values_GXK: Tensor

    def write(self, places_T: Tensor, key_GTK: Tensor, value_GTK: Tensor) -> None:
        """Store the keys and values of new tokens at these indices."""
        self.keys_GXK.index_copy_(1, places_T, key_GTK)
        self.values_GXK.index_copy_(1, places_T, value_GTK)

    def gather(self, pages_P: Tensor) -> tuple[Tensor, Tensor]:
        """Copies of the keys and values in these pages, one page after the other: `GSK`, S = P * PAGE_TOKENS."""
        return _gather(self.keys_GXK, pages_P), _gather(self.values_GXK, pages_P)


class KvCache:
    """The page pool of one engine: keys and values of all layers. Not thread-safe.

    Args:
        shapes: for each layer's index, what the layer stores for a token.
        pages: how many pages sequences can hold together.
        dtype: the type of keys and values.
        device: where the pool is. On a CPU, a page takes memory only once it is written to.
        kept_bytes: the most memory for pages that no sequence holds; None: the whole pool.

    """

    def __init__(
        self,
        shapes: dict[int, LayerShape],
        *,
        pages: int,
        dtype: torch.dtype,
        device: torch.device,
        kept_bytes: int | None = None,
    ) -> None:
        self.device = device
        self._total = pages
        self._kept_pages = pages if kept_bytes is None else kept_bytes // _page_bytes(shapes, dtype)
        slots = (pages + 1) * PAGE_TOKENS
        self._stores = {
            layer: LayerStore(
                _zeros((shape.heads, slots, shape.key_size), dtype, device),
                _zeros((shape.heads, slots, shape.value_size), dtype, device),
            )
            for layer, shape in shapes.items()
        }
        # The lowest page is taken first, so that little memory is written to while few pages are in use.
        self._free = list(range(pages, 0, -1))
        self._owners = [0] * (pages + 1)
        self._prefix_index = PrefixIndex()
        # Pages that no sequence holds but later prompts can find, in the order of their release. A page is released
        # after the pages that follow it in their sequence.
        self._idle: OrderedDict[int, None] = OrderedDict()

    @property
    def capacity_tokens(self) -> int:
        """The length in tokens of the longest sequence that fits while no other runs."""
        return self._total * PAGE_TOKENS

    @property
    def free_pages(self) -> int:
        """How many pages no sequence holds, kept ones included: kept pages are reused when pages run out."""
        return len(self._free) + len(self._idle)

    def store(self, layer: int) -> LayerStore:
        """The keys and values of one layer."""
        return self._stores[layer]

    def extend(self, pages: list[int], tokens: int) -> bool:
        """Append pages to the list until it holds this many tokens; if too few pages are free, change nothing.

        Returns whether the pages were appended.
        """
        count = pages_for(tokens) - len(pages)
        if count > self.free_pages:
            return False
        if count > 0:
            pages += [self._take() for _ in range(count)]
            self._clear(pages[-1])
        return True

    def share(self, pages: Sequence[int], tokens: int) -> list[int] | None:
        """The pages for a second sequence with the same first `tokens` tokens; None if no page is free for a copy.

        Full pages are shared. A partly filled page is copied for the second sequence, since both will write to it.
        """
        whole = tokens // PAGE_TOKENS
        shared = list(pages[:whole])
        if tokens % PAGE_TOKENS:
            if not self.free_pages:
                return None
            shared.append(self._take())
            self._copy(pages[whole], shared[-1])
        for page in shared[:whole]:
            self._owners[page] += 1
        return shared

    def release(self, pages: list[int]) -> None:
        """Remove a sequence's references to these pages, and empty the list.

        A page that no sequence refers to any more is free. If it is in the prefix cache, it is kept there until that
        cache has too many pages.
        """
        # A page is useless without the pages before it, so the last page is released, and later reused, first.
        for page in reversed(pages):
            self._owners[page] -= 1
            if not self._owners[page]:
                if page in self._prefix_index:
                    self._idle[page] = None
                else:
                    self._free.append(page)
        pages.clear()
        while len(self._idle) > self._kept_pages:
            self._evict_idle_page()

    def keep(self, sharers: Sharers, tokens: Sequence[int], pages: Sequence[int], known: int, full: int) -> int:
        """Enter a sequence's full pages into the prefix cache, where later prompts find them.

        Args:
            sharers: the sequences that may find the pages.
            tokens: the sequence's tokens.
            pages: the sequence's pages.
            known: how many of the sequence's first pages are in the prefix cache already.
            full: how many of the sequence's first pages are full.

        Returns:
            How many of the sequence's first pages are in the prefix cache now. That is less than `full` if another
            sequence has entered a page for the same tokens first: this sequence's own page is then not entered.

        """
        while known < full:
            key = self.page_key(sharers, tokens, pages, known)
            if key is None:
                break
            found = self._prefix_index.find(key)
            if found is None:
                self._prefix_index.add(key, pages[known], sharers[0])
            elif found != pages[known]:
                break
            known += 1
        return known

    def find(self, sharers: Sharers, tokens: Sequence[int], pages: Sequence[int], known: int, most: int) -> list[int]:
        """The pages in the prefix cache that continue the first `known` pages with these tokens.

        There are at most `most` pages in all, the known ones included.
        """
        found = list(pages[:known])
        for index in range(known, most):
            key = self.page_key(sharers, tokens, found, index)
            page = None if key is None else self._prefix_index.find(key)
            if page is None:
                break
            found.append(page)
        return found[known:]

    def page_key(self, sharers: Sharers, tokens: Sequence[int], pages: Sequence[int], index: int) -> PageKey | None:
        """The key of the sequence's page with this index; see `PrefixIndex.key_of`."""
        before = pages[index - 1] if index else None
        return self._prefix_index.key_of(sharers, before, tokens[index * PAGE_TOKENS : (index + 1) * PAGE_TOKENS])

    def adopt(self, found: Sequence[int], pages: list[int], index: int) -> None:
        """Replace the pages of a sequence from this index on by the found pages; release the replaced pages."""
        for page in found:
            self._owners[page] += 1
            self._idle.pop(page, None)
        replaced = pages[index : index + len(found)]
        pages[index : index + len(found)] = found
        self.release(replaced)

    def held(self, pages: Sequence[int]) -> int:
        """How many of these pages a sequence holds."""
        return sum(self._owners[page] > 0 for page in pages)

    def released(self, sequences: Iterable[Sequence[int]]) -> set[int]:
        """The pages that would be free if these sequences, each given by its pages, were removed together."""
        references = Counter(chain.from_iterable(sequences))
        return {page for page, count in references.items() if count == self._owners[page]}

    def forget(self, pages: Sequence[int]) -> None:
        """Remove these pages from the prefix cache; sequences that hold them keep them."""
        for page in pages:
            self._prefix_index.forget(page)

    def forget_adapter(self, generation: int) -> None:
        """Free the pages that only later prompts on this adapter could find, since the adapter has been unloaded.

        `generation`: see `AdapterSlots.generation`. If the adapter is loaded again, it has another one.
        """
        for page in self._prefix_index.of_adapter(generation):
            self._prefix_index.forget(page)
            if page in self._idle:
                del self._idle[page]
                self._free.append(page)

    def _evict_idle_page(self) -> None:
        page, _ = self._idle.popitem(last=False)
        self._prefix_index.forget(page)
        self._free.append(page)

    def _take(self) -> int:
        if not self._free:
            self._evict_idle_page()
        page = self._free.pop()
        self._owners[page] = 1
        return page

    def _clear(self, page: int) -> None:
        # Tokens that an earlier sequence left in the page are masked, so their attention weight is 0; but 0 * NaN would
        # still be NaN.
        for store in self._stores.values():
            store.keys_GXK[:, _span(page)] = 0
            store.values_GXK[:, _span(page)] = 0

    def _copy(self, source: int, target: int) -> None:
        for store in self._stores.values():
            store.keys_GXK[:, _span(target)] = store.keys_GXK[:, _span(source)]
            store.values_GXK[:, _span(target)] = store.values_GXK[:, _span(source)]


class _Probe:
    """An attention plan that records the shapes of keys and values of each layer."""

    def __init__(self) -> None:
        self.shapes: dict[int, LayerShape] = {}

    def attend(self, layer: int, query_HTK: Tensor, key_GTK: Tensor, value_GTK: Tensor, **how: Any) -> Tensor:
        self.shapes[layer] = LayerShape(key_GTK.shape[0], key_GTK.shape[2], value_GTK.shape[2])
        return PackedPlan((1,)).attend(layer, query_HTK, key_GTK, value_GTK, **how)


@torch.inference_mode()
def probed_shapes(model: PreTrainedModel) -> dict[int, LayerShape]:
    """What each layer stores for a token, found by running one token.

    It is not read from the model's config, since configs name these numbers in many ways.
    """
    probe = _Probe()
    token_11 = torch.zeros((1, 1), dtype=torch.long, device=model.device)
    model(input_ids=token_11, position_ids=token_11, use_cache=False, attention_plan=probe)
    return probe.shapes


def pages_for(tokens: int) -> int:
    """How many pages this many tokens take."""
    return -(-tokens // PAGE_TOKENS)


def planned_pages(
    shapes: dict[int, LayerShape], *, budget_bytes: int, dtype: torch.dtype, context_tokens: int, max_rows: int
) -> int:
    """How many pages a budget in bytes allows: at least one, at most what all rows at full context length fill."""
    return max(1, min(budget_bytes // _page_bytes(shapes, dtype), max_rows * pages_for(context_tokens)))


def _page_bytes(shapes: dict[int, LayerShape], dtype: torch.dtype) -> int:
    numbers_per_token = sum(shape.heads * (shape.key_size + shape.value_size) for shape in shapes.values())
    return numbers_per_token * PAGE_TOKENS * dtype.itemsize


def _span(page: int) -> slice:
    return slice(page * PAGE_TOKENS, (page + 1) * PAGE_TOKENS)


def _gather(pool_GXK: Tensor, pages_P: Tensor) -> Tensor:
    heads, _, size = pool_GXK.shape
    paged = pool_GXK.view(heads, -1, PAGE_TOKENS * size).index_select(1, pages_P)
    return paged.view(heads, -1, size)


def _zeros(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    if device.type != "cpu":
        return torch.zeros(shape, dtype=dtype, device=device)
    # Anonymous memory is zero and takes no memory until it is written to; torch.zeros would write all of it.
    return torch.frombuffer(mmap.mmap(-1, math.prod(shape) * dtype.itemsize), dtype=dtype).view(shape)
