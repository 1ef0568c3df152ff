"""The share of a dataset that is held out: the same every time, with nothing in both parts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuningfork.domain.conversation import Conversation
from tuningfork.domain.held_out import split


def pairs(*texts):
    return tuple(Conversation.pair(text, "answer") for text in texts)


HUNDRED = pairs(*map(str, range(100)))
FIVE_OF_THEM = ["1", "17", "19", "48", "87"]


def test_every_example_is_in_one_part_in_its_order():
    parts = split(HUNDRED, 10)
    assert len(parts.validation) == 10
    assert sorted(map(HUNDRED.index, (*parts.training, *parts.validation))) == [*range(100)]
    for part in (parts.training, parts.validation):
        assert [*map(HUNDRED.index, part)] == sorted(map(HUNDRED.index, part))


def test_the_same_examples_give_the_same_split_and_it_is_not_the_end_of_the_file():
    assert split(HUNDRED, 10) == split(HUNDRED, 10)
    assert split(HUNDRED, 10).validation not in (HUNDRED[:10], HUNDRED[-10:])
    # Runs are compared over the years, so no change of this code may move it.
    assert [each.as_pair()[0] for each in split(HUNDRED, 5).validation] == FIVE_OF_THEM


def test_a_share_of_a_few_examples_is_one_at_least():
    assert [len(split(pairs("a", "b"), percent).validation) for percent in (0.1, 10, 50)] == [1, 1, 1]


@pytest.mark.parametrize("examples", [pairs("a"), pairs("a", "a", "a")])
def test_without_two_different_examples_there_is_no_split(examples):
    assert split(examples, 10) is None


@given(st.lists(st.sampled_from("abcdefgh"), min_size=2, max_size=40), st.floats(0.1, 50))
def test_no_example_is_in_both_parts_however_often_it_is_there(texts, percent):
    parts = split(pairs(*texts), percent)
    if parts is None:
        assert len(set(texts)) == 1
        return
    assert parts.training
    assert parts.validation
    assert not {*parts.training} & {*parts.validation}
    assert len(parts.training) + len(parts.validation) == len(texts)
