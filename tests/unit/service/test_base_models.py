"""Base models that cannot be used: who asks for one is told why, and the list says it."""

import asyncio
import random
from dataclasses import replace

import pytest

from fakes import ECHO_BASE, ECHO_CATALOG, InMemoryGenerators
from tuningfork.domain.base_model import BaseModel, BaseModelName, Catalog
from tuningfork.domain.references import BaseRef, TunedRef
from tuningfork.domain.refusals import BaseModelNotFound, BaseModelRefused
from tuningfork.service.answering.generation import Generation
from tuningfork.service.base_models import base_of, check_usable, resolve_names, with_faults
from tuningfork.service.tuning.running import Running
from tuningfork.service.tuning.tuning import Tuning
from tuningfork.store.schema import tuned_models, tuning_jobs
from tuningfork.wire.gemini.errors import message_of
from workshop import ADA, SERVER, ask, number_request

FAULTY = BaseModel(
    name=BaseModelName("models/faulty"),
    location="/faulty",
    display_name="Faulty",
    context_tokens=0,
    output_tokens=0,
    fault="config.json is no JSON object. Mend it",
)
CATALOG = Catalog((ECHO_BASE, FAULTY))


@pytest.fixture
def generators():
    return InMemoryGenerators()


@pytest.fixture
def generation(workshop, generators):
    return Generation(workshop.database, workshop.artifacts, CATALOG, generators, workshop.metrics)


def test_a_base_that_the_generator_refuses_is_refused_with_its_reason_and_tried_again(generators):
    echo = CATALOG.find("models/gemini-1.0-pro-001")
    check_usable(echo, generators)
    assert generators.warmed == []

    generators.refused = {ECHO_BASE.name: "its template loops"}
    with pytest.raises(BaseModelRefused) as refused:
        check_usable(echo, generators)

    assert (
        message_of(refused.value, "v1beta")
        == "Model models/gemini-1.0-pro-001 cannot be used on this server: its template loops."
    )
    assert generators.warmed == [ECHO_BASE.name]


def test_a_base_that_was_not_described_is_refused_for_every_use(generation, generators):
    with pytest.raises(BaseModelRefused, match=r"config\.json is no JSON object"):
        check_usable(CATALOG.find("faulty"), generators)
    with pytest.raises(BaseModelRefused):
        asyncio.run(generation.generate(ADA, BaseRef(FAULTY.name), ask("one")))
    with pytest.raises(BaseModelRefused):
        asyncio.run(generation.count_tokens(ADA, BaseRef(FAULTY.name), ask("one").prompt))


def test_the_list_says_what_cannot_be_used_under_every_name(generation, generators):
    generators.refused = {ECHO_BASE.name: "its template loops"}

    described = {model.name: model.description for model in generation.models()}

    assert described["models/faulty"] == "Cannot be used on this server: config.json is no JSON object. Mend it."
    assert described["models/gemini-1.0-pro-001"] == "Cannot be used on this server: its template loops."
    assert generation.model(BaseRef(FAULTY.name)).description == described["models/faulty"]
    generators.refused = {}
    assert {model.name: model.description for model in with_faults((CATALOG.find("echo-001"),), generators)} == {
        ECHO_BASE.name: ECHO_BASE.description
    }


def test_callers_are_told_no_directory_of_the_server(generators):
    base = replace(ECHO_BASE, location="/srv/models/echo")
    faulty = replace(FAULTY, location="/srv/models/faulty", fault="/srv/models/faulty/config.json is no JSON object")
    catalog = Catalog((base, faulty))
    generators.refused = {base.name: "there is no directory /srv/models/echo; check its location"}

    told = [model.description for model in with_faults(catalog.public_models(), generators)]
    for name in ("echo-001", "faulty"):
        with pytest.raises(BaseModelRefused) as refused:
            check_usable(catalog.find(name), generators)
        told.append(message_of(refused.value, "v1beta"))

    assert not any("/srv" in each for each in told)
    assert f"there is no directory {base.name}; check its location" in told[-2]
    assert "models/faulty/config.json is no JSON object" in told[-1]


LARGER = replace(ECHO_BASE, name=BaseModelName("models/larger"), location="/models/larger", aliases=ECHO_BASE.aliases)
MOVED = Catalog((replace(ECHO_BASE, aliases=()), LARGER))
"""The names of Gemini models mean another base than in `ECHO_CATALOG`."""


def running_with(workshop, catalog):
    """The use cases of jobs of a server that was started anew with these base models."""
    return Running(
        workshop.database,
        workshop.artifacts,
        catalog,
        workshop.clock,
        workshop.metrics,
        server=SERVER,
        savepoint_every=2,
    )


def test_a_job_is_trained_over_the_base_that_its_name_meant_when_it_was_created(workshop):
    workshop.tuning.create(ADA, number_request())

    assert running_with(workshop, MOVED).claim().base.name == ECHO_BASE.name


def test_a_source_whose_base_is_gone_while_its_name_means_another_is_refused_by_the_own_name(workshop):
    tuned = workshop.tuning.create(ADA, number_request())
    with pytest.raises(BaseModelNotFound) as refused:
        base_of(Catalog((LARGER,)), tuned.model)
    assert refused.value.model == BaseRef(ECHO_BASE.name)


def test_a_job_waits_if_the_base_that_its_name_meant_is_gone(workshop):
    workshop.tuning.create(ADA, number_request())

    assert running_with(workshop, Catalog((LARGER,))).claim() is None


def test_a_job_waits_if_the_name_of_its_base_is_an_alias_of_another_one_now(workshop):
    workshop.tuning.create(ADA, number_request())
    alias = replace(ECHO_BASE.aliases[0], name=ECHO_BASE.name)
    running = running_with(workshop, Catalog((replace(LARGER, aliases=(alias,)),)))

    assert running.claim() is None
    assert [job.base_model for job in running.turns.stranded()] == ["models/gemini-1.0-pro-001"]


def test_a_tuned_model_answers_over_the_base_that_its_name_meant(workshop):
    tuned = workshop.tuning.create(ADA, number_request())
    workshop.advance()
    generators = workshop.executor
    moved = Generation(workshop.database, workshop.artifacts, MOVED, generators, workshop.metrics)

    asyncio.run(moved.generate(ADA, TunedRef(tuned.model.id), ask("one")))

    assert [each.base.name for each in generators.generations] == [ECHO_BASE.name]


def test_a_model_that_is_tuned_further_keeps_the_base_of_its_source(workshop):
    source = workshop.tuning.create(ADA, number_request())
    workshop.advance()
    tuning = Tuning(
        workshop.database, workshop.artifacts, MOVED, workshop.clock, random.Random(1).getrandbits, workshop.metrics
    )

    further = tuning.create(ADA, number_request(base_model="", tuned_model_source=f"tunedModels/{source.model.id}"))

    assert (further.model.resolved_base, further.job.resolved_base) == (ECHO_BASE.name, ECHO_BASE.name)


def test_what_an_earlier_version_wrote_gets_the_base_that_its_name_means_at_the_first_start(workshop):
    tuned = workshop.tuning.create(ADA, number_request())
    with workshop.database.write() as connection:
        for table in (tuned_models, tuning_jobs):
            connection.execute(table.update().values(resolved_base=None))

    resolve_names(workshop.database, ECHO_CATALOG)
    resolve_names(workshop.database, MOVED)

    found = workshop.tuning.get(ADA, tuned.model.id)
    assert (found.model.resolved_base, found.job.resolved_base) == (ECHO_BASE.name, ECHO_BASE.name)
    assert running_with(workshop, MOVED).claim().base.name == ECHO_BASE.name
