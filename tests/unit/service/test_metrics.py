"""What an operator can watch."""

import asyncio

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from tuningfork.service.metrics import Metrics
from tuningfork.wire.gemini.names import model_ref
from workshop import ADA, ask, number_request


@pytest.fixture
def value(workshop):
    return lambda name, **labels: workshop.metrics.registry.get_sample_value(f"tuningfork_{name}", labels)


def test_jobs_are_counted_in_the_database_by_state(workshop, value):
    for _ in range(3):
        workshop.tuning.create(ADA, number_request())
    workshop.advance()
    workshop.running.claim()

    counts = [value("tuning_jobs", state=state) for state in ("queued", "running", "succeeded", "failed", "cancelled")]
    assert counts == [1, 1, 1, 0, 0]
    assert value("tuning_queue_depth") == 1
    assert value("tuning_jobs_created_total") == 3


def test_steps_tokens_waits_and_runs_are_counted(workshop, value):
    workshop.tuning.create(ADA, number_request())
    workshop.clock.advance(seconds=20)
    workshop.advance()

    assert value("tuning_steps_total") == 19
    assert value("tuning_tokens_total") == 19 * 12
    assert value("tuning_queue_wait_seconds_count") == 1
    assert value("tuning_queue_wait_seconds_sum") == pytest.approx(20, abs=0.1)
    assert value("tuning_run_seconds_count", state="succeeded") == 1


def test_a_job_that_is_taken_up_again_has_waited_once(workshop, value):
    workshop.tuning.create(ADA, number_request())
    for _ in range(2):
        workshop.running.give_back(workshop.running.claim().job_id, died=True)
    assert value("tuning_queue_wait_seconds_count") == 1


def test_answers_are_counted_in_tokens_and_seconds(workshop, value):
    async def call():
        async for _ in (await workshop.generation.generate(ADA, model_ref("models/echo-001"), ask("a b c"))).chunks:
            pass

    asyncio.run(call())
    assert (value("generation_prompt_tokens_total"), value("generation_output_tokens_total")) == (3, 3)
    assert (value("generation_first_chunk_seconds_count"), value("generation_seconds_count")) == (1, 1)


def test_prompt_tokens_that_needed_no_reading_are_counted(workshop, value):
    async def call():
        for _ in range(2):
            async for _ in (await workshop.generation.generate(ADA, model_ref("models/echo-001"), ask("a b c"))).chunks:
                pass

    asyncio.run(call())
    assert value("generation_prompt_tokens_total") == 6
    assert value("generation_cached_prompt_tokens_total") == 2


def test_an_answer_that_was_left_counts_as_far_as_it_came(workshop, value):
    async def leave_after_one():
        chunks = (await workshop.generation.generate(ADA, model_ref("models/echo-001"), ask("a b c"))).chunks
        await anext(chunks)
        await chunks.aclose()

    asyncio.run(leave_after_one())
    assert value("generation_output_tokens_total") == 1


def test_deaths_are_counted_by_role(workshop, value):
    workshop.executor.break_generation(0)
    asyncio.run(workshop.generation.generate(ADA, model_ref("models/echo-001"), ask("a")))
    assert value("worker_deaths_total", role="generator") == 1


def test_everything_is_written_in_prometheus_form(workshop):
    assert b"# TYPE tuningfork_tuning_queue_depth gauge" in generate_latest(workshop.metrics.registry)


def test_tokens_are_shown_in_whole_steps():
    metrics = Metrics(CollectorRegistry(), token_step=1_000)
    shown = []
    for amount in (400, 599, 2, 2_500):
        metrics.prompt_tokens.inc(amount)
        shown.append(metrics.registry.get_sample_value("tuningfork_generation_prompt_tokens_total"))

    assert shown == [0, 0, 1_000, 3_000]
