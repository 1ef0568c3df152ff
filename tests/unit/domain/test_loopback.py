"""Which names can only be this machine."""

import pytest

from tuningfork.domain.loopback import is_loopback


@pytest.mark.parametrize("host", ["localhost", "LocalHost", "localhost.", "127.0.0.1", "127.255.0.3", "::1", "[::1]"])
def test_a_name_that_can_only_be_this_machine(host):
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host", ["", "0.0.0.0", "::", "10.0.0.1", "localhost.example", "127.0.0.1.example", "2130706433", "127.1", "[]"]
)
def test_a_name_that_may_lead_elsewhere(host):
    assert not is_loopback(host)
