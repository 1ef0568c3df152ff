"""The attention of one engine step: some sequences bring many new tokens, most bring one, all have keys in the cache.

Rows with one new token attend together, in two batched matrix products over gathered pages. On a CPU core in bfloat16
that takes half the time of the fused kernel at 16 rows, and a fifth of one product after the other. A row that is alone
takes the same path, though the fused kernel would be faster there: it rounds differently, and an answer would depend on
who else was asking. A GPU has a kernel for such rows, which reads the pages where they lie.

Shape suffixes: as in `kv_cache`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from tuningfork.inference.kv_cache import PAGE_TOKENS, KvCache, LayerStore, pages_for
from tuningfork.modeling import kernels
from tuningfork.modeling.attention import attend_segment
from tuningfork.modeling.decoder.layer import How

_SPREAD_PAGES = 8
"""Rows share a batch while the longest has at most twice the shortest one's pages and so many more: less padding."""


@dataclass(frozen=True, slots=True)
class Span:
    """The tokens `begin` to `end` of a sequence, which a step feeds; those before are cached in the same pages."""

    pages: Sequence[int]
    begin: int
    end: int

    @property
    def length(self) -> int:
        """New tokens."""
        return self.end - self.begin


class CachedPlan:
    """An `AttentionPlan` over packed spans that reads from and writes to a cache.

    Any order of the spans is right; rows with one token are fastest when they come together, shortest first.
    """

    def __init__(self, cache: KvCache, spans: Sequence[Span]) -> None:
        self._cache = cache
        places = [
            span.pages[token // PAGE_TOKENS] * PAGE_TOKENS + token % PAGE_TOKENS
            for span in spans
            for token in range(span.begin, span.end)
        ]
        self._places_T = torch.tensor(places, device=cache.device)
        self._groups = _grouped(spans, cache.device)

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
        """Store the new keys and values, and give the attention output `THK`."""
        store = self._cache.store(layer)
        store.write(self._places_T, key_GTK, value_GTK)
        how = How(scaling, sliding_window, softcap)
        outputs_THK = []
        begin = 0
        for group in self._groups:
            own = slice(begin, begin + group.tokens)
            outputs_THK.append(group.attend(store, query_HTK[:, own], key_GTK[:, own], value_GTK[:, own], how))
            begin += group.tokens
        return outputs_THK[0] if len(outputs_THK) == 1 else torch.cat(outputs_THK)


class GivenRows:
    """An `AttentionPlan` of rows with one new token each made of tensors alone: nothing depends on their values.

    Whoever changes the numbers in the tensors may run the same operations again. All rows are looked at from their
    first page on, whatever a window hides of them.

    Args:
        cache: where keys and values are written and read.
        places_B: where in it each row's new token goes.
        pages_P: the pages of all rows, equally many for each; page 0 after a row's last.
        ends_B: each row's tokens, the new one included.

    """

    def __init__(self, cache: KvCache, places_B: Tensor, pages_P: Tensor, ends_B: Tensor) -> None:
        self._cache = cache
        self._places_B = places_B
        self._pages_P = pages_P
        self._ends_B = ends_B
        self._tokens = len(pages_P) // len(ends_B) * PAGE_TOKENS
        self._views: dict[int | None, _View] = {}

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
        how = How(scaling, window, softcap)
        if kernels.serve(query_HTK, "attention"):
            new = key_GTK, value_GTK, self._places_B
            return _attended_on_gpu(store, query_HTK, self._pages_P, self._ends_B, how, new)
        store.write(self._places_B, key_GTK, value_GTK)
        if window not in self._views:
            self._views[window] = self._look(window)
        return self._views[window].attend(store, query_HTK, len(key_GTK), how)

    def _look(self, window: int | None) -> "_View":
        position_S = torch.arange(self._tokens, device=self._ends_B.device)
        end_B1 = self._ends_B[:, None]
        hidden_BS = position_S >= end_B1
        if window is not None:
            hidden_BS |= position_S < end_B1 - window
        return _View(self._pages_P, hidden_BS)


def _attended_on_gpu(
    store: LayerStore,
    query_HTK: Tensor,
    pages_P: Tensor,
    ends_B: Tensor,
    how: How,
    new: tuple[Tensor, Tensor, Tensor] | None,
) -> Tensor:
    """The output `THK` of rows with one token each; `new`: keys, values and places that are still to be written."""
    # Imported here, since there may be no Triton.
    from tuningfork.modeling.kernels.paged_attention import NewTokens, attend_rows  # noqa: PLC0415

    return attend_rows(
        query_HTK.transpose(0, 1),
        store.keys_GXK,
        store.values_GXK,
        pages_P.view(len(ends_B), -1),
        ends_B,
        page_tokens=PAGE_TOKENS,
        scaling=how.scaling,
        sliding_window=how.sliding_window,
        softcap=how.softcap,
        new=None if new is None else NewTokens(new[0].transpose(0, 1), new[1].transpose(0, 1), new[2]),
    )


@dataclass(frozen=True, slots=True)
class _Segment:
    """One sequence with several new tokens."""

    span: Span
    device: torch.device
    _pages: dict[int, Tensor] = field(default_factory=dict)
    """From each first page that some layer looks at, those up to the last."""

    @property
    def tokens(self) -> int:
        return self.span.length

    def attend(self, store: LayerStore, query_HTK: Tensor, key_GTK: Tensor, value_GTK: Tensor, how: How) -> Tensor:
        key_GSK, value_GSK = key_GTK, value_GTK
        if self.span.begin:
            first = _first_page(self.span.begin + 1, how.sliding_window)
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
            scaling=how.scaling,
            sliding_window=how.sliding_window,
            softcap=how.softcap,
        )


