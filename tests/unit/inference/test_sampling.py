"""Tokens are drawn from the distribution that temperature, top K and top P leave, each row from its own numbers."""

from random import Random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from tuningfork.domain.generation import Sampling
from tuningfork.inference.penalties import Penalties
from tuningfork.inference.sampling import Choice, Draw, Ranked, row_randomness, sample


def sampling(temperature=1.0, top_p=1.0, top_k=None, **others) -> Sampling:
    return Sampling(temperature=temperature, top_p=top_p, top_k=top_k, max_output_tokens=1, **others)


class Fixed(Random):
    """A source that always gives the same number."""

    def __init__(self, point: float) -> None:
        super().__init__()
        self._point = point

    def random(self) -> float:
        return self._point


def one(logits_V: Tensor, how: Sampling, point: float) -> int:
    [choice] = sample(logits_V[None], [Draw(how, Fixed(point))])
    return choice.token


def warped(logits_V: Tensor, how: Sampling) -> Tensor:
    """The second implementation: transformers' own chain of warpers."""
    logits_BV = TemperatureLogitsWarper(how.temperature)(None, logits_V[None])
    if how.top_k is not None:
        logits_BV = TopKLogitsWarper(how.top_k)(None, logits_BV)
    if how.top_p < 1:
        logits_BV = TopPLogitsWarper(how.top_p)(None, logits_BV)
    return torch.softmax(logits_BV[0], dim=-1)


@pytest.mark.parametrize("vocabulary", [50, 3000])
@pytest.mark.parametrize("temperature", [0.5, 2.0])
@pytest.mark.parametrize("top_p", [1.0, 0.9, 0.2, 0.0])
@pytest.mark.parametrize("top_k", [None, 7, 10_000])
def test_tokens_come_as_often_as_transformers_warpers_make_them_likely(vocabulary, temperature, top_p, top_k):
    torch.manual_seed(0)
    logits_V = torch.randn(vocabulary) * 2
    how = sampling(temperature, top_p, top_k)
    wanted_V = warped(logits_V, how)
    # A regular grid of points instead of random ones: frequencies are then exact to one part in the grid.
    points = 100
    drawn = [one(logits_V, how, (index + 0.5) / points) for index in range(points)]
    found_V = torch.bincount(torch.tensor(drawn), minlength=vocabulary) / points
    assert not found_V[wanted_V == 0].any()
    torch.testing.assert_close(found_V, wanted_V, rtol=0, atol=1.01 / points)


@pytest.mark.parametrize("how", [sampling(0), sampling(1e-30), sampling(1e-30, top_p=0.5), sampling(5.0, top_k=1)])
@pytest.mark.parametrize("point", [0.0, 0.5, 1 - 2**-53])
def test_temperature_zero_and_the_like_take_the_likeliest_token(how, point):
    assert one(torch.tensor([1.0, 90.0, 3.0]), how, point) == 1


def test_temperature_zero_takes_no_random_number():
    draw = Draw(sampling(0), Random(1))
    sample(torch.randn(1, 5), [draw])
    assert draw.randomness.random() == Random(1).random()


@given(st.floats(0, 1, exclude_max=True), st.sampled_from([None, 2, 3]), st.sampled_from([0.3, 1.0]))
def test_tokens_of_no_probability_are_never_drawn(point, top_k, top_p):
    logits_V = torch.tensor([-torch.inf, 0.0, 0.1, -torch.inf])
    assert one(logits_V, sampling(top_p=top_p, top_k=top_k), point) in {1, 2}


def test_the_last_point_below_one_draws_a_token_that_has_probability():
    assert one(torch.tensor([0.0, 0.1, -torch.inf]), sampling(), 1 - 2**-53) == 1


def test_a_row_draws_the_same_beside_others():
    torch.manual_seed(0)
    logits_BV = torch.randn(6, 2000).bfloat16()
    hows = [sampling(), sampling(0), sampling(top_p=0.9), sampling(top_k=5), sampling(0.5, 0.5, 50), sampling(2.0)]
    together = sample(logits_BV, [Draw(how, row_randomness(7, row)) for row, how in enumerate(hows)])
    alone = [sample(logits_BV[[row]], [Draw(how, row_randomness(7, row))])[0] for row, how in enumerate(hows)]
    assert together == alone


def test_half_precision_logits_are_drawn_in_full_precision():
    # In bfloat16 the sum of 600 equal probabilities would stop growing long before 1.
    drawn = {one(torch.zeros(600, dtype=torch.bfloat16), sampling(), (index + 0.5) / 600) for index in range(600)}
    assert len(drawn) == 600


def test_a_row_of_numbers_that_are_none_has_no_token_and_spoils_no_other():
    logits_BV = torch.tensor([[0.0, torch.nan, 1.0], [0.0, 5.0, 1.0], [torch.inf, 0.0, 0.0]])
    draws = [Draw(sampling(0), Random(1)), Draw(sampling(0), Random(1)), Draw(sampling(top_k=2), Random(1))]
    assert sample(logits_BV, draws) == [None, Choice(1), None]


def test_a_seed_gives_each_candidate_its_own_randomness_again_and_again():
    first, second = (row_randomness(3, candidate).random() for candidate in (0, 1))
    assert first != second
    assert first == row_randomness(3, 0).random()
    assert first != row_randomness(4, 0).random()
    assert row_randomness(None, 0).random() != row_randomness(None, 0).random()


