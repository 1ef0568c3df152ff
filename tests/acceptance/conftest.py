"""One server with the embedded base model for all stories that do not harm it."""

import pytest

import live_server


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    with live_server.running(tmp_path_factory.mktemp("server")) as running:
        yield running
