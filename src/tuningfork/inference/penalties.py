"""What the tokens of an answer lose for having been said already.

From a token that the answer holds c times, c > 0, the logit gives up `presence + c * frequency`; negative numbers give.
The prompt does not count, and each candidate counts for itself.

Shape suffixes: V vocabulary.
"""

from collections import Counter

import torch
from torch import Tensor

from tuningfork.domain.generation import Sampling


class Penalties:
    """The penalties of one candidate, kept as one number a token so that a step takes them off in one subtraction.

    Args:
        presence: taken off once.
        frequency: taken off for each time.
        vocabulary_size: V, as wide as the logits.
        device: of the logits.

    """

    def __init__(self, *, presence: float, frequency: float, vocabulary_size: int, device: torch.device) -> None:
        self._presence = presence
        self._frequency = frequency
        self._times: Counter[int] = Counter()
        self._penalty_V = torch.zeros(vocabulary_size, dtype=torch.float32, device=device)

    @classmethod
    def of(cls, sampling: Sampling, *, vocabulary_size: int, device: torch.device) -> "Penalties | None":
        """Those that a request asks for; None where it asks for none."""
        if not (sampling.presence_penalty or sampling.frequency_penalty):
            return None
        return cls(
            presence=sampling.presence_penalty,
            frequency=sampling.frequency_penalty,
            vocabulary_size=vocabulary_size,
            device=device,
        )

    def count(self, token: int) -> None:
        """Say that the answer has got this token."""
        self._times[token] += 1
        # From the count each time: added up, the last bits would depend on how often it was rounded.
        self._penalty_V[token] = self._presence + self._frequency * self._times[token]

    def take_off(self, logits_V: Tensor) -> None:
        """Change the logits of one row in place."""
        logits_V -= self._penalty_V