@dataclass(frozen=True, slots=True)
class _View:
    """The pages that the rows of a batch look at, S / PAGE_TOKENS for each row, and which of their keys are hidden."""

    pages_P: Tensor
    hidden_BS: Tensor
    _biases: dict[tuple[int, int, torch.dtype], Tensor] = field(default_factory=dict)

    def attend(self, store: LayerStore, query_HTK: Tensor, groups: int, how: How) -> Tensor:
        """The output `THK` of one new token for each row."""
        rows, size = query_HTK.shape[1:]
        members = query_HTK.shape[0] // groups
        key_GSK, value_GSK = store.gather(self.pages_P)
        products = groups * rows
        key_XSK, value_XSK = (each.view(products, -1, each.shape[-1]) for each in (key_GSK, value_GSK))
        # G B N K: the query heads of one key/value head lie one below the other.
        query_XNK = query_HTK.view(groups, members, rows, size).transpose(1, 2).reshape(products, members, size)
        bias_XNS = self.bias_for(groups, members, query_HTK.dtype)
        if how.softcap is None:
            scores_XNS = torch.baddbmm(bias_XNS, query_XNK, key_XSK.transpose(1, 2), alpha=how.scaling)
        else:
            scores_XNS = torch.bmm(query_XNK * how.scaling, key_XSK.transpose(1, 2))
            scores_XNS = (torch.tanh(scores_XNS / how.softcap) * how.softcap).add_(bias_XNS)
        output_XNK = torch.bmm(torch.softmax(scores_XNS, dim=-1), value_XSK)
        output_GBNK = output_XNK.view(groups, rows, members, -1)
        return output_GBNK.transpose(0, 1).flatten(1, 2)

    def bias_for(self, groups: int, members: int, dtype: torch.dtype) -> Tensor:
        """-infinity for every hidden key, `XNS`: what all layers of a step add to their scores."""
        found = self._biases.get((groups, members, dtype))
        if found is None:
            bias_BS = torch.zeros(self.hidden_BS.shape, dtype=dtype, device=self.hidden_BS.device)
            bias_BS.masked_fill_(self.hidden_BS, -torch.inf)
            rows, keys = bias_BS.shape
            found = bias_BS[None, :, None].expand(groups, rows, members, keys).reshape(groups * rows, members, keys)
            self._biases[groups, members, dtype] = found
        return found


@dataclass(frozen=True, slots=True)
class _Rows:
    """Sequences of similar length with one new token each."""

    spans: list[Span]
    device: torch.device
    _views: dict[int | None, _View] = field(default_factory=dict)
    _whole: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    """Once a kernel has asked: all pages `P` of the rows, equally many for each, and their ends `B`."""

    @property
    def tokens(self) -> int:
        return len(self.spans)

    def attend(self, store: LayerStore, query_HTK: Tensor, key_GTK: Tensor, _value_GTK: Tensor, how: How) -> Tensor:
        if kernels.serve(query_HTK, "attention"):
            if not self._whole:
                self._whole.append(self._numbers())
            return _attended_on_gpu(store, query_HTK, *self._whole[0], how, None)
        return self._view(how.sliding_window).attend(store, query_HTK, key_GTK.shape[0], how)

    def _view(self, sliding_window: int | None) -> _View:
        # A window that hides nothing yet looks as none does.
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
        # In one copy to the device.
        both = torch.tensor([*pages, *[span.end for span in self.spans]], device=self.device)
        return both[: len(pages)], both[len(pages) :]

    def _look(self, window: int | None) -> _View:
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
        return _View(torch.tensor(pages, device=self.device), hidden_BS.to(self.device))


def _first_page(end: int, sliding_window: int | None) -> int:
    """The first page that the token before `end` sees."""
    return 0 if sliding_window is None else max(0, end - sliding_window) // PAGE_TOKENS


def _grouped(spans: Sequence[Span], device: torch.device) -> list[_Segment | _Rows]:
    groups: list[_Segment | _Rows] = []
    for span in spans:
        last = groups[-1] if groups else None
        if span.length > 1:
            groups.append(_Segment(span, device))
        elif isinstance(last, _Rows) and _similar(last.spans[0], span):
            last.spans.append(span)
        else:
            groups.append(_Rows([span], device))
    return groups


def _similar(first: Span, other: Span) -> bool:
    shorter, longer = sorted((pages_for(first.end), pages_for(other.end)))
    return longer <= 2 * shorter + _SPREAD_PAGES
