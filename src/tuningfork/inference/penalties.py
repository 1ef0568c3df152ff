"""Presence and frequency penalties for tokens that an answer already contains.

For a token that the answer contains c > 0 times, `presence + c * frequency` is subtracted from the logit; negative
penalties add. Tokens of the prompt do not count, and each candidate counts its own tokens.

Shape suffixes: V vocabulary.
"""

from collections import Counter

import torch
from torch import Tensor

from tuningfork.domain.generation import Sampling


class Penalties:
    """The penalties of one candidate, kept as one number for each token so that a step needs one subtraction.

    Args:
        presence: subtracted once for a token that occurs.
        frequency: subtracted for each occurrence.
        vocabulary_size: V, as wide as the logits.
        device: the device of the logits.

    """

    def __init__(self, *, presence: float, frequency: float, vocabulary_size: int, device: torch.device) -> None:
        self._presence = presence
        self._frequency = frequency
        self._times: Counter[int] = Counter()
        self._penalty_V = torch.zeros(vocabulary_size, dtype=torch.float32, device=device)

    @classmethod
    def of(cls, sampling: Sampling, *, vocabulary_size: int, device: torch.device) -> "Penalties | None":
        """The penalties that a request asks for; None: it asks for none."""
        if not (sampling.presence_penalty or sampling.frequency_penalty):
            return None
        return cls(
            presence=sampling.presence_penalty,
            frequency=sampling.frequency_penalty,
            vocabulary_size=vocabulary_size,
            device=device,
        )

    def count(self, token: int) -> None:
        """Count one more occurrence of this token in the answer."""
        self._times[token] += 1
        # Computed from the count each time: a running sum would be rounded at each step.
        self._penalty_V[token] = self._presence + self._frequency * self._times[token]

    def subtract_from(self, logits_V: Tensor) -> None:
        """Subtract the penalties from one row's logits, in place."""
        logits_V -= self._penalty_V
