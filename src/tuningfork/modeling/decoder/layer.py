"""The forward and backward pass of one layer of a Llama-like decoder over one packed row of tokens.

    x' = x + [norm](O attend(rotate(Q norm(x)), rotate(K norm(x)), V norm(x)))
    y  = x' + [norm](down(act(gate norm(x')) * up norm(x')))

Norms in brackets, and norms of queries and keys, are computed if the family has them. `x` is fp32, products are in the
base's dtype, and adapters add to every product.

Shape suffixes: T tokens, N the tokens that the last layer computes after its attention, D hidden features, F features
of the MLP, H query heads, G key/value heads, J = H + G, L = H + 2 G, K head size, O outputs of a product.
"""

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from tuningfork.modeling.adapters.routes import Route
from tuningfork.modeling.attention.plans import AttentionParameters
from tuningfork.modeling.decoder.products import FrozenProduct
from tuningfork.modeling.kernels.base import (
    Activation,
    HeadNorms,
    LayerKernels,
    Normed,
    RmsNorm,
    Rotation,
    StreamGradient,
)


class TracedAttention(Protocol):
    """Attention with a backward pass."""

    def forward(self, layer: int, parameters: AttentionParameters, all_TLK: Tensor, heads: int) -> tuple[Tensor, Any]:
        """The output `THK` of `heads` query heads, and what `backward` needs.

        `all_TLK` are the rotated queries, the rotated keys and the values of every token.
        """
        ...

    def backward(self, kept: Any, grad_THK: Tensor) -> Tensor:
        """The gradient `TLK` of queries, keys and values."""
        ...

    def forward_in_parts(
        self, layer: int, parameters: AttentionParameters, all_TLK: Tensor, heads: int
    ) -> Generator[None, None, tuple[Tensor, Any]]:
        """Like `forward`; yields where it can be suspended, by default nowhere."""
        yield from ()
        return self.forward(layer, parameters, all_TLK, heads)

    def backward_in_parts(self, kept: Any, grad_THK: Tensor) -> Generator[None, None, Tensor]:
        """Like `backward`; yields where it can be suspended, by default nowhere."""
        yield from ()
        return self.backward(kept, grad_THK)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """The data that all layers of one pass share.

    `route` selects adapters for all tokens, `tail_route` for the tokens `kept_N`, whose logits are computed: the last
    layer drops the others after its attention.
    """

    attention: TracedAttention
    rotations: Mapping[str, Rotation]
    route: Route | None
    tail_route: Route | None
    kept_N: Tensor


@dataclass(frozen=True, slots=True)
class Product:
    """A product with frozen weights plus the adapters' products. `group` is its index in `AdapterSlots.groups`.

    `forward` and `backward` yield where they can be suspended.
    """

    frozen: FrozenProduct
    group: int

    def forward(self, x_TD: Tensor, route: Route | None) -> Generator[None, None, tuple[Tensor, Any]]:
        """The output `TO`, and the value to pass to `backward` as `kept`."""
        y_TO = yield from self.frozen.in_parts(x_TD)
        return y_TO, None if route is None else route.add(self.group, x_TD, y_TO)

    def backward(self, grad_TO: Tensor, x_TD: Tensor, kept: Any, route: Route | None) -> Generator[None, None, Tensor]:
        """The gradient of x; also adds to the adapters' gradients."""
        grad_TD = yield from self.frozen.backward_in_parts(grad_TO)
        if route is not None:
            route.backward(self.group, grad_TO, x_TD, kept, grad_TD)
        return grad_TD

    def backward_to_adapters(self, grad_TO: Tensor, x_TD: Tensor, kept: Any, route: Route | None) -> None:
        """Like `backward`, without computing the gradient of x."""
        if route is not None:
            route.backward(self.group, grad_TO, x_TD, kept, None)


@dataclass(frozen=True, slots=True, kw_only=True)
class _KeptAttention:
    """What the attention block keeps for the backward pass."""

    normed: Normed
    read_TD: Tensor
    adapted: Any
    heads: Normed | None
    attended: Any
    out_TO: Tensor
    out_adapted: Any
    after: Normed | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _KeptMlp:
    """What the MLP block keeps for the backward pass."""

    normed: Normed
    read_TD: Tensor
    both_TF: Tensor
    both_adapted: Any
    acted_TF: Tensor | None
    inner_TF: Tensor
    down_adapted: Any
    after: Normed | None


