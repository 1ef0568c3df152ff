"""The attention of one engine step over the paged cache: some sequences have many new tokens, most have one.

Rows with one new token are computed together, in two batched matrix products over gathered pages. On a CPU core in
bfloat16 that takes half the time of the fused kernel at 16 rows, and a fifth of the time of separate products. A single
row takes the same path, though the fused kernel would be faster for it: the fused kernel rounds differently, and an
answer would depend on which other requests are in the batch. On a GPU, the project's own kernel reads the pages of rows
with one new token in place, without gathering them.

Shape suffixes: as in `kv_cache`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from tuningfork.inference.kv_cache import PAGE_TOKENS, KvCache, LayerStore, pages_for
from tuningfork.modeling.attention.plans import AttentionParameters, attend_segment
from tuningfork.modeling.kernels.base import NewTokens, PagedAttention

_SPREAD_PAGES = 8
"""Rows share a batch if the longest has at most twice as many pages as the shortest plus this many, which limits
padding."""


@dataclass(frozen=True, slots=True)
class Span:
    """The tokens `begin` to `end` of a sequence, fed in this step; the tokens before `begin` are in `pages` already."""

    pages: Sequence[int]
    begin: int
    end: int

    @property
    def length(self) -> int:
        """How many tokens the step feeds."""
        return self.end - self.begin


class CachedPlan:
    """An `AttentionPlan` over packed spans that reads from and writes to a cache.

    The order of the spans does not change results. It is fastest if all spans of one token are consecutive, the
    shortest sequence first.

    Args:
        cache: where keys and values are written and read.
        spans: the tokens of the step, in the order in which they are packed.
        kernel: computes rows with one new token; None: batched products over gathered pages compute them.

    """

    def __init__(self, cache: KvCache, spans: Sequence[Span], kernel: PagedAttention | None = None) -> None:
        self._cache = cache
        places = [
            span.pages[token // PAGE_TOKENS] * PAGE_TOKENS + token % PAGE_TOKENS
            for span in spans
            for token in range(span.begin, span.end)
        ]
        self._places_T = torch.tensor(places, device=cache.device)
        self._groups = _grouped(spans, cache.device, kernel)

    def attend(
        self,
        layer: int,
        query_HTK: Tensor,
        key_GTK: Tensor,
        value_GTK: Tensor,
        *,
        scaling: float,
        sliding_window: int | None,
        softcap: float | None,
    ) -> Tensor:
        """Store the new keys and values; return the attention output `THK`."""
        store = self._cache.store(layer)
        store.write(self._places_T, key_GTK, value_GTK)
        parameters = AttentionParameters(scaling, sliding_window, softcap)
        outputs_THK = []
        begin = 0
        for group in self._groups:
            own = slice(begin, begin + group.tokens)
            outputs_THK.append(group.attend(store, query_HTK[:, own], key_GTK[:, own], value_GTK[:, own], parameters))
            begin += group.tokens
        return outputs_THK[0] if len(outputs_THK) == 1 else torch.cat(outputs_THK)


class DecodePlan:
    """An `AttentionPlan` for rows with one new token each, described by tensors, as a CUDA graph needs it.

    Which operations run depends on shapes alone, so a graph can replay them after the numbers in the tensors have
    changed. All pages of a row are read, even those that a sliding window hides.

    Args:
        cache: where keys and values are written and read.
        places_B: for each row the index in the cache where its new token is stored.
        pages_P: the pages of all rows, the same number for each row; page 0 pads shorter rows.
        ends_B: how many tokens each row has, the new one included.
        kernel: see `CachedPlan`.

    """

    def __init__(
        self, cache: KvCache, places_B: Tensor, pages_P: Tensor, ends_B: Tensor, kernel: PagedAttention | None = None
    ) -> None:
        self._kernel = kernel
        self._cache = cache
        self._places_B = places_B
        self._pages_P = pages_P
        self._ends_B = ends_B
        self._tokens = len(pages_P) // len(ends_B) * PAGE_TOKENS
        self._views: dict[int | None, _GatheredPages] = {}

    def attend(
        self,
        layer: int,
        query_HTK: Tensor,
        key_GTK: Tensor,
        value_GTK: Tensor,
        *,
        scaling: float,
        sliding_window: int | None,
        softcap: float | None,
    ) -> Tensor:
        """See `CachedPlan.attend`."""
        store = self._cache.store(layer)
        window = sliding_window if sliding_window is not None and sliding_window < self._tokens else None
        parameters = AttentionParameters(scaling, window, softcap)
        if self._kernel is not None:
            new = NewTokens(key_GTK.transpose(0, 1), value_GTK.transpose(0, 1), self._places_B)
            return _attended(self._kernel, store, query_HTK, self._pages_P, self._ends_B, parameters, new)
        store.write(self._places_B, key_GTK, value_GTK)
        if window not in self._views:
            self._views[window] = self._look(window)
        return self._views[window].attend(store, query_HTK, len(key_GTK), parameters)

    def _look(self, window: int | None) -> "_GatheredPages":
        position_S = torch.arange(self._tokens, device=self._ends_B.device)
        end_B1 = self._ends_B[:, None]
        hidden_BS = position_S >= end_B1
        if window is not None:
            hidden_BS |= position_S < end_B1 - window
        return _GatheredPages(self._pages_P, hidden_BS)


def _attended(
    kernel: PagedAttention,
    store: LayerStore,
    query_HTK: Tensor,
    pages_P: Tensor,
    ends_B: Tensor,
    parameters: AttentionParameters,
    new: NewTokens | None,
) -> Tensor:
    """The output `THK` of rows with one new token each, by a kernel.

    `new` holds the new tokens' keys and values if they are not in the cache yet.
    """
    return kernel.attend_rows(
        query_HTK.transpose(0, 1),
        store.keys_GXK,
        store.values_GXK,
        pages_P.view(len(ends_B), -1),
        ends_B,
        page_tokens=PAGE_TOKENS,
        scaling=parameters.scaling,
        sliding_window=parameters.sliding_window,
        softcap=parameters.softcap,
        new=new,
    )


@dataclass(frozen=True, slots=True)
class _LongSpan:
    """One sequence with several new tokens."""

    span: Span
    device: torch.device
    _pages: dict[int, Tensor] = field(default_factory=dict)
    """The pages from a layer's first visible page to the last, by the index of that first page."""

    @property
    def tokens(self) -> int:
        return self.span.length

    def attend(
        self, store: LayerStore, query_HTK: Tensor, key_GTK: Tensor, value_GTK: Tensor, parameters: AttentionParameters
    ) -> Tensor:
        key_GSK, value_GSK = key_GTK, value_GTK
        if self.span.begin:
            first = _first_page(self.span.begin + 1, parameters.sliding_window)
            if first not in self._pages:
                seen = self.span.pages[first : pages_for(self.span.end)]
                self._pages[first] = torch.tensor(seen, device=self.device)
            key_GSK, value_GSK = store.gather(self._pages[first])
            keys = self.span.end - first * PAGE_TOKENS
            key_GSK, value_GSK = key_GSK[:, :keys], value_GSK[:, :keys]
        return attend_segment(
            query_HTK,
            key_GSK,
            value_GSK,
            scaling=parameters.scaling,
            sliding_window=parameters.sliding_window,
            softcap=parameters.softcap,
        )


