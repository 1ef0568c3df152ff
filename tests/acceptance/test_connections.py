"""What a connection to the server feels like."""

import time

import pytest

pytestmark = pytest.mark.acceptance

DELAYED_ACKNOWLEDGEMENT_SECONDS = 0.04
"""How long a client's system holds its acknowledgement back, for which an answer in two pieces must not wait."""


def test_an_answer_does_not_wait_for_the_acknowledgement_of_its_own_head(server):
    with server.client() as client:
        # An answer that waits does so each time, so one quick answer is enough, and a busy machine may have many tries.
        assert any(_seconds_of(client, "/healthz") < DELAYED_ACKNOWLEDGEMENT_SECONDS / 2 for _ in range(300))


def _seconds_of(client, path):
    # The first answers of a connection are acknowledged at once: the client's system is still generous then.
    for _ in range(2):
        client.get(path)
    began = time.monotonic()
    assert client.get(path).status_code == 200
    return time.monotonic() - began
