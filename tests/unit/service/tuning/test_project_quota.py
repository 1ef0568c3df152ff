"""Projects share the trainers, and one that has as many jobs in training as it may have waits."""

from dataclasses import replace

import pytest

from fakes import InMemoryExecutor
from tuningfork.domain.tuning_job import JobState
from tuningfork.service.tuning.project_quota import UNLIMITED_PROJECTS, ProjectQuota
from tuningfork.store.leases import ServerId
from workshop import ADA, BOB, build_workshop, number_request

BOB_BESIDE = replace(BOB, project=ADA.project)
"""Bob, with a key for Ada's project."""


@pytest.fixture
def servers(database, artifacts, clock, request):
    """Two servers on one database and one directory, with one quota for projects."""
    quota = getattr(request, "param", UNLIMITED_PROJECTS)
    executors = [InMemoryExecutor(clock) for _ in range(2)]
    yield [
        build_workshop(database, artifacts, clock, executor, server=ServerId(name), project_quota=quota)
        for name, executor in zip(("one", "two"), executors, strict=True)
    ]
    for executor in executors:
        executor.close()


@pytest.mark.parametrize("servers", [ProjectQuota(most=1)], indirect=True)
def test_two_servers_that_take_up_jobs_at_a_time_keep_to_the_quota_together(servers):
    one, two = servers
    first, second = (one.tuning.create(ADA, number_request()) for _ in range(2))
    # Both servers have looked at the queue before either takes a job up.
    turns = [each.running.turns.turn({}, 8).next for each in servers]
    assert {*turns[0]} == {*turns[1]} == {first.job.id, second.job.id}

    assert one.running.claim([first.job.id]) is not None
    assert two.running.claim([second.job.id]) is None
    assert one.job(second).state is JobState.QUEUED

    one.tuning.delete(ADA, first.model.id)
    assert two.running.claim([second.job.id]) is not None


def test_jobs_are_taken_up_project_by_project_then_owner_by_owner_then_by_age(servers):
    one, _ = servers
    carol = replace(ADA, email="carol@example.com", project="789")
    who = {"a1": ADA, "a2": ADA, "b1": BOB_BESIDE, "c1": carol, "c2": carol}
    names = {one.tuning.create(each, number_request()).job.id: name for name, each in who.items()}
    assert [names[job_id] for job_id in one.running.turns.turn({}, 8).next] == ["a1", "c1", "b1", "c2", "a2"]


def test_a_project_with_all_places_makes_room_for_one_with_none(servers):
    one, _ = servers
    running = {one.tuning.create(each, number_request()).job.id: 60.0 for each in (ADA, ADA, BOB_BESIDE)}
    for job_id in running:
        one.running.claim([job_id])
    one.tuning.create(BOB_BESIDE, number_request())
    assert one.running.turns.turn(running, 3).pause == frozenset()

    one.tuning.create(replace(ADA, email="carol@example.com", project="789"), number_request())
    [paused] = one.running.turns.turn(running, 3).pause
    assert paused in [*running][:2], "of an owner with two"