@dataclass(frozen=True, slots=True)
class _GatheredPages:
    """The pages that a batch of rows attends to, S / PAGE_TOKENS for each row, and which of their keys are masked."""

    pages_P: Tensor
    hidden_BS: Tensor
    _biases: dict[tuple[int, int, torch.dtype], Tensor] = field(default_factory=dict)

    def attend(self, store: LayerStore, query_HTK: Tensor, groups: int, parameters: AttentionParameters) -> Tensor:
        """The output `THK` for the one new token of each row."""
        rows, size = query_HTK.shape[1:]
        members = query_HTK.shape[0] // groups
        key_GSK, value_GSK = store.gather(self.pages_P)
        products = groups * rows
        key_XSK, value_XSK = (each.view(products, -1, each.shape[-1]) for each in (key_GSK, value_GSK))
        # G B N K: the query heads that share a key/value head form one batch.
        query_XNK = query_HTK.view(groups, members, rows, size).transpose(1, 2).reshape(products, members, size)
        bias_XNS = self.bias_for(groups, members, query_HTK.dtype)
        if parameters.softcap is None:
            scores_XNS = torch.baddbmm(bias_XNS, query_XNK, key_XSK.transpose(1, 2), alpha=parameters.scaling)
        else:
            scores_XNS = torch.bmm(query_XNK * parameters.scaling, key_XSK.transpose(1, 2))
            scores_XNS = (torch.tanh(scores_XNS / parameters.softcap) * parameters.softcap).add_(bias_XNS)
        output_XNK = torch.bmm(torch.softmax(scores_XNS, dim=-1), value_XSK)
        output_GBNK = output_XNK.view(groups, rows, members, -1)
        return output_GBNK.transpose(0, 1).flatten(1, 2)

    def bias_for(self, groups: int, members: int, dtype: torch.dtype) -> Tensor:
        """The attention bias `XNS` that all layers of a step add to their scores: -infinity for every masked key."""
        found = self._biases.get((groups, members, dtype))
        if found is None:
            bias_BS = torch.zeros(self.hidden_BS.shape, dtype=dtype, device=self.hidden_BS.device)
            bias_BS.masked_fill_(self.hidden_BS, -torch.inf)
            rows, keys = bias_BS.shape
            found = bias_BS[None, :, None].expand(groups, rows, members, keys).reshape(groups * rows, members, keys)
            self._biases[groups, members, dtype] = found
        return found


