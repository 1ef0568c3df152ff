"""Passes by transformers' code cannot be suspended, so they are kept small, and what cannot be small is said."""

import logging
from dataclasses import replace

import pytest

from tiny_models import CONTEXT_TOKENS
from training_runs import engine_over, job
from tuningfork.domain.conversation import Conversation
from tuningfork.modeling.loading import load_base
from tuningfork.training.undivided import UNDIVIDED_TOKENS, warn_if_long


@pytest.fixture
def by_transformers(tiny_llama):
    return replace(load_base(tiny_llama), decoder=None)


def test_a_large_batch_takes_passes_that_hold_nobody_up_for_long(by_transformers):
    long = tuple(Conversation.pair(letter * (CONTEXT_TOKENS - 100), letter) for letter in "abcdefghij")
    engine = engine_over(by_transformers)
    engine.admit(job("large", examples=long, batch_size=10))
    assert engine.advance() == []
    waiting = engine._jobs["large"].under_way.passes
    assert waiting
    assert all(sum(each.segment.tokens for each in group) <= UNDIVIDED_TOKENS for group in waiting)


def test_a_job_whose_example_is_too_long_for_that_is_named_once(by_transformers, tiny_llama, caplog):
    engine = engine_over(by_transformers)
    engine.admit(job("long"))
    admitted = engine._jobs["long"]
    with caplog.at_level(logging.WARNING):
        warn_if_long(by_transformers, admitted, UNDIVIDED_TOKENS)
        assert not caplog.records
        for _ in range(2):
            warn_if_long(by_transformers, admitted, UNDIVIDED_TOKENS + 1)
    [line] = [record.getMessage() for record in caplog.records]
    assert "job long has a pass of 2049 tokens, which cannot be suspended" in line


def test_passes_by_the_decoder_are_not_warned_of(loaded_llama, caplog):
    engine = engine_over(loaded_llama)
    engine.admit(job("long"))
    warn_if_long(loaded_llama, engine._jobs["long"], 10 * UNDIVIDED_TOKENS)
    assert not caplog.records
    engine.release("long")
