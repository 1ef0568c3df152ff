"""Passes that are run in parts: what a suspended one holds in memory, and which may be suspended at the same time.

All sizes are estimates in bytes. They count activations; weights, adapters and optimizers are counted elsewhere.
"""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any, Self

from tuningfork.modeling.loading import LoadedBase
from tuningfork.modeling.memory_plan import kept_bytes_per_token
from tuningfork.training.passes import targets_per_block

_FP32 = 4
_ROWS_BETWEEN_LAYERS = 4
"""Tensors of one fp32 row a token beside the layers: the residual stream in two parts, and its gradient in two."""

_LOGIT_COPIES = 2
"""The copies of a block's logits in fp32 that are in memory beside the head's output in the base's type."""

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
        kept_per_token: the activations of a token that all layers keep for the backward pass.
        inputs_per_token: the part of them that remains with activation checkpointing: each layer's input, in fp32.
        layer_per_token: the activations of a token in one layer.
        stream_per_token: what is in memory of a token beside the layers.
        logits_per_target: the logits of a target, in all copies.
        most_targets: of how many targets the logits are in memory at a time.

    """

    kept_per_token: int
    inputs_per_token: int
    layer_per_token: int
    stream_per_token: int
    logits_per_target: int
    most_targets: int

    @classmethod
    def of(cls, base: LoadedBase) -> Self:
        """The memory of passes over this base."""
        config = base.model.config.get_text_config()
        layers, row = int(config.num_hidden_layers), _FP32 * int(config.hidden_size)
        kept = kept_bytes_per_token(base.slots.layers.values(), base.dtype.itemsize)
        return cls(
            kept_per_token=kept,
            inputs_per_token=layers * row,
            layer_per_token=kept // layers,
            stream_per_token=_ROWS_BETWEEN_LAYERS * row,
            logits_per_target=int(config.vocab_size) * (_LOGIT_COPIES * _FP32 + base.dtype.itemsize),
            most_targets=targets_per_block(base),
        )

    def of_training(self, tokens: int, targets: int, *, keep: bool) -> int:
        """What a training pass holds; `keep` as in `passes.in_parts`."""
        # One layer's backward pass has gradients as large as what the layer keeps. With activation checkpointing the
        # layer's activations are there for it only, and are counted with them.
        layers = self.kept_per_token if keep else self.inputs_per_token + self.layer_per_token
        return tokens * (layers + self.layer_per_token) + self._beside(tokens, targets)

    def of_forward(self, tokens: int, targets: int) -> int:
        """What a pass holds that is run forward only, such as an evaluation's."""
        return tokens * self.layer_per_token + self._beside(tokens, targets)

    def of_short_pass(self) -> int:
        """The most that a pass of `SHORT_TOKENS` tokens holds with activation checkpointing."""
        return self.of_training(SHORT_TOKENS, SHORT_TOKENS, keep=False)

    def _beside(self, tokens: int, targets: int) -> int:
        return tokens * self.stream_per_token + min(targets, self.most_targets) * self.logits_per_target


def fit_together(held: Sequence[int], most: int, short: int) -> bool:
    """Whether passes that hold so many bytes each may be suspended at the same time, where `most` bytes are planned.

    They may if they hold at most `most` bytes together. They also may if all but the largest hold at most a quarter of
    that together, or at most `short` bytes, what a short pass holds. A pass that is larger than what is planned has to
    run, and short passes must not wait for its end. So a short pass may begin beside any other one.
    """
    total = sum(held)
    return total <= most or total - max(held) <= max(most // _SHARE_BESIDE, short)