@dataclass(frozen=True, slots=True)
class _TokenRows:
    """Sequences of similar length with one new token each; `kernel` as in `CachedPlan`."""

    spans: list[Span]
    device: torch.device
    kernel: PagedAttention | None
    _views: dict[int | None, _GatheredPages] = field(default_factory=dict)
    _whole: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    """What a kernel reads, computed at its first use: all pages `P` of the rows, the same number for each row, and the
    rows' lengths `B` in tokens."""

    @property
    def tokens(self) -> int:
        return len(self.spans)

    def attend(
        self, store: LayerStore, query_HTK: Tensor, key_GTK: Tensor, _value_GTK: Tensor, parameters: AttentionParameters
    ) -> Tensor:
        if self.kernel is not None:
            if not self._whole:
                self._whole.append(self._numbers())
            return _attended(self.kernel, store, query_HTK, *self._whole[0], parameters, None)
        return self._view(parameters.sliding_window).attend(store, query_HTK, key_GTK.shape[0], parameters)

    def _view(self, sliding_window: int | None) -> _GatheredPages:
        # A window that hides nothing is the same as no window.
        window = sliding_window if sliding_window is not None and sliding_window < self._longest else None
        if window not in self._views:
            self._views[window] = self._look(window)
        return self._views[window]

    @property
    def _longest(self) -> int:
        return max(span.end for span in self.spans)

    def _numbers(self) -> tuple[Tensor, Tensor]:
        width = pages_for(self._longest)
        seen = [span.pages[: pages_for(span.end)] for span in self.spans]
        pages = [page for each in seen for page in (*each, *[0] * (width - len(each)))]
        # One copy to the device instead of two.
        both = torch.tensor([*pages, *[span.end for span in self.spans]], device=self.device)
        return both[: len(pages)], both[len(pages) :]

    def _look(self, window: int | None) -> _GatheredPages:
        firsts = [_first_page(span.end, window) for span in self.spans]
        seen = [span.pages[first : pages_for(span.end)] for span, first in zip(self.spans, firsts, strict=True)]
        width = max(map(len, seen))
        pages = [page for each in seen for page in (*each, *[0] * (width - len(each)))]
        position_S = torch.arange(width * PAGE_TOKENS)
        position_BS = position_S + torch.tensor(firsts)[:, None] * PAGE_TOKENS
        end_B1 = torch.tensor([span.end for span in self.spans])[:, None]
        hidden_BS = position_BS >= end_B1
        if window is not None:
            hidden_BS |= position_BS < end_B1 - window
        return _GatheredPages(torch.tensor(pages, device=self.device), hidden_BS.to(self.device))


def _first_page(end: int, sliding_window: int | None) -> int:
    """The index of the first page to which the last of `end` tokens attends."""
    return 0 if sliding_window is None else max(0, end - sliding_window) // PAGE_TOKENS


def _grouped(
    spans: Sequence[Span], device: torch.device, kernel: PagedAttention | None
) -> list[_LongSpan | _TokenRows]:
    groups: list[_LongSpan | _TokenRows] = []
    for span in spans:
        last = groups[-1] if groups else None
        if span.length > 1:
            groups.append(_LongSpan(span, device))
        elif isinstance(last, _TokenRows) and _similar(last.spans[0], span):
            last.spans.append(span)
        else:
            groups.append(_TokenRows([span], device, kernel))
    return groups


def _similar(first: Span, other: Span) -> bool:
    shorter, longer = sorted((pages_for(first.end), pages_for(other.end)))
    return longer <= 2 * shorter + _SPREAD_PAGES