Kept = tuple[_KeptAttention, _KeptMlp]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One layer: its weights, and its forward and backward pass, which yield where they can be suspended.

    The layer with `last` set drops all tokens but the pass's `kept_N` after its attention. `rotation` names the rotary
    tables that the layer uses; None: it uses no positions.
    """

    kernels: LayerKernels
    index: int
    last: bool
    heads: int
    key_heads: int
    head_size: int
    attention_parameters: AttentionParameters
    rotation: str | None
    activation: Activation
    attention_norm: RmsNorm
    query_key_value: Product
    head_norms: HeadNorms | None
    out: Product
    after_attention: RmsNorm | None
    mlp_norm: RmsNorm
    gate_up: Product
    down: Product
    after_mlp: RmsNorm | None

    @property
    def products(self) -> tuple[Product, ...]:
        """The layer's four matrix products."""
        return self.query_key_value, self.out, self.gate_up, self.down

    def forward(
        self, x_TD: Tensor, more_TD: Tensor | None, pass_: Pass
    ) -> Generator[None, None, tuple[Tensor, Tensor, Kept]]:
        """The layer's output, as two tensors to be added, and the value to pass to `backward` as `kept`.

        The input and the output are sums of two tensors, which the next norm adds. The first is `TD` in fp32 (`ND` in
        the last layer's output). The second may have any type, and is None in the first layer's input.
        """
        rest_TD, more_TD, attention = yield from self._attend(x_TD, more_TD, pass_)
        rest_TD, more_TD, mlp = yield from self._mlp(rest_TD, more_TD, pass_.tail_route if self.last else pass_.route)
        return rest_TD, more_TD, (attention, mlp)

    def backward(self, grad: StreamGradient, kept: Kept, pass_: Pass) -> Generator[None, None, StreamGradient | None]:
        """The gradient of x (None for layer 0, where it is not needed); also adds to the adapters' gradients."""
        attention, mlp = kept
        grad = yield from self._mlp_backward(grad, mlp, pass_.tail_route if self.last else pass_.route)
        return (yield from self._attend_backward(grad, attention, pass_))

    def _attend(
        self, x_TD: Tensor, more_TD: Tensor | None, pass_: Pass
    ) -> Generator[None, None, tuple[Tensor, Tensor, _KeptAttention]]:
        read_TD, normed = norm_of_sum(self.kernels, self.attention_norm, x_TD, more_TD, self.out.frozen.dtype)
        all_TO, adapted = yield from self.query_key_value.forward(read_TD, pass_.route)
        all_TLK = all_TO.view(len(all_TO), -1, self.head_size)
        heads = self._position_(all_TLK, pass_)
        out_THK, attended = yield from pass_.attention.forward_in_parts(
            self.index, self.attention_parameters, all_TLK, self.heads
        )
        out_TO = out_THK.reshape(len(out_THK), -1)
        route, rest_TD = pass_.route, normed.x
        if self.last:
            out_TO, rest_TD = out_TO.index_select(0, pass_.kept_N), rest_TD.index_select(0, pass_.kept_N)
            route = pass_.tail_route
        y_TD, out_adapted = yield from self.out.forward(out_TO, route)
        y_TD, after = self._normed(self.after_attention, y_TD)
        kept = _KeptAttention(
            normed=normed,
            read_TD=read_TD,
            adapted=adapted,
            heads=heads,
            attended=attended,
            out_TO=out_TO,
            out_adapted=out_adapted,
            after=after,
        )
        return rest_TD, y_TD, kept

    def _attend_backward(
        self, grad: StreamGradient, kept: _KeptAttention, pass_: Pass
    ) -> Generator[None, None, StreamGradient | None]:
        inner_TD = self._normed_backward(self.after_attention, grad, kept.after, kept.read_TD.dtype)
        route, grad_TD = pass_.tail_route if self.last else pass_.route, grad.exact
        out_TO = yield from self.out.backward(inner_TD, kept.out_TO, kept.out_adapted, route)
        if self.last:
            out_TO = _spread(out_TO, pass_.kept_N, len(kept.read_TD))
            grad_TD = _spread(grad_TD, pass_.kept_N, len(kept.read_TD))
        all_TLK = yield from pass_.attention.backward_in_parts(
            kept.attended, out_TO.view(len(out_TO), -1, self.head_size)
        )
        self._position_backward_(all_TLK, kept.heads, pass_)
        all_TO = all_TLK.flatten(1)
        if not self.index:
            self.query_key_value.backward_to_adapters(all_TO, kept.read_TD, kept.adapted, pass_.route)
            return None
        read_TD = yield from self.query_key_value.backward(all_TO, kept.read_TD, kept.adapted, pass_.route)
        return self.kernels.norm_backward_to_stream(self.attention_norm, read_TD, kept.normed, grad_TD, read_TD.dtype)

    def _position_(self, all_TLK: Tensor, pass_: Pass) -> Normed | None:
        """Normalize and rotate queries and keys, in place, if the layer does so."""
        rotation, joint = self._rotation(pass_), self.heads + self.key_heads
        if self.head_norms is not None:
            return self.kernels.norm_and_rotate_(all_TLK, joint, self.head_norms, rotation)
        if rotation is not None:
            self.kernels.rotate_(all_TLK, joint, rotation, 1)
        return None

    def _position_backward_(self, grad_TLK: Tensor, kept: Normed | None, pass_: Pass) -> None:
        """The backward pass of `_position_`, in place: from the gradient of its output to that of its input."""
        rotation = self._rotation(pass_)
        if self.head_norms is not None and kept is not None:
            self.kernels.norm_and_rotate_backward_(grad_TLK, kept, self.head_norms, rotation)
        elif rotation is not None:
            self.kernels.rotate_(grad_TLK, self.heads + self.key_heads, rotation, -1)

    def _rotation(self, pass_: Pass) -> Rotation | None:
        return None if self.rotation is None else pass_.rotations[self.rotation]

    def _mlp(
        self, x_TD: Tensor, more_TD: Tensor, route: Route | None
    ) -> Generator[None, None, tuple[Tensor, Tensor, _KeptMlp]]:
        read_TD, normed = self.kernels.add_and_norm(self.mlp_norm, x_TD, more_TD, self.down.frozen.dtype)
        both_TF, both_adapted = yield from self.gate_up.forward(read_TD, route)
        inner_TF, acted_TF = self.kernels.gated(self.activation, both_TF)
        y_TD, down_adapted = yield from self.down.forward(inner_TF, route)
        y_TD, after = self._normed(self.after_mlp, y_TD)
        kept = _KeptMlp(
            normed=normed,
            read_TD=read_TD,
            both_TF=both_TF,
            both_adapted=both_adapted,
            acted_TF=acted_TF,
            inner_TF=inner_TF,
            down_adapted=down_adapted,
            after=after,
        )
        return normed.x, y_TD, kept

    def _mlp_backward(
        self, grad: StreamGradient, kept: _KeptMlp, route: Route | None
    ) -> Generator[None, None, StreamGradient]:
        inner_TD = self._normed_backward(self.after_mlp, grad, kept.after, kept.read_TD.dtype)
        inner_TF = yield from self.down.backward(inner_TD, kept.inner_TF, kept.down_adapted, route)
        both_TF = self.kernels.gated_backward(self.activation, inner_TF, kept.both_TF, kept.acted_TF)
        read_TD = yield from self.gate_up.backward(both_TF, kept.read_TD, kept.both_adapted, route)
        return self.kernels.norm_backward_to_stream(self.mlp_norm, read_TD, kept.normed, grad.exact, read_TD.dtype)

    def _normed(self, norm: RmsNorm | None, y_TD: Tensor) -> tuple[Tensor, Normed | None]:
        return (y_TD, None) if norm is None else self.kernels.norm(norm, y_TD)

    def _normed_backward(
        self, norm: RmsNorm | None, grad: StreamGradient, kept: Normed | None, dtype: torch.dtype
    ) -> Tensor:
        if norm is None or kept is None:
            return grad.to(dtype)
        return self.kernels.norm_backward(norm, grad.exact, kept, dtype=dtype)


def norm_of_sum(
    kernels: LayerKernels, norm: RmsNorm, x_TD: Tensor, more_TD: Tensor | None, dtype: torch.dtype
) -> tuple[Tensor, Normed]:
    """The norm of the residual stream, given as one tensor or as two to be added; see `LayerKernels.add_and_norm`."""
    return kernels.norm(norm, x_TD, dtype) if more_TD is None else kernels.add_and_norm(norm, x_TD, more_TD, dtype)


def _spread(values_ND: Tensor, places_N: Tensor, count: int) -> Tensor:
    """A tensor of `count` rows with these rows at the indices `places_N`, and zeros in all other rows."""
    return values_ND.new_zeros(count, values_ND.shape[1]).index_copy_(0, places_N, values_ND)