class Allowing:
    """A constraint that always allows the same tokens."""

    fault = None

    def __init__(self, *tokens: int) -> None:
        self._tokens = tokens

    def allowed(self) -> Tensor:
        words_W = torch.zeros(3, dtype=torch.int64)
        for token in self._tokens:
            words_W[token // 32] += 1 << (token % 32)
        return words_W.to(torch.int32)

    def affordable(self, token: int) -> int:
        return token


class Closing(Allowing):
    """A constraint that takes its last token in place of any other."""

    def affordable(self, token: int) -> int:
        return self._tokens[-1]


def test_log_probabilities_are_those_of_the_softmax_likeliest_first():
    logits_V = torch.tensor([1.0, 3.0, 2.0, -1.0])
    [choice] = sample(logits_V[None], [Draw(sampling(0, logprobs=2), Random(1))])
    wanted_V = torch.log_softmax(logits_V, dim=-1).tolist()
    assert choice == Choice(1, wanted_V[1], (Ranked(1, wanted_V[1]), Ranked(2, wanted_V[2])))


def test_no_likeliest_tokens_are_given_where_only_the_chosen_one_is_wanted():
    [choice] = sample(torch.zeros(1, 4), [Draw(sampling(0, logprobs=0), Random(1))])
    assert (choice.log_probability, choice.likeliest) == (pytest.approx(-1.3862944), ())


def test_more_likeliest_tokens_than_there_are_give_all():
    [choice] = sample(torch.zeros(1, 4), [Draw(sampling(0, logprobs=20), Random(1))])
    assert {each.token for each in choice.likeliest} == {0, 1, 2, 3}


def test_log_probabilities_know_of_penalties_but_not_of_temperature_limits_and_constraints():
    logits_V = torch.tensor([4.0, 3.0, 2.0])
    how = sampling(0.1, top_k=1, presence_penalty=1.5, logprobs=3)
    penalties = Penalties.of(how, vocabulary_size=3, device=torch.device("cpu"))
    penalties.count(0)
    [choice] = sample(logits_V[None], [Draw(how, Random(1), penalties, Allowing(2))])
    wanted_V = torch.log_softmax(torch.tensor([2.5, 3.0, 2.0]), dim=-1).tolist()
    assert choice.token == 2
    assert choice.log_probability == wanted_V[2]
    assert choice.likeliest == tuple(Ranked(token, wanted_V[token]) for token in (1, 0, 2))


def test_a_constraint_leaves_what_it_allows_in_proportion():
    logits_V = torch.randn(70, generator=torch.Generator().manual_seed(1))
    allowed = [0, 31, 32, 63, 64, 69]
    points = 1000
    drawn = [
        sample(logits_V[None], [Draw(sampling(), Fixed((index + 0.5) / points), None, Allowing(*allowed))])[0].token
        for index in range(points)
    ]
    wanted_V = torch.zeros(70)
    wanted_V[allowed] = torch.softmax(logits_V[allowed], dim=-1)
    found_V = torch.bincount(torch.tensor(drawn), minlength=70) / points
    torch.testing.assert_close(found_V, wanted_V, rtol=0, atol=1.01 / points)


@pytest.mark.parametrize("how", [sampling(0), sampling(2.0), sampling(top_k=3), sampling(top_p=0.1)])
def test_the_likeliest_token_is_not_drawn_where_it_is_forbidden(how):
    logits_V = torch.zeros(70)
    logits_V[5] = 100.0
    [choice] = sample(logits_V[None], [Draw(how, Random(1), None, Allowing(68))])
    assert choice.token == 68


def test_a_constrained_row_does_not_change_the_rows_beside_it():
    logits_BV = torch.randn(2, 70, generator=torch.Generator().manual_seed(1))
    free = [Draw(sampling(logprobs=3), Fixed(0.3)), Draw(sampling(logprobs=3), Fixed(0.7))]
    [alone, _] = sample(logits_BV, free)
    [beside, _] = sample(logits_BV, [free[0], Draw(sampling(), Fixed(0.7), None, Allowing(1))])
    assert beside == alone


def test_a_constraint_that_allows_nothing_gives_no_token():
    assert sample(torch.zeros(1, 70), [Draw(sampling(), Random(1), None, Allowing())]) == [None]


def test_numbers_that_are_none_are_not_hidden_by_a_constraint():
    logits_BV = torch.tensor([[0.0, torch.nan, 1.0]])
    assert sample(logits_BV, [Draw(sampling(0), Random(1), None, Allowing(0))]) == [None]


def test_the_logits_are_left_as_they_were():
    logits_BV = torch.zeros(1, 3)
    how = sampling(presence_penalty=1.0)
    penalties = Penalties.of(how, vocabulary_size=3, device=torch.device("cpu"))
    penalties.count(0)
    sample(logits_BV, [Draw(how, Random(1), penalties, Allowing(1))])
    assert not logits_BV.any()


def test_a_token_that_takes_the_place_of_another_has_its_own_log_probability():
    logits_V = torch.tensor([4.0, 3.0, 2.0])

    [choice] = sample(logits_V[None], [Draw(sampling(0.0, logprobs=1), Random(1), None, Closing(0, 1))])

    assert choice.token == 1
    assert choice.log_probability == pytest.approx(float(torch.log_softmax(logits_V, 0)[1]))
    assert [each.token for each in choice.likeliest] == [0]
