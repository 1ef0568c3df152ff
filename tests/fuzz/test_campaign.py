"""A short campaign; the long one is `python tests/fuzz/campaign.py`, whose last result is in docs/log.md."""

import re

import pytest

from fuzz.campaign import fire
from fuzz.samples import ACTIVE, CREATING, FAILED, samples
from tuningfork.dialect.gemini.table import UseCases, bindings

ALL = samples("p1", dict.fromkeys((ACTIVE, CREATING, FAILED), "o1"))


def test_there_is_a_right_request_for_every_method():
    methods = bindings(UseCases(**dict.fromkeys(UseCases.__dataclass_fields__)))

    forgotten = [
        (each.verb, each.path)
        for each in methods
        if not any(
            sample.verb == each.verb and re.fullmatch(re.sub(r"{\w+:id}", "[^/:]+", f"/v1{each.path}"), sample.path)
            for sample in ALL
        )
    ]
    assert forgotten == []


@pytest.mark.slow
def test_no_mutated_request_breaks_the_server():
    report = fire(4_000, seed=7)

    assert report.faults == []
    assert sum(report.statuses.values()) == 4_000
    assert report.statuses[200] > 300
    # A warm server keeps what it has; the allocator's own breath is a few MiB.
    assert report.growth_mib() < 8
