"""Examples are read and rendered in pieces, between which other jobs have their turns."""

import itertools

import pytest
import torch

from training_runs import engine_over, job, run_to_the_end, weights_of
from tuningfork.domain.conversation import Conversation, Speaker, Turn
from tuningfork.training.effort import Effort, Efforts
from tuningfork.training.jobs import Validation
from tuningfork.training.reports import ExamplesRefused

ROUND = Conversation(turns=tuple(Turn.said(speaker, "x") for speaker in (Speaker.USER, Speaker.MODEL) * 2))
"""An example that is rendered for the check, since it is no pair."""


class Source:
    """So many examples; counts how many were read."""

    def __init__(self, count, example=None):
        self.reads = 0
        self._count = count
        self._example = example

    def __len__(self):
        return self._count

    def __getitem__(self, index):
        self.reads += 1
        return self._example or Conversation.pair(str(index), str(index + 1))


def large(source, **different):
    settings = {"examples": source, "dataset_digest": "d", "epoch_count": 1, "batch_size": 1_000, "owner": "ada"}
    return job("large", **settings | different)


def pieces_of_a_batch(engine, source):
    """How many examples each pass reads until the first batch of a thousand is rendered, and whose steps are made.

    Sixteen were rendered for the digest.
    """
    pieces, made = [], []
    source.reads = 0
    while source.reads < 1_000 - 16:
        before = source.reads
        made += [report.job_id for report in engine.advance()]
        pieces.append(source.reads - before)
    return pieces, made


@pytest.mark.parametrize("jobs_per_step", [1, 4])
def test_others_have_as_many_turns_as_a_large_batch_has_pieces(loaded_llama, jobs_per_step):
    source = Source(1_000)
    engine = engine_over(loaded_llama, jobs_per_step)
    engine.admit(large(source))
    engine.admit(job("small", epoch_count=100, owner="ben"))
    pieces, made = pieces_of_a_batch(engine, source)

    assert max(pieces) < 300
    assert set(made) == {"small"}
    assert len(made) >= len([piece for piece in pieces if piece > 1]) - 1 >= 3


def test_a_slow_template_is_bounded_by_time(loaded_llama):
    seconds = itertools.count(0, 0.1)
    source = Source(1_000)
    engine = engine_over(loaded_llama, monotonic=lambda: next(seconds))
    engine.admit(large(source))
    pieces, _ = pieces_of_a_batch(engine, source)

    assert max(pieces) <= 3


def test_a_job_that_is_admitted_beside_others_is_checked_for_a_moment_only(loaded_llama):
    seconds = itertools.count(0, 0.1)
    engine = engine_over(loaded_llama, monotonic=lambda: next(seconds))
    alone, beside = Source(500, ROUND), Source(500, ROUND)
    engine.admit(large(alone, batch_size=2))
    engine.admit(job("beside", examples=beside, dataset_digest="d", epoch_count=1, batch_size=2))

    assert alone.reads >= 500
    # Sixteen examples are rendered for the digest.
    assert beside.reads <= 20


def test_a_fault_in_the_validation_set_is_found_early_also_where_no_time_is_left_for_looking(loaded_llama):
    seconds = itertools.count(0, 1)
    engine = engine_over(loaded_llama, monotonic=lambda: next(seconds))
    engine.admit(job("other", epoch_count=1_000))
    faulty = Validation(examples=(*(ROUND,) * 9, Conversation.pair("x" * 600, "y")))
    engine.admit(job("faulty", epoch_count=20, batch_size=1, validation=faulty))
    admitted = engine._jobs["faulty"]
    with pytest.raises(ExamplesRefused) as caught:
        run_to_the_end(engine)

    assert [each.field for each in caught.value.violations] == ["validation[9]"]
    assert admitted.completed <= 2 * 10


def test_the_pieces_change_no_bit_of_what_is_trained(loaded_llama):
    engine = engine_over(loaded_llama)
    engine.admit(large(Source(1_000)))
    engine.admit(job("small", owner="ben"))
    run_to_the_end(engine)
    disturbed_P = weights_of(engine, "large")
    engine.release("large")
    whole = engine_over(loaded_llama)
    whole.admit(large(Source(1_000)))
    whole._jobs["large"].next_batch()
    run_to_the_end(whole)

    assert torch.equal(weights_of(whole, "large"), disturbed_P)


def test_effort_is_spent_by_what_is_read_and_rendered_or_lapses():
    pair = Conversation.pair("a" * 60, "b" * 4)
    effort = Effort(200)
    effort.spend_reading(pair)
    assert effort.characters == 182
    assert not effort.is_spent
    effort.spend_rendering(pair)
    assert effort.is_spent

    now = [5.0]
    effort = Efforts(lambda: now[0]).before_pass()
    assert not effort.is_spent
    now[0] = 6.0
    assert effort.is_spent
