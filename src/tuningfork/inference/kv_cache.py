"""Keys and values of all running sequences, in pages from one pool of planned size.

A sequence holds a list of pages; page p keeps the keys and values of `PAGE_TOKENS` tokens of every layer. Pages are
handed out as sequences grow and may be shared by sequences with a common beginning (paged attention: Kwon et al. 2023,
section 4). A full page can be kept when nobody holds it any more, for others that begin alike, until its memory is
wanted: the one that was let go longest ago is given up first. Page 0 belongs to nobody and stays zero: it pads what is
gathered.

Shape suffixes: T packed tokens, B rows (sequences with one new token), S cached keys of a row, padded, P pages, H query
heads, G key/value heads, N = H / G query heads on one key/value head, K head size.
"""

import math
import mmap
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from tuningfork.inference.beginnings import Beginnings, Place
from tuningfork.modeling.attention import PackedPlan

PAGE_TOKENS = 32


@dataclass(frozen=True, slots=True)
class LayerShape:
    """What one layer keeps of a token: `heads` keys and values of these sizes."""

    heads: int
    key_size: int
    value_size: int


@dataclass(frozen=True, slots=True)
class LayerStore:
    """The pool of one layer: token t of page p lies at p * PAGE_TOKENS + t of the second dimension, called X here."""

    keys_GXK: Tensor
    values_GXK: Tensor

    def write(self, places_T: Tensor, key_GTK: Tensor, value_GTK: Tensor) -> None:
        """Keep new tokens' keys and values."""
        self.keys_GXK.index_copy_(1, places_T, key_GTK)
        self.values_GXK.index_copy_(1, places_T, value_GTK)

    def gather(self, pages_P: Tensor) -> tuple[Tensor, Tensor]:
        """Copies of the keys and values in these pages, one page after the other: `GSK`, S = P * PAGE_TOKENS."""
        return _gather(self.keys_GXK, pages_P), _gather(self.values_GXK, pages_P)


