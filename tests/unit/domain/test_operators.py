"""Who runs a server."""

import pytest

from tuningfork.domain.errors import PermissionDenied
from tuningfork.domain.operators import Operators
from tuningfork.domain.permission import LOCAL_PRINCIPAL
from workshop import ADA, BOB


def test_the_machines_owner_runs_the_server_and_whoever_is_named():
    operators = Operators.of(["Ada@Example.com"])
    assert [operators.includes(each) for each in (LOCAL_PRINCIPAL, ADA, BOB)] == [True, True, False]


def test_everybody_else_is_told_who_may():
    with pytest.raises(PermissionDenied, match=r"Only whoever runs the server may stop it: .*TUNINGFORK_OPERATORS"):
        Operators().check(ADA, "stop it")
    Operators.of([ADA.email]).check(ADA, "stop it")


def test_what_is_no_address_names_nobody():
    with pytest.raises(ValueError, match=r"must be an address such as ada@example\.com"):
        Operators.of(["ada"])
