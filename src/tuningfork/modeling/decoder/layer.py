"""One layer of a Llama-like decoder, forwards and backwards, over one packed row of tokens.

    x' = x + [norm](O attend(rotate(Q norm(x)), rotate(K norm(x)), V norm(x)))
    y  = x' + [norm](down(act(gate norm(x')) * up norm(x')))

with a norm on queries and keys, and norms in brackets, where the family has them. `x` is fp32, products are in the
base's dtype, and adapters add to every product.

Shape suffixes: T tokens, N those of them that the last layer goes on with, D hidden features, F features of the MLP,
H query heads, G key/value heads, J = H + G, L = H + 2 G, K head size, O outputs of a product.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from tuningfork.modeling.adapter_routes import Route
from tuningfork.modeling.decoder.pieces import Activation, Normed, RmsNorm, Rotation, Slope, Turn, gated, gated_backward
from tuningfork.modeling.decoder.products import FrozenProduct


@dataclass(frozen=True, slots=True)
class How:
    """The numbers by which a layer attends; see `AttentionPlan.attend`."""

    scaling: float
    sliding_window: int | None
    softcap: float | None


class TracedAttention(Protocol):
    """Attention that can be gone through backwards."""

    def forward(self, layer: int, how: How, all_TLK: Tensor, heads: int) -> tuple[Tensor, Any]:
        """The output `THK` of that many query heads, and what `backward` needs.

        `all_TLK` are the rotated queries, the rotated keys and the values of every token.
        """
        ...

    def backward(self, kept: Any, slope_THK: Tensor) -> Tensor:
        """The gradient `TLK` of queries, keys and values."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """What all layers of one pass share.

    `route` chooses adapters for all tokens, `tail_route` for those that the last layer goes on with (`kept_N`).
    """

    attention: TracedAttention
    rotations: Mapping[str, Rotation]
    route: Route | None
    tail_route: Route | None
    kept_N: Tensor


@dataclass(frozen=True, slots=True)
class Product:
    """A frozen product and the adapters' share of it; `group` is its number among the adapter slots' groups."""

    frozen: FrozenProduct
    group: int

    def forward(self, x_TD: Tensor, route: Route | None) -> tuple[Tensor, Any]:
        """The output `TO`, and what `backward` needs."""
        y_TO = self.frozen(x_TD)
        return y_TO, None if route is None else route.add(self.group, x_TD, y_TO)

    def backward(self, slope_TO: Tensor, x_TD: Tensor, kept: Any, route: Route | None) -> Tensor:
        """The gradient of x; those of the adapters are added to theirs."""
        slope_TD = self.frozen.backward(slope_TO)
        if route is not None:
            route.backward(self.group, slope_TO, x_TD, kept, slope_TD)
        return slope_TD

    def backward_to_adapters(self, slope_TO: Tensor, x_TD: Tensor, kept: Any, route: Route | None) -> None:
        """Like `backward`, where nobody asks for the gradient of x."""
        if route is not None:
            route.backward(self.group, slope_TO, x_TD, kept, None)


@dataclass(frozen=True, slots=True, kw_only=True)
class _KeptAttention:
    """What the first half of a layer keeps for the way back."""

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
    """What the second half keeps."""

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
    """The weights of one layer, and how it computes. `last` layers go on with a pass's kept tokens alone."""

    index: int
    last: bool
    heads: int
    key_heads: int
    head_size: int
    how: How
    rotation: str | None
    activation: Activation
    attention_norm: RmsNorm
    query_key_value: Product
    query_norm: RmsNorm | None
    key_norm: RmsNorm | None
    out: Product
    after_attention: RmsNorm | None
    mlp_norm: RmsNorm
    gate_up: Product
    down: Product
    after_mlp: RmsNorm | None

    @property
    def products(self) -> tuple[Product, ...]:
        """All of them."""
        return self.query_key_value, self.out, self.gate_up, self.down

    def forward(self, x_TD: Tensor, more_TD: Tensor | None, pass_: Pass) -> tuple[Tensor, Tensor, Kept]:
        """The layer's output, as two addends, and what `backward` needs.

        The first addend, of input and output, is `TD` in fp32 (`ND` out of a last layer). The second, if there is any,
        has any type, and is added where the sum is needed: by the norm that comes next.
        """
        rest_TD, more_TD, attention = self._attend(x_TD, more_TD, pass_)
        rest_TD, more_TD, mlp = self._think(rest_TD, more_TD, pass_.tail_route if self.last else pass_.route)
        return rest_TD, more_TD, (attention, mlp)

    def backward(self, slope: Slope, kept: Kept, pass_: Pass) -> Slope | None:
        """The gradient of x, None from layer 0, below which nothing learns; adapters' are added to theirs."""
        attention, mlp = kept
        slope = self._think_backward(slope, mlp, pass_.tail_route if self.last else pass_.route)
        return self._attend_backward(slope, attention, pass_)

    def _attend(self, x_TD: Tensor, more_TD: Tensor | None, pass_: Pass) -> tuple[Tensor, Tensor, _KeptAttention]:
        read_TD, normed = self.attention_norm.forward_sum(x_TD, more_TD, self.out.frozen.weight_OD.dtype)
        all_TO, adapted = self.query_key_value.forward(read_TD, pass_.route)
        all_TLK = all_TO.view(len(all_TO), -1, self.head_size)
        heads = self._turn(pass_).forward_(all_TLK)
        out_THK, attended = pass_.attention.forward(self.index, self.how, all_TLK, self.heads)
        out_TO = out_THK.reshape(len(out_THK), -1)
        route, rest_TD = pass_.route, normed.x
        if self.last:
            out_TO, rest_TD = out_TO.index_select(0, pass_.kept_N), rest_TD.index_select(0, pass_.kept_N)
            route = pass_.tail_route
        y_TD, out_adapted = self.out.forward(out_TO, route)
        y_TD, after = _normed(self.after_attention, y_TD)
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

    def _attend_backward(self, slope: Slope, kept: _KeptAttention, pass_: Pass) -> Slope | None:
        inner_TD = _normed_backward(self.after_attention, slope, kept.after, kept.read_TD.dtype)
        route, slope_TD = pass_.tail_route if self.last else pass_.route, slope.exact
        out_TO = self.out.backward(inner_TD, kept.out_TO, kept.out_adapted, route)
        if self.last:
            out_TO = _spread(out_TO, pass_.kept_N, len(kept.read_TD))
            slope_TD = _spread(slope_TD, pass_.kept_N, len(kept.read_TD))
        all_TLK = pass_.attention.backward(kept.attended, out_TO.view(len(out_TO), -1, self.head_size))
        self._turn(pass_).backward_(all_TLK, kept.heads)
        all_TO = all_TLK.flatten(1)
        if not self.index:
            self.query_key_value.backward_to_adapters(all_TO, kept.read_TD, kept.adapted, pass_.route)
            return None
        read_TD = self.query_key_value.backward(all_TO, kept.read_TD, kept.adapted, pass_.route)
        return self.attention_norm.backward_stream(read_TD, kept.normed, slope_TD, read_TD.dtype)

    def _turn(self, pass_: Pass) -> Turn:
        return Turn(
            heads=self.heads,
            key_heads=self.key_heads,
            query_norm=self.query_norm,
            key_norm=self.key_norm,
            rotation=None if self.rotation is None else pass_.rotations[self.rotation],
        )

    def _think(self, x_TD: Tensor, more_TD: Tensor, route: Route | None) -> tuple[Tensor, Tensor, _KeptMlp]:
        read_TD, normed = self.mlp_norm.forward_sum(x_TD, more_TD, self.down.frozen.weight_OD.dtype)
        both_TF, both_adapted = self.gate_up.forward(read_TD, route)
        inner_TF, acted_TF = gated(self.activation, both_TF)
        y_TD, down_adapted = self.down.forward(inner_TF, route)
        y_TD, after = _normed(self.after_mlp, y_TD)
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

    def _think_backward(self, slope: Slope, kept: _KeptMlp, route: Route | None) -> Slope:
        inner_TD = _normed_backward(self.after_mlp, slope, kept.after, kept.read_TD.dtype)
        inner_TF = self.down.backward(inner_TD, kept.inner_TF, kept.down_adapted, route)
        both_TF = gated_backward(self.activation, inner_TF, kept.both_TF, kept.acted_TF)
        read_TD = self.gate_up.backward(both_TF, kept.read_TD, kept.both_adapted, route)
        return self.mlp_norm.backward_stream(read_TD, kept.normed, slope.exact, read_TD.dtype)


def _normed(norm: RmsNorm | None, y_TD: Tensor) -> tuple[Tensor, Normed | None]:
    return (y_TD, None) if norm is None else norm.forward(y_TD)


def _normed_backward(norm: RmsNorm | None, slope: Slope, kept: Normed | None, dtype: torch.dtype) -> Tensor:
    return slope.to(dtype) if norm is None or kept is None else norm.backward(slope.exact, kept, dtype=dtype)


def _spread(values_ND: Tensor, places_N: Tensor, count: int) -> Tensor:
    """The rows at their places among `count`, zero elsewhere."""
    return values_ND.new_zeros(count, values_ND.shape[1]).index_copy_(0, places_N, values_ND)