class KvCache:
    """The pool. Single-threaded, as its engine is.

    Args:
        shapes: for each layer's index, what it keeps.
        pages: how many pages there are to hand out.
        dtype: of keys and values.
        device: where they lie. On the CPU memory is taken only as pages are first written.
        kept_bytes: what pages that nobody holds may take at most; None: all there is.

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
        # The lowest first, so that little memory is touched while few pages are in use.
        self._free = list(range(pages, 0, -1))
        self._owners = [0] * (pages + 1)
        self._beginnings = Beginnings()
        # Those that nobody holds, but others may find, as they were let go: what lies behind a page comes before it.
        self._idle: OrderedDict[int, None] = OrderedDict()

    @property
    def capacity_tokens(self) -> int:
        """The longest sequence that fits when it is alone."""
        return self._total * PAGE_TOKENS

    @property
    def free_pages(self) -> int:
        """Pages that nobody holds, kept ones included: these are given up when others are wanted."""
        return len(self._free) + len(self._idle)

    def store(self, layer: int) -> LayerStore:
        """The keys and values of one layer."""
        return self._stores[layer]

    def extend(self, pages: list[int], tokens: int) -> bool:
        """Append pages to the list until it covers so many tokens; False, and nothing done, if too few are free."""
        count = pages_for(tokens) - len(pages)
        if count > self.free_pages:
            return False
        if count > 0:
            pages += [self._take() for _ in range(count)]
            self._blank(pages[-1])
        return True

    def share(self, pages: Sequence[int], tokens: int) -> list[int] | None:
        """A second owner's pages with the same first `tokens` tokens; None if a page is wanted and none is free.

        Full pages are shared; of a partly filled one, which both will write to, the second owner gets a copy.
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
        """Give the pages back and empty the list; shared ones stay with their other owners, known ones are kept."""
        # The last first: a page is worth nothing without those before it.
        for page in reversed(pages):
            self._owners[page] -= 1
            if not self._owners[page]:
                if page in self._beginnings:
                    self._idle[page] = None
                else:
                    self._free.append(page)
        pages.clear()
        while len(self._idle) > self._kept_pages:
            self._give_up()

    def keep(self, adapter: int, tokens: Sequence[int], pages: Sequence[int], known: int, full: int) -> int:
        """Let others find a sequence's full pages.

        Args:
            adapter: its generation, see `AdapterSlots.generation`.
            tokens: of the sequence.
            pages: of the sequence.
            known: so many of them can be found already.
            full: so many of them are full.

        Returns:
            How many can be found now. Fewer than are full where another page with the same tokens, all before them
            included, came first: this sequence keeps its own, for itself.

        """
        while known < full:
            place = self.place(adapter, tokens, pages, known)
            if place is None:
                break
            found = self._beginnings.find(place)
            if found is None:
                self._beginnings.add(place, pages[known])
            elif found != pages[known]:
                break
            known += 1
        return known

    def find(self, adapter: int, tokens: Sequence[int], pages: Sequence[int], known: int, most: int) -> list[int]:
        """The pages that go on with these tokens behind the first `known` ones, until there are `most` in all."""
        found = list(pages[:known])
        for index in range(known, most):
            place = self.place(adapter, tokens, found, index)
            page = None if place is None else self._beginnings.find(place)
            if page is None:
                break
            found.append(page)
        return found[known:]

    def place(self, adapter: int, tokens: Sequence[int], pages: Sequence[int], index: int) -> Place | None:
        """What the page of this index is known by: see `Beginnings.place`."""
        before = pages[index - 1] if index else None
        return self._beginnings.place(adapter, before, tokens[index * PAGE_TOKENS : (index + 1) * PAGE_TOKENS])

    def adopt(self, found: Sequence[int], pages: list[int], index: int) -> None:
        """Hold pages that were found, in place of those that the list has from this index on."""
        for page in found:
            self._owners[page] += 1
            self._idle.pop(page, None)
        replaced = pages[index : index + len(found)]
        pages[index : index + len(found)] = found
        self.release(replaced)

    def held(self, pages: Sequence[int]) -> int:
        """How many of these pages somebody holds."""
        return sum(self._owners[page] > 0 for page in pages)

    def forget(self, pages: Sequence[int]) -> None:
        """Let nobody find these pages any more; who holds them goes on."""
        for page in pages:
            self._beginnings.forget(page)

    def _give_up(self) -> None:
        page, _ = self._idle.popitem(last=False)
        self._beginnings.forget(page)
        self._free.append(page)

    def _take(self) -> int:
        if not self._free:
            self._give_up()
        page = self._free.pop()
        self._owners[page] = 1
        return page

    def _blank(self, page: int) -> None:
        # What an earlier owner left beyond the new one's tokens is hidden by adding -infinity to its scores and has
        # weight 0, but NaN stays NaN.
        for store in self._stores.values():
            store.keys_GXK[:, _span(page)] = 0
            store.values_GXK[:, _span(page)] = 0

    def _copy(self, source: int, target: int) -> None:
        for store in self._stores.values():
            store.keys_GXK[:, _span(target)] = store.keys_GXK[:, _span(source)]
            store.values_GXK[:, _span(target)] = store.values_GXK[:, _span(source)]


class _Probe:
    """A plan that notes what each layer hands to it."""

    def __init__(self) -> None:
        self.shapes: dict[int, LayerShape] = {}

    def attend(self, layer: int, query_HTK: Tensor, key_GTK: Tensor, value_GTK: Tensor, **how: Any) -> Tensor:
        self.shapes[layer] = LayerShape(key_GTK.shape[0], key_GTK.shape[2], value_GTK.shape[2])
        return PackedPlan((1,)).attend(layer, query_HTK, key_GTK, value_GTK, **how)


@torch.inference_mode()
def probed_shapes(model: PreTrainedModel) -> dict[int, LayerShape]:
    """What each layer keeps of a token, found out by feeding it one: configs name these numbers in many ways."""
    probe = _Probe()
    token_11 = torch.zeros((1, 1), dtype=torch.long, device=model.device)
    model(input_ids=token_11, position_ids=token_11, use_cache=False, attention_plan=probe)
    return probe.shapes


def pages_for(tokens: int) -> int:
    """How many pages so many tokens take."""
    return -(-tokens // PAGE_TOKENS)


def planned_pages(
    shapes: dict[int, LayerShape], *, budget_bytes: int, dtype: torch.dtype, context_tokens: int, max_rows: int
) -> int:
    """How many pages a budget allows: no more than all rows at full context can fill, and at least one."""
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
    # Anonymous memory is zero and costs nothing until it is written; torch.zeros would write all of it.
    return torch.frombuffer(mmap.mmap(-1, math.prod(shape) * dtype.itemsize), dtype=dtype).view(shape)
