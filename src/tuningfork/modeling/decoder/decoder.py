"""A whole decoder: embedding, layers, head. Both engines run their passes through it.

Shape suffixes: T packed tokens, N tokens whose logits are asked for, D hidden features, V vocabulary, K head size.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from tuningfork.modeling.adapter_routes import Route, Routes
from tuningfork.modeling.attention import AttentionPlan
from tuningfork.modeling.decoder.layer import How, Kept, Layer, Pass, TracedAttention
from tuningfork.modeling.decoder.pieces import Normed, RmsNorm, Rotation, Slope
from tuningfork.modeling.decoder.products import FrozenProduct
from tuningfork.modeling.lora import AdapterSlots, Slots


class RotaryTables(Protocol):
    """The tables of one kind of layer."""

    @property
    def is_fixed(self) -> bool:
        """Whether a position's numbers depend on no other position; the longest may choose the frequencies."""
        ...

    def __call__(self, positions_T: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines and sines, `TK` in fp32, of positions `T`."""
        ...


@dataclass(frozen=True, slots=True)
class Serving:
    """An attention plan as layers want it; there is no way back."""

    plan: AttentionPlan

    def forward(self, layer: int, how: How, all_TLK: Tensor, heads: int) -> tuple[Tensor, Any]:
        """See `TracedAttention.forward`."""
        groups = (all_TLK.shape[1] - heads) // 2
        query_HTK, key_GTK, value_GTK = torch.split(all_TLK.transpose(0, 1), [heads, groups, groups])
        out_THK = self.plan.attend(
            layer,
            query_HTK,
            key_GTK,
            value_GTK,
            scaling=how.scaling,
            sliding_window=how.sliding_window,
            softcap=how.softcap,
        )
        return out_THK, None

    def backward(self, kept: Any, slope_THK: Tensor) -> Tensor:
        """Serving has no way back.

        Raises:
            NotImplementedError: always.

        """
        raise NotImplementedError("a pass that serves is not gone through backwards; trace it")


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoder:
    """A Llama-like model's weights and how it computes; made by `recipe.decoder_of`."""

    embed: Callable[[Tensor], Tensor]
    rotations: Mapping[str, RotaryTables]
    """For each kind of layer."""
    layers: Sequence[Layer]
    norm: RmsNorm
    head: FrozenProduct
    logit_softcap: float | None
    slots: AdapterSlots

    def pack(self, *, backward: bool) -> None:
        """Keep rearranged copies of the weights; see `FrozenProduct.pack`."""
        for layer in self.layers:
            for product in layer.products:
                product.frozen.pack(backward=backward)
        self.head.pack(backward=False)

    @torch.no_grad()
    def logits(self, ids_T: Tensor, positions_T: Tensor, kept_N: Tensor, plan: AttentionPlan, slots: Slots) -> Tensor:
        """Logits `NV` in fp32 after the tokens `kept_N`, under these adapters."""
        return self.forward(ids_T, self._pass(positions_T, kept_N, Serving(plan), slots))

    @torch.no_grad()
    def forward(self, ids_T: Tensor, pass_: Pass) -> Tensor:
        """Like `logits`; all of it happens on the device, and nothing depends on the tokens' values."""
        x_TD, more_TD = self.embed(ids_T).float(), None
        for layer in self.layers:
            x_TD, more_TD, _ = layer.forward(x_TD, more_TD, pass_)
        read_ND, _ = self.norm.forward_sum(x_TD, more_TD, self.head.weight_OD.dtype)
        return self._head(read_ND)

    @torch.no_grad()
    def trace(
        self,
        ids_T: Tensor,
        positions_T: Tensor,
        kept_N: Tensor,
        attention: TracedAttention,
        slots: Slots | Routes,
        *,
        keep: bool = True,
    ) -> "Trace":
        """Like `logits`, and the way back from there.

        Args:
            ids_T: the packed tokens.
            positions_T: of each within its segment.
            kept_N: tokens whose logits are asked for; those that come twice have slopes of zero.
            attention: which tokens see which.
            slots: adapters, trained ones where gradients are wanted; or the routes to them.
            keep: what layers compute for the way back is kept; False: only their inputs are, and the way back computes
                the rest again (Chen et al. 2016): the same numbers for a third more computing.

        """
        return self.traced(ids_T, self._pass(positions_T, kept_N, attention, slots), keep=keep)

    @torch.no_grad()
    def traced(self, ids_T: Tensor, pass_: Pass, *, keep: bool = True) -> "Trace":
        """Like `trace`, of a pass that the caller made: all of it happens on the device, whatever the tokens are."""
        x_TD, more_TD = self.embed(ids_T).float(), None
        kept: list[Kept | Tensor] = []
        for layer in self.layers:
            x_TD, more_TD, own = layer.forward(x_TD, more_TD, pass_)
            kept.append(own if keep else own[0].normed.x)
        read_ND, normed = self.norm.forward_sum(x_TD, more_TD, self.head.weight_OD.dtype)
        return Trace(decoder=self, pass_=pass_, kept=kept, normed=normed, logits_NV=self._head(read_ND))

    def _pass(self, positions_T: Tensor, kept_N: Tensor, attention: TracedAttention, slots: Slots | Routes) -> Pass:
        rotations = {kind: Rotation.of(*tables(positions_T)) for kind, tables in self.rotations.items()}
        route, tail = self._routes(slots, kept_N)
        kept_N = kept_N.to(positions_T.device)
        return Pass(attention=attention, rotations=rotations, route=route, tail_route=tail, kept_N=kept_N)

    def _routes(self, slots: Slots | Routes, kept_N: Tensor) -> tuple[Route | None, Route | None]:
        if isinstance(slots, Routes):
            return slots.all, slots.tail
        route = self.slots.route(slots)
        if slots is None or isinstance(slots, int):
            return route, route
        return route, self.slots.route(torch.as_tensor(slots)[kept_N.cpu()])

    def _head(self, read_ND: Tensor) -> Tensor:
        logits_NV = self.head(read_ND).float()
        if self.logit_softcap is not None:
            logits_NV = torch.tanh(logits_NV / self.logit_softcap) * self.logit_softcap
        return logits_NV


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """A pass that can be gone through backwards, once."""

    decoder: Decoder
    pass_: Pass
    kept: list[Kept | Tensor]
    normed: Normed
    logits_NV: Tensor

    @torch.no_grad()
    def backward(self, slope_NV: Tensor) -> None:
        """Add to the gradients of the trained adapters; `slope_NV` is that of the logits, and is overwritten."""
        decoder = self.decoder
        if decoder.logit_softcap is not None:
            slope_NV.mul_(1 - (self.logits_NV / decoder.logit_softcap).square_())
        read_ND = decoder.head.backward(slope_NV.to(decoder.head.weight_OD.dtype))
        slope: Slope | None = decoder.norm.backward_stream(read_ND, self.normed, None, read_ND.dtype)
        for layer in reversed(decoder.layers):
            own = self.kept.pop()
            if isinstance(own, Tensor):
                *_, own = layer.forward(own, None, self.pass_)
            assert slope is not None  # noqa: S101  only layer 0, the last one here, gives None
            slope = layer.backward(slope, own, self.pass_)
