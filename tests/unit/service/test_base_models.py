"""Base models that cannot be used: who asks for one is told why, and the list says it."""

import asyncio
from dataclasses import replace

import pytest

from fakes import ECHO_BASE, InMemoryGenerators
from tuningfork.domain.base_model import BaseModel, BaseModelName, Catalog
from tuningfork.domain.references import BaseRef
from tuningfork.domain.refusals import BaseModelRefused
from tuningfork.service.answering.generation import Generation
from tuningfork.service.base_models import check_usable, with_faults
from tuningfork.wire.gemini.errors import message_of
from workshop import ADA, ask

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
