"""A whole decoder: embedding, layers, head. Both engines run their passes through it.

Shape suffixes: T packed tokens, N tokens whose logits are asked for, D hidden features, V vocabulary, K head size.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tuningfork.modeling.adapters.routes import Route, Routes
from tuningfork.modeling.adapters.slots import AdapterSlots, Slots
from tuningfork.modeling.attention.plans import AttentionParameters, AttentionPlan
from tuningfork.modeling.decoder.layer import Kept, Layer, Pass, TracedAttention, norm_of_sum
from tuningfork.modeling.decoder.pieces import run_to_end
from tuningfork.modeling.decoder.products import FrozenProduct
from tuningfork.modeling.decoder.rotary import RotaryTables
from tuningfork.modeling.kernels.base import LayerKernels, Normed, RmsNorm, Rotation, StreamGradient


@dataclass(frozen=True, slots=True)
class Serving(TracedAttention):
    """Makes an `AttentionPlan` a `TracedAttention`, without a backward pass."""

    plan: AttentionPlan

    def forward(self, layer: int, parameters: AttentionParameters, all_TLK: Tensor, heads: int) -> tuple[Tensor, Any]:
        """See `TracedAttention.forward`."""
        groups = (all_TLK.shape[1] - heads) // 2
        query_HTK, key_GTK, value_GTK = torch.split(all_TLK.transpose(0, 1), [heads, groups, groups])
        out_THK = self.plan.attend(
            layer,
            query_HTK,
            key_GTK,
            value_GTK,
            scaling=parameters.scaling,
            sliding_window=parameters.sliding_window,
            softcap=parameters.softcap,
        )
        return out_THK, None

    def backward(self, kept: Any, grad_THK: Tensor) -> Tensor:
        """Serving has no backward pass.

        Raises:
            NotImplementedError: always.

        """
        raise NotImplementedError("a pass that serves is not gone through backwards; trace it")


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoder:
    """A Llama-like model: its weights and its forward and backward pass; made by `recipe.decoder_of`."""

    kernels: LayerKernels
    embed: Callable[[Tensor], Tensor]
    rotations: Mapping[str, RotaryTables]
    """The rotary tables by kind of layer."""
    layers: Sequence[Layer]
    norm: RmsNorm
    head: FrozenProduct
    logit_softcap: float | None
    slots: AdapterSlots

    def pack(self, *, backward: bool) -> None:
        """Copy all weights into the order in which oneDNN reads them, for speed; see `FrozenProduct.pack`."""
        for layer in self.layers:
            for product in layer.products:
                product.frozen.pack(backward=backward)
        self.head.pack(backward=False)

    @torch.no_grad()
    def logits(self, ids_T: Tensor, positions_T: Tensor, kept_N: Tensor, plan: AttentionPlan, slots: Slots) -> Tensor:
        """Logits `NV` in fp32 after the tokens `kept_N`, under these adapters."""
        return self.forward(ids_T, self.pass_over(positions_T, kept_N, Serving(plan), slots))

    @torch.no_grad()
    def forward(self, ids_T: Tensor, pass_: Pass) -> Tensor:
        """Like `logits`, but for a `Pass` that was prepared before.

        A graph can replay it: it runs only on the device, and which operations run does not depend on the tokens.
        """
        return run_to_end(self.in_parts(ids_T, pass_))

    def in_parts(self, ids_T: Tensor, pass_: Pass) -> Generator[None, None, Tensor]:
        """Like `forward`, in parts: yields after each layer, and within a layer that computes for long.

        The caller turns gradients off.
        """
        return (yield from self.going_through_head((yield from self.going_forward(ids_T, pass_))))

    def going_forward(self, ids_T: Tensor, pass_: Pass) -> Generator[None, None, Tensor]:
        """What the head reads, `ND`, in parts: yields after each layer, and within a layer that computes for long.

        The caller disables gradients, here and in `going_through_head`.
        """
        x_TD, more_TD = self.embed(ids_T).float(), None
        for layer in self.layers:
            x_TD, more_TD, _ = yield from layer.forward(x_TD, more_TD, pass_)
            yield
        read_ND, _ = norm_of_sum(self.kernels, self.norm, x_TD, more_TD, self.head.dtype)
        return read_ND

    def going_through_head(self, read_ND: Tensor) -> Generator[None, None, Tensor]:
        """Logits `NV` in fp32, in parts: yields where the product with the head does."""
        logits_NV = (yield from self.head.in_parts(read_ND)).float()
        if self.logit_softcap is not None:
            logits_NV = torch.tanh(logits_NV / self.logit_softcap) * self.logit_softcap
        return logits_NV

    def going_back_through_head(self, grad_NV: Tensor, logits_NV: Tensor) -> Generator[None, None, Tensor]:
        """The gradient `ND` of what the head reads, in parts; both arguments are overwritten."""
        if self.logit_softcap is not None:
            grad_NV.mul_(1 - (logits_NV / self.logit_softcap).square_())
        return (yield from self.head.backward_in_parts(grad_NV.to(self.head.dtype)))

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
        """Like `logits`, but keeps what a backward pass needs.

        Args:
            ids_T: the packed tokens.
            positions_T: the position of each token within its segment.
            kept_N: the tokens whose logits are computed. A token may be repeated if the gradients of its logits are
                zero.
            attention: computes attention, and decides which tokens attend to which.
            slots: the slots of the adapters, which must be in training if gradients are computed; or the routes to
                them.
            keep: whether all activations are kept for the backward pass. If not, each layer's input is kept and the
                rest is computed again (activation checkpointing, Chen et al. 2016), with the same numbers and a third
                more computing.

        """
        return self.traced(ids_T, self.pass_over(positions_T, kept_N, attention, slots), keep=keep)

    def traced(self, ids_T: Tensor, pass_: Pass, *, keep: bool = True) -> "Trace":
        """Like `trace`, but for a `Pass` that was prepared before.

        A graph can replay it: it runs only on the device, and which operations run does not depend on the tokens.
        """
        return run_to_end(self.tracing(ids_T, pass_, keep=keep))

    @torch.no_grad()
    def tracing(self, ids_T: Tensor, pass_: Pass, *, keep: bool = True) -> Generator[None, None, "Trace"]:
        """Like `traced`, in parts: yields after each layer, and within a layer that computes for long.

        In between, the caller can do something else.
        """
        stem = yield from self.tracing_stem(ids_T, pass_, keep=keep)
        return Trace(stem, (yield from self.going_through_head(stem.read_ND)))

    @torch.no_grad()
    def tracing_stem(self, ids_T: Tensor, pass_: Pass, *, keep: bool = True) -> Generator[None, None, "Stem"]:
        """Like `tracing`, without the head."""
        x_TD, more_TD = self.embed(ids_T).float(), None
        kept: list[Kept | Tensor] = []
        for layer in self.layers:
            x_TD, more_TD, own = yield from layer.forward(x_TD, more_TD, pass_)
            kept.append(own if keep else own[0].normed.x)
            yield
        read_ND, normed = norm_of_sum(self.kernels, self.norm, x_TD, more_TD, self.head.dtype)
        return Stem(decoder=self, pass_=pass_, kept=kept, normed=normed, read_ND=read_ND)

    def pass_over(
        self,
        positions_T: Tensor,
        kept_N: Tensor,
        attention: TracedAttention,
        slots: Slots | Routes,
        *,
        lasting: bool = False,
    ) -> Pass:
        """Prepare what all layers of a pass share; the arguments are those of `trace`.

        `lasting`: other adapters may be loaded and unloaded before the pass has ended; see `AdapterSlots.route`.
        """
        rotations = {kind: Rotation.of(*tables(positions_T)) for kind, tables in self.rotations.items()}
        route, tail = self._routes(slots, kept_N, lasting=lasting)
        kept_N = kept_N.to(positions_T.device)
        return Pass(attention=attention, rotations=rotations, route=route, tail_route=tail, kept_N=kept_N)

    def _routes(self, slots: Slots | Routes, kept_N: Tensor, *, lasting: bool) -> tuple[Route | None, Route | None]:
        if isinstance(slots, Routes):
            return slots.all, slots.tail
        route = self.slots.route(slots, lasting=lasting)
        if slots is None or isinstance(slots, int):
            return route, route
        return route, self.slots.route(torch.as_tensor(slots)[kept_N.cpu()], lasting=lasting)


@dataclass(frozen=True, slots=True)
class Trace:
    """A forward pass with its activations; `backward` may be called once."""

    stem: "Stem"
    logits_NV: Tensor

    def backward(self, grad_NV: Tensor) -> None:
        """Add to the gradients of the trained adapters; `grad_NV`, the gradient of the logits, is overwritten."""
        run_to_end(self.going_back(grad_NV))

    @torch.no_grad()
    def going_back(self, grad_NV: Tensor) -> Generator[None, None, None]:
        """Like `backward`, in parts: yields after each layer, and within a layer that computes for long."""
        read_ND = yield from self.stem.decoder.going_back_through_head(grad_NV, self.logits_NV)
        yield from self.stem.going_back(read_ND)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stem:
    """A forward pass without the head, with its activations; `read_ND` is what the head reads.

    `going_back` may be called once.
    """

    decoder: Decoder
    pass_: Pass
    kept: list[Kept | Tensor]
    normed: Normed
    read_ND: Tensor

    @torch.no_grad()
    def going_back(self, read_grad_ND: Tensor) -> Generator[None, None, None]:
        """Add to the gradients of the trained adapters, given the gradient of `read_ND`, in parts.

        Yields after each layer, and within a layer that computes for long.
        """
        decoder = self.decoder
        grad: StreamGradient | None = decoder.kernels.norm_backward_to_stream(
            decoder.norm, read_grad_ND, self.normed, None, read_grad_ND.dtype
        )
        for layer in reversed(decoder.layers):
            own = self.kept.pop()
            if isinstance(own, Tensor):
                *_, own = yield from layer.forward(own, None, self.pass_)
            assert grad is not None  # noqa: S101  only layer 0, the last one here, gives None
            grad = yield from layer.backward(grad, own, self.pass_)
            yield
