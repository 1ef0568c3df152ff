"""Statistics of a training file follow fixed rules, in memory that does not grow with the file."""

import random
import statistics

from tuningfork.domain.conversation import Conversation, Preference, Speaker, Turn
from tuningfork.domain.data_statistics import (
    Bucket,
    DistributionBuilder,
    DroppedExample,
    StatisticsBuilder,
    billable_characters,
    cost_of,
)


def distribution(*values):
    builder = DistributionBuilder()
    for value in values:
        builder.add(value)
    return builder.finish()


def ranges(found):
    return [(bucket.left, bucket.right) for bucket in found.buckets]


def test_the_buckets_are_those_of_the_published_job():
    found = distribution(*range(3, 238))

    assert ranges(found) == [(3, 42), (43, 81), (82, 120), (121, 159), (160, 198), (199, 237)]
    assert [bucket.count for bucket in found.buckets] == [40, 39, 39, 39, 39, 39]


def test_empty_buckets_are_left_out():
    # [1, 101) in six parts: the border after the first is 1 + 100 / 6 = 17.67, so it ends at 17.
    assert distribution(1, 1, 100).buckets == (Bucket(count=2, left=1, right=17), Bucket(count=1, left=85, right=100))


def test_equal_values_have_one_bucket():
    assert distribution(2, 2, 2).buckets == (Bucket(count=3, left=2, right=2),)


def test_neighbouring_values_have_a_bucket_each():
    assert ranges(distribution(7, 8)) == [(7, 7), (8, 8)]


def test_every_value_is_in_one_bucket():
    drawn = random.Random(5)
    for _ in range(200):
        values = [drawn.randrange(drawn.choice([3, 50, 5_000])) for _ in range(drawn.randrange(1, 60))]
        found = distribution(*values)
        assert sum(bucket.count for bucket in found.buckets) == len(values)
        assert all(
            bucket.count == sum(bucket.left <= value <= bucket.right for value in values) for bucket in found.buckets
        )


def test_percentiles_are_values_that_occur():
    found = distribution(*range(10, 210, 10))

    # Of twenty values, the 5th percentile is the first and the 95th the nineteenth.
    assert (found.p5, found.p95) == (10, 190)
    assert (found.min, found.max, found.sum, found.billable_sum) == (10, 200, 2100, 2100)


def test_the_median_of_an_even_number_of_values_lies_between_the_middle_ones():
    assert distribution(1, 2, 4, 100).median == 3.0
    assert distribution(1, 2, 100).median == 2.0


def test_mean_and_median_are_the_usual_ones():
    drawn = random.Random(6)
    values = [drawn.randrange(1_000) for _ in range(333)]
    found = distribution(*values)

    assert found.mean == statistics.fmean(values)
    assert found.median == statistics.median(values)


def test_no_values_have_sizes_of_zero_and_no_bucket():
    found = distribution()

    assert (found.sum, found.max, found.mean, found.buckets) == (0, 0, 0.0, ())


def test_billed_characters_are_those_that_are_not_white_space():
    assert billable_characters(" a b\n\u00a0\u4f60\u2003") == 3


def collected(*examples):
    builder = StatisticsBuilder()
    for example in examples:
        builder.add(example, messages=2, input_tokens=10, output_tokens=4)
    return builder


def test_all_texts_of_the_examples_that_were_kept_are_counted():
    builder = collected(
        Conversation(turns=Conversation.pair("a b", "c").turns, system_instruction="! !"),
        Conversation.pair("\u4f60", " "),
    )
    builder.drop("too long")
    found = builder.finish()

    assert (found.examples, found.dropped) == (3, 1)
    assert (found.characters, found.billable_characters) == (3 + 1 + 3 + 1 + 1, 2 + 1 + 2 + 1 + 0)
    assert found.billable_tokens == 2 * (10 + 4)
    assert found.input_tokens.billable_sum == 20
    assert found.messages.sum == 4


def test_the_first_three_examples_are_shown_with_long_texts_cut():
    found = collected(*(Conversation.pair(str(number), "x" * (399 + number)) for number in range(5))).finish()

    assert found.first_turns == (
        Turn.said(Speaker.USER, "0"),
        Turn.said(Speaker.MODEL, "x" * 399),
        Turn.said(Speaker.USER, "1"),
        Turn.said(Speaker.MODEL, "x" * 400),
        Turn.said(Speaker.USER, "2"),
        Turn.said(Speaker.MODEL, "x" * 397 + "..."),
    )


def test_a_preference_is_shown_with_its_chosen_answer():
    prompt = Conversation(turns=(Turn.said(Speaker.USER, "1"),))
    found = collected(Preference(prompt=prompt, chosen=("22",), rejected=("333",))).finish()

    assert found.first_turns == (Turn.said(Speaker.USER, "1"), Turn.said(Speaker.MODEL, "22"))
    assert found.characters == 6


def test_dropped_examples_are_told_by_their_place_from_one_and_only_the_first_hundred():
    builder = StatisticsBuilder()
    builder.add(Conversation.pair("a", "b"), messages=2, input_tokens=1, output_tokens=1)
    for number in range(150):
        builder.drop(f"reason {number}")
    found = builder.finish()

    assert found.dropped == 150
    assert found.dropped_sample[0] == DroppedExample(number=2, reason="reason 0")
    assert len(found.dropped_sample) == 100


def test_a_cost_is_of_all_epochs():
    assert cost_of(500_000, 3, 2.0) == 3.0
