import random
from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tuningfork.modeling.chat_template import RenderedRow
from tuningfork.training.batches import DataOrder, OwnedSegment, Segment, pack, split


def order(**different) -> DataOrder:
    return DataOrder(**({"example_count": 15, "epoch_count": 5, "batch_size": 4, "seed": 1} | different))


def all_batches(data: DataOrder) -> list[list[int]]:
    steps = -(-data.example_count * data.epoch_count // data.batch_size)
    return [data.batch(step) for step in range(1, steps + 1)]


def segment(header: list[int], output: list[int]) -> Segment:
    return Segment.of(RenderedRow.of(tuple(header), tuple(output)))


def test_the_tutorial_takes_nineteen_steps_and_its_last_batch_is_short():
    assert [len(batch) for batch in all_batches(order())] == [4] * 18 + [3]


@given(count=st.integers(1, 30), epochs=st.integers(1, 6), batch=st.integers(1, 40), seed=st.integers(0, 2**62))
def test_every_epoch_meets_every_example_once(count, epochs, batch, seed):
    data = order(example_count=count, epoch_count=epochs, batch_size=batch, seed=seed)
    met = [index for indices in all_batches(data) for index in indices]
    assert len(met) == count * epochs
    for epoch in range(epochs):
        assert sorted(met[epoch * count : (epoch + 1) * count]) == list(range(count))


def test_each_epoch_has_an_order_of_its_own():
    met = [index for batch in all_batches(order()) for index in batch]
    epochs = [tuple(met[start : start + 15]) for start in range(0, 75, 15)]
    assert len(set(epochs)) == 5


def test_the_order_is_the_seeds_on_every_machine_and_version():
    assert [order(seed=1).batch(step) for step in (1, 4, 19)] == [[5, 9, 6, 1], [11, 0, 14, 10], [5, 3, 4]]


@given(count=st.integers(1, 200), seed=st.integers(0, 2**62))
def test_each_order_sorts_the_draws_of_its_seed_and_epoch(count, seed):
    data = order(example_count=count, epoch_count=2, batch_size=count, seed=seed)
    for epoch in range(2):
        draw = random.Random(f"{seed}/{epoch}").random
        draws = [draw() for _ in range(count)]
        assert data.batch(epoch + 1) == sorted(range(count), key=draws.__getitem__)


def test_seeds_differ():
    assert all_batches(order(seed=1)) != all_batches(order(seed=2))


def test_first_places_are_spread_evenly():
    firsts = Counter(order(seed=seed, batch_size=1).batch(1)[0] for seed in range(3000))
    assert len(firsts) == 15
    assert max(firsts.values()) < 260
    assert min(firsts.values()) > 140


def test_a_pack_lays_segments_end_to_end_without_the_tokens_that_nothing_follows():
    packed = pack(
        [OwnedSegment(segment=segment([1, 2], [3, 4]), owner=0), OwnedSegment(segment=segment([5], [6, 7]), owner=1)]
    )
    assert packed.lengths == (3, 2)
    assert packed.ids_T.tolist() == [1, 2, 3, 5, 6]
    assert packed.positions_T.tolist() == [0, 1, 2, 0, 1]
    assert packed.owners_T.tolist() == [0, 0, 0, 1, 1]


def test_only_outputs_are_targets_each_predicted_one_token_before():
    packed = pack(
        [OwnedSegment(segment=segment([1, 2], [3, 4]), owner=0), OwnedSegment(segment=segment([5], [6, 7]), owner=1)]
    )
    assert packed.targets_N.tolist() == [3, 4, 6, 7]
    assert packed.predicting_N.tolist() == [1, 2, 3, 4]
    assert packed.owners_N.tolist() == [0, 0, 1, 1]


def test_a_first_token_that_nothing_comes_before_is_not_a_target():
    packed = pack([OwnedSegment(segment=segment([], [3, 4]), owner=0)])
    assert packed.targets_N.tolist() == [4]
    assert packed.predicting_N.tolist() == [0]


@pytest.mark.parametrize(
    ("limits", "groups"),
    [
        ({"max_tokens": 100, "max_targets": 100}, [[3, 5, 9, 2, 2]]),
        ({"max_tokens": 8, "max_targets": 100}, [[3, 5], [9], [2, 2]]),
        ({"max_tokens": 1, "max_targets": 100}, [[3], [5], [9], [2], [2]]),
        ({"max_tokens": 100, "max_targets": 2}, [[3, 5], [9, 2], [2]]),
    ],
)
def test_a_batch_is_cut_where_a_pass_is_full_and_never_inside_an_example(limits, groups):
    placed = [OwnedSegment(segment=segment([0] * (length - 1), [1]), owner=0) for length in (3, 5, 9, 2, 2)]
    cut = list(split(placed, **limits))
    assert [[each.segment.tokens for each in group] for group in cut] == groups
    assert [each for group in cut for each in group] == placed


def test_a_segment_counts_its_tokens_and_targets():
    one = segment([1, 2, 3], [4, 5])
    assert (one.tokens, one.targets, one.first_target) == (5, 2, 3)
    assert torch.equal(one.ids_T, torch.tensor([1, 2, 3, 4, 5], dtype=torch.int32))


def test_a_prefix_of_an_owners_segments_is_packed_once_where_that_saves_much():
    head = list(range(40))
    placed = [
        OwnedSegment(segment=segment([1, 2], [3]), owner=0),
        OwnedSegment(segment=segment([*head, 50], [60, 61]), owner=1),
        OwnedSegment(segment=segment([*head, 51, 52], [62]), owner=1),
    ]
    packed = pack(placed, share=True)
    assert packed.lengths == (2, 40, 2, 2)
    assert packed.prefixes == (None, None, 1, 1)
    assert packed.ids_T.tolist() == [1, 2, *head, 50, 60, 51, 52]
    assert packed.positions_T.tolist() == [0, 1, *range(40), 40, 41, 40, 41]
    assert packed.owners_T.tolist() == [0] * 2 + [1] * 44
    assert packed.targets_N.tolist() == [3, 60, 61, 62]
    assert packed.predicting_N.tolist() == [1, 42, 43, 45]
    assert packed.owners_N.tolist() == [0, 1, 1, 1]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param(segment([0] * 40, [1]), segment([0] * 40, [1]), id="up to the token that predicts"),
        pytest.param(segment([0] * 40, [1]), segment([0] * 33 + [5] * 7, [1]), id="up to where they differ"),
    ],
)
def test_a_token_that_predicts_is_never_shared(first, second):
    packed = pack([OwnedSegment(segment=each, owner=0) for each in (first, second)], share=True)
    begins = packed.lengths[0]
    assert begins == (39 if second.ids_T.equal(first.ids_T) else 33)
    assert packed.predicting_N.min() >= begins


def test_short_prefixes_are_not_shared():
    placed = [OwnedSegment(segment=segment([0] * 20, [1]), owner=0)] * 2
    assert pack(placed, share=True).lengths == (20, 20)
    assert pack([OwnedSegment(segment=segment([0] * 99, [1]), owner=0)], share=True).prefixes == (None,)
