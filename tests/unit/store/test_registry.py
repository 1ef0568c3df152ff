"""Models, versions and endpoints by their numbers."""

from dataclasses import replace

import pytest

from store_rows import grant, keep, model, new_job
from tuningfork.domain.checkpoint import endpoint_number
from tuningfork.domain.tuned_model import ProjectLocation
from tuningfork.store import access, checkpoints, registry, tuned_models, tuning_jobs

HERE = ProjectLocation("p", "us-central1")
ELSEWHERE = (ProjectLocation("p", "europe-west4"), ProjectLocation("q", "us-central1"))


def keep_here(database, name, **changes):
    made = replace(model(name), project=HERE.project, location=HERE.location, **changes)
    with database.write() as connection:
        made = registry.as_next_version(connection, made)
        tuned_models.insert(connection, made)
        tuning_jobs.insert(connection, new_job(name))
        access.grant(connection, grant(name, "ada@example.com"))
    return made


def test_a_model_is_found_by_its_number_in_its_project_and_location_only(database):
    made = keep_here(database, "a", labels={"team": "blue"})

    with database.read() as connection:
        assert registry.find_numbered(connection, HERE, made.number) == made
        assert [registry.find_numbered(connection, place, made.number) for place in ELSEWHERE] == [None, None]
        assert registry.find_numbered(connection, HERE, made.number + 1) is None


@pytest.mark.parametrize("number", [0, -1, 2**63, 10**40])
def test_numbers_that_no_row_can_have_are_not_found(database, number):
    with database.read() as connection:
        assert registry.find_numbered(connection, HERE, number) is None
        assert registry.find_version(connection, HERE, number) is None
        assert registry.find_endpoint(connection, HERE, number) is None


def test_a_model_with_a_parent_becomes_its_next_version_and_the_default_one(database):
    first = keep_here(database, "a")
    second = keep_here(database, "b", parent=first.registry_model)
    third = keep_here(database, "c", parent=first.registry_model)

    with database.read() as connection:
        versions = registry.versions_of(connection, HERE, first.registry_model)
        by_name = {
            name: registry.find_version(connection, HERE, first.registry_model, name)
            for name in ("1", "2", "3", "default", "4", "")
        }
        default = registry.find_version(connection, HERE, first.registry_model)
        elsewhere = [registry.versions_of(connection, place, first.registry_model) for place in ELSEWHERE]

    assert [(each.id, each.version, each.version_aliases) for each in versions] == [
        ("a", 1, ()),
        ("b", 2, ()),
        ("c", 3, ("default",)),
    ]
    assert {each.registry_model for each in versions} == {first.number}
    assert {name: found and found.id for name, found in by_name.items()} == {
        "1": "a",
        "2": "b",
        "3": "c",
        "default": "c",
        "4": None,
        "": None,
    }
    assert default == third
    assert second.version == 2
    assert elsewhere == [[], []]


def test_a_version_that_was_deleted_keeps_its_number_unless_it_was_the_last(database):
    first = keep_here(database, "a")
    keep_here(database, "b", parent=first.registry_model)
    keep_here(database, "c", parent=first.registry_model)
    with database.write() as connection:
        tuned_models.delete(connection, "a")

    assert keep_here(database, "d", parent=first.registry_model).version == 4


def test_a_checkpoint_is_found_at_its_endpoint_until_the_endpoint_is_deleted(database):
    made = keep_here(database, "a")
    with database.write() as connection:
        kept = checkpoints.add_checkpoint(connection, "a-job", step=1, epoch=0, artifact="adapters/x", metrics={})

    with database.read() as connection:
        assert kept.endpoint == endpoint_number("a-job", 1)
        assert registry.find_endpoint(connection, HERE, kept.endpoint) == (made, kept)
        assert [registry.find_endpoint(connection, place, kept.endpoint) for place in ELSEWHERE] == [None, None]

    with database.write() as connection:
        registry.set_deployed(connection, kept, deployed=False)
    with database.read() as connection:
        _, found = registry.find_endpoint(connection, HERE, kept.endpoint)
        assert (found.endpoint, found.answers_at) == (kept.endpoint, None)

    with database.write() as connection:
        registry.set_deployed(connection, kept, deployed=True)
        registry.remove_endpoint(connection, kept)
    with database.read() as connection:
        [left] = checkpoints.checkpoints_of(connection, "a-job")
        assert (left.endpoint, left.answers_at) == (None, None)
        assert registry.find_endpoint(connection, HERE, kept.endpoint) is None


def test_checkpoints_of_other_jobs_have_other_endpoints(database):
    keep(database, new_job("a"))
    keep(database, new_job("b"))
    with database.write() as connection:
        made = [
            checkpoints.add_checkpoint(connection, job, step=step, epoch=0, artifact="x", metrics={})
            for job in ("a-job", "b-job")
            for step in (1, 2)
        ]

    assert len({each.endpoint for each in made}) == 4
