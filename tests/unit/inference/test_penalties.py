"""A token loses logit for having been said, as often as it was said."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tuningfork.domain.generation import Sampling
from tuningfork.inference.penalties import Penalties

CPU = torch.device("cpu")
PENALTY = st.floats(-2, 2, width=32)


def sampling(**penalties) -> Sampling:
    return Sampling(temperature=1, top_p=1, top_k=None, max_output_tokens=1, **penalties)


def reference(logits: list[float], said: list[int], presence: float, frequency: float) -> list[float]:
    """The definition, word for word."""
    return [
        logit - (presence if token in said else 0) - frequency * said.count(token) for token, logit in enumerate(logits)
    ]


@given(st.lists(st.integers(0, 5), max_size=50), PENALTY, PENALTY)
def test_penalties_are_what_their_definition_says(said, presence, frequency):
    logits = [0.5, -1.0, 3.0, 0.0, 2.0, -7.0]
    penalties = Penalties(presence=presence, frequency=frequency, vocabulary_size=6, device=CPU)
    for token in said:
        penalties.count(token)
    logits_V = torch.tensor(logits)
    penalties.subtract_from(logits_V)
    torch.testing.assert_close(logits_V, torch.tensor(reference(logits, said, presence, frequency)), rtol=0, atol=2e-5)


def test_nothing_is_taken_off_before_anything_was_said():
    logits_V = torch.tensor([1.0, 2.0])
    Penalties(presence=2, frequency=2, vocabulary_size=2, device=CPU).subtract_from(logits_V)
    assert logits_V.tolist() == [1.0, 2.0]


@pytest.mark.parametrize("wanted", [{"presence_penalty": -0.1}, {"frequency_penalty": 0.1}])
def test_one_of_the_two_is_enough(wanted):
    assert Penalties.of(sampling(**wanted), vocabulary_size=2, device=CPU) is not None


def test_a_request_that_asks_for_none_costs_none():
    assert Penalties.of(sampling(), vocabulary_size=2, device=CPU) is None
