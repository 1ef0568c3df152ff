"""Callers that leave, and callers that wait no longer: work for them ends when they do."""

import grpc
import pytest
from google.ai import generativelanguage_v1beta as api

from patience import PATIENCE_SECONDS, wait_until

SERVICE = "/google.ai.generativelanguage.v1beta.GenerativeService"
REQUEST = api.GenerateContentRequest.serialize(
    api.GenerateContentRequest(
        model="models/echo-001", contents=[api.Content(parts=[api.Part(text="one two three four")])]
    )
)


def stream(caller, **options):
    return caller.channel.unary_stream(f"{SERVICE}/StreamGenerateContent")(REQUEST, **options)


def wait_until_abandoned(executor):
    wait_until(lambda: executor.abandoned_generations, what="the generator works no longer for nobody")


def text(chunk):
    return api.GenerateContentResponse.deserialize(chunk).candidates[0].content.parts[0].text


def test_the_first_words_are_there_before_the_last_are_made(ada, executor):
    gate = executor.hold_generation(before_chunk=2)

    chunks = stream(ada)
    first = [text(next(chunks)), text(next(chunks))]
    gate.open()

    assert first == ["one ", "two "]
    assert [text(chunk) for chunk in chunks] == ["three ", "four"]


def test_a_stream_that_nobody_reads_on_is_not_generated_on(ada, executor):
    gate = executor.hold_generation(before_chunk=1)
    chunks = stream(ada)
    next(chunks)
    gate.wait_until_reached()

    chunks.cancel()

    wait_until_abandoned(executor)


def test_an_answer_that_nobody_waits_for_is_not_generated_on(ada, executor):
    gate = executor.hold_generation(before_chunk=1)
    answer = ada.channel.unary_unary(f"{SERVICE}/GenerateContent").future(REQUEST)
    gate.wait_until_reached()

    answer.cancel()

    wait_until_abandoned(executor)


@pytest.mark.parametrize("method", ["GenerateContent", "StreamGenerateContent"])
def test_a_deadline_ends_the_work(ada, executor, method):
    def has_begun_within(seconds):
        gate = executor.hold_generation(before_chunk=1)
        with pytest.raises(grpc.RpcError) as caught:
            list(ada.channel.unary_stream(f"{SERVICE}/{method}")(REQUEST, timeout=seconds))
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        return gate.reached.is_set()

    # On a busy machine the call has not come to the generator after a second.
    assert any(has_begun_within(seconds) for seconds in (1, 10, PATIENCE_SECONDS))
    wait_until_abandoned(executor)


def test_a_connection_that_breaks_ends_the_work(service, executor):
    gate = executor.hold_generation(before_chunk=1)
    with service.calling() as caller:
        chunks = stream(caller)
        next(chunks)
        gate.wait_until_reached()

    wait_until_abandoned(executor)


def test_a_generator_that_dies_midway_ends_the_stream_with_its_error(ada, executor):
    executor.break_generation(before_chunk=2)

    chunks = stream(ada)
    received = [text(next(chunks)), text(next(chunks))]

    assert received == ["one ", "two "]
    with pytest.raises(grpc.RpcError) as caught:
        next(chunks)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


def test_others_are_served_meanwhile(ada, executor):
    gate = executor.hold_generation(before_chunk=1)
    chunks = stream(ada)
    next(chunks)
    gate.wait_until_reached()

    assert ada.models.get_model(name="models/echo-001").name == "models/echo-001"
    gate.open()
    assert len(list(chunks)) == 3


def test_how_long_calls_take_is_counted_by_method_and_code(ada, workshop, executor):
    list(stream(ada))
    executor.hold_generation(before_chunk=1)
    chunks = stream(ada)
    next(chunks)
    chunks.cancel()
    wait_until_abandoned(executor)

    counted = workshop.metrics.registry.get_sample_value
    name = "tuningfork_grpc_request_seconds_count"
    for code in ("OK", "CANCELLED"):
        wait_until(lambda code=code: counted(name, {"method": "stream_generate_content", "code": code}) == 1)
