"""Passes that are run in parts: what a suspended one holds in memory, and which may be suspended at the same time.

All sizes are estimates in bytes. They count activations; weights, adapters and optimizers are counted elsewhere.
"""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any, Self

from tuningfork.modeling.decoder.layer import Layer
from tuningfork.modeling.loading import LoadedBase
from tuningfork.modeling.memory_plan import kept_bytes_per_token
from tuningfork.training.attention.segment_layout import padded
from tuningfork.training.attention.segments import WIDEST
from tuningfork.training.passes import targets_per_block

_FP32 = 4
_ROWS_BETWEEN_LAYERS = 4
"""Tensors of one fp32 row a token beside the layers: the residual stream in two parts, and its gradient in two."""

_LOGIT_COPIES = 2
"""The copies of a block's logits in fp32 that are in memory beside the head's output in the base's type."""

_PADDED = 2
"""Attention over short segments copies queries, keys and values into padded batches. A padded batch is mostly less than
so many times as long as its segments."""

_SHARE_BESIDE = 4

SHORT_TOKENS = 2048
"""The most tokens of a pass that finds room beside a suspended one that is larger than what is planned."""


@dataclass(slots=True, kw_only=True, eq=False, weakref_slot=True)
class SuspendedPass:
    """A pass that is run in parts. Dropping it gives the pass up.

    `longest` is how many tokens its longest segment has, `held_bytes` how much memory its activations take until its
    last part. `turns` is how many turns its parts have been counted as. After the last part, `conclude` takes the
    result of `parts` and these turns.
    """

    parts: Generator[None, None, Any]
    conclude: Callable[[Any, int], None]
    longest: int
    held_bytes: int
    turns: int = 0

    def advance(self) -> bool:
        """Run the next part of the pass; returns whether it was the last one."""
        try:
            next(self.parts)
        except StopIteration as ended:
            self.conclude(ended.value, self.turns)
            return True
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class PassMemory:
    """What passes over one base hold in memory.

    Attributes:
        kept_per_token: the activations of a token that all layers keep for the backward pass, apart from attention's
            weights, and in the last layer those behind attention.
        kept_per_target: the activations that the last layer keeps behind its attention, which are the targets' alone.
        inputs_per_token: the part of them that remains with activation checkpointing: each layer's input, in fp32.
        layer_per_token: the activations of a token in one layer.
        attended_per_key: what attention keeps of a token for each key in reach, in one layer.
        stream_per_token: what is in memory of a token beside the layers.
        logits_per_target: the logits of a target, in all copies.
        most_targets: of how many targets the logits are in memory at a time.
        layers: how many there are.

    """

    kept_per_token: int
    kept_per_target: int
    inputs_per_token: int
    layer_per_token: int
    attended_per_key: int
    stream_per_token: int
    logits_per_target: int
    most_targets: int
    layers: int

    @classmethod
    def of(cls, base: LoadedBase) -> Self:
        """The memory of passes over this base."""
        config = base.model.config.get_text_config()
        layers, row, itemsize = int(config.num_hidden_layers), _FP32 * int(config.hidden_size), base.dtype.itemsize
        if base.decoder is None:
            # transformers' code keeps attention's weights, and all tokens of the last layer.
            kept = kept_bytes_per_token(base.slots.layers.values(), itemsize)
            own = {"kept_per_token": kept, "kept_per_target": 0, "layer_per_token": kept // layers}
            heads = 0
        else:
            each = [_kept_by(layer, itemsize) for layer in base.decoder.layers]
            before, behind = each[-1]
            kept = sum(map(sum, each[:-1])) + before
            own = {"kept_per_token": kept, "kept_per_target": behind, "layer_per_token": max(map(sum, each))}
            heads = max(layer.heads for layer in base.decoder.layers)
        return cls(
            **own,
            inputs_per_token=layers * row,
            attended_per_key=heads * itemsize,
            stream_per_token=_ROWS_BETWEEN_LAYERS * row,
            logits_per_target=int(config.vocab_size) * (_LOGIT_COPIES * _FP32 + itemsize),
            most_targets=targets_per_block(base),
            layers=layers,
        )

    def of_training(self, tokens: int, targets: int, longest: int, *, keep: bool) -> int:
        """What a training pass holds, whose longest segment has `longest` tokens; `keep` as in `passes.in_parts`."""
        # One layer's backward pass has gradients as large as what the layer keeps. With activation checkpointing the
        # layer's activations are there for it only, and are counted with them.
        attended = tokens * self._attended_per_token(tokens, longest)
        layers = tokens * (self.kept_per_token if keep else self.inputs_per_token + self.layer_per_token)
        kept = layers + (self.layers * attended + targets * self.kept_per_target if keep else attended)
        return kept + tokens * self.layer_per_token + attended + self._beside(tokens, targets)

    def within(self, free_bytes: int, tokens: int, targets: int, longest: int) -> tuple[bool, int]:
        """Whether there is room for all activations of a training pass, and what it holds with or without them."""
        kept = self.of_training(tokens, targets, longest, keep=True)
        if kept <= free_bytes:
            return True, kept
        return False, self.of_training(tokens, targets, longest, keep=False)

    def of_forward(self, tokens: int, targets: int, longest: int) -> int:
        """What a pass holds that is run forward only, such as an evaluation's."""
        attended = tokens * self._attended_per_token(tokens, longest)
        return tokens * self.layer_per_token + attended + self._beside(tokens, targets)

    def of_short_pass(self) -> int:
        """The most that a pass of `SHORT_TOKENS` tokens holds with activation checkpointing."""
        return self.of_training(SHORT_TOKENS, SHORT_TOKENS, SHORT_TOKENS // 2, keep=False)

    def _attended_per_token(self, tokens: int, longest: int) -> int:
        """What one layer's attention keeps of a token beside queries, keys and values: its weights, if segments are
        short enough for them to be kept, in padded batches.
        """
        if longest > WIDEST and longest >= tokens:
            return 0
        return _PADDED * self.attended_per_key * min(padded(longest), WIDEST)

    def _beside(self, tokens: int, targets: int) -> int:
        return tokens * self.stream_per_token + min(targets, self.most_targets) * self.logits_per_target


def _kept_by(layer: Layer, itemsize: int) -> tuple[int, int]:
    """What our own layer keeps of a token for its backward pass: up to the result of its attention, and behind it.

    The layer's input and the sum behind attention are in fp32, with one number for the norm of each; so are the inputs
    of further norms. All else is in the base's type: what the products read, their results, and the activated gate.
    """
    wide, inner = layer.query_key_value.frozen, layer.down.frozen.inputs
    row, norms = wide.inputs, 1 + sum(norm is not None for norm in (layer.after_attention, layer.after_mlp))
    normed_heads = (layer.heads + layer.key_heads) * (layer.head_size + 1) if layer.head_norms is not None else 0
    before = itemsize * (row + _PADDED * wide.outputs + layer.out.frozen.inputs) + _FP32 * (row + 1 + normed_heads)
    behind = itemsize * (row + layer.gate_up.frozen.outputs + 2 * inner) + _FP32 * norms * (row + 1)
    # What adapters keep, a few numbers for each of their ranks, and sums of attention.
    return before * 5 // 4, behind * 5 // 4


def fit_together(held: Sequence[int], most: int, short: int) -> bool:
    """Whether passes that hold so many bytes each may be suspended at the same time, where `most` bytes are planned.

    They may if they hold at most `most` bytes together. They also may if all but the largest hold at most a quarter of
    that together, or at most `short` bytes, what a short pass holds. A pass that is larger than what is planned has to
    run, and short passes must not wait for its end. So a short pass may begin beside any other one.
    """
    total = sum(held)
    return total <= most or total - max(held) <= max(most // _SHARE_BESIDE, short)
