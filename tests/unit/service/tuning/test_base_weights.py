"""A base model whose weights were replaced: its tuned models say so, in the same words to whoever gets or asks them."""

import asyncio
import logging
from dataclasses import replace

import pytest

import peft_adapters
from fakes import ECHO_BASE
from tuningfork.artifacts.base import AdapterOfOtherWeights
from tuningfork.domain.base_model import Catalog
from tuningfork.domain.errors import Code
from tuningfork.domain.references import TunedRef
from tuningfork.domain.refusals import BaseReplaced
from tuningfork.service.tuning.base_weights import fingerprint_now
from tuningfork.store import tuning_jobs
from tuningfork.wire.gemini.errors import message_of
from workshop import ADA, ask, number_request


@pytest.fixture
def base(workshop, tmp_path):
    """The base model of the workshop, with weights in a directory."""
    directory = tmp_path / "base"
    directory.mkdir()
    (directory / "config.json").write_text("{}")
    replace_weights(directory, seed=1)
    found = replace(ECHO_BASE, location=str(directory))
    for each in (workshop.tuning, workshop.generation, workshop.running):
        each._catalog = Catalog((found,))
    return found


def replace_weights(directory, seed):
    aside = directory / "aside"
    aside.write_bytes(peft_adapters.weights(seed=seed))
    aside.replace(directory / "model.safetensors")


@pytest.fixture
def tuned(workshop, base):
    made = workshop.tuning.create(ADA, number_request())
    workshop.advance()
    return made


def trained_on(artifacts, tuned, fingerprint):
    """Let the model's adapter say over which weights it was trained, as the trainer does; None: it says nothing."""
    ref = artifacts.adapter(tuned.job.id)
    artifacts.store.delete(ref)
    with artifacts.store.writing(ref) as place:
        place.mkdir(parents=True)
        (place / "adapter_config.json").write_bytes(peft_adapters.config())
        header = {} if fingerprint is None else {"__metadata__": {"base_fingerprint": fingerprint}}
        (place / "adapter_model.safetensors").write_bytes(peft_adapters.weights(**header))


class Comparing:
    """Generators that compare an adapter's weights with those of the base, as real ones do."""

    def __init__(self, base):
        self.base, self.asked = base, []

    async def generate(self, assignment):
        self.asked.append(assignment.base_fingerprint)
        if assignment.base_fingerprint not in (None, fingerprint_now(self.base)):
            raise AdapterOfOtherWeights
        return
        yield


def answer(workshop, tuned):
    return asyncio.run(workshop.generation.generate(ADA, TunedRef(tuned.model.id), ask("1")))


def test_getting_and_tuning_on_a_model_of_other_weights_are_refused(workshop, artifacts, base, tuned, tmp_path):
    trained_on(artifacts, tuned, fingerprint_now(base))
    assert workshop.tuning.get(ADA, tuned.model.id).model.id == tuned.model.id
    further = replace(number_request(), base_model="", source=TunedRef(tuned.model.id), tuned_model_id="further")

    replace_weights(tmp_path / "base", seed=2)
    for call in (lambda: workshop.tuning.get(ADA, tuned.model.id), lambda: workshop.tuning.create(ADA, further)):
        with pytest.raises(BaseReplaced) as refused:
            call()
        assert refused.value.code is Code.FAILED_PRECONDITION
        told = message_of(refused.value, "v1beta")
        assert "made over other weights than its base model has" in told
        assert "put the earlier weights back" in told
        assert str(tmp_path) not in told

    replace_weights(tmp_path / "base", seed=1)
    assert workshop.tuning.create(ADA, further).model.id == "further"


def test_of_a_model_that_says_nothing_the_weights_count_that_are_there_when_it_is_first_served(
    workshop, artifacts, base, tuned, tmp_path, caplog
):
    """So are adapters of earlier versions, and those that were trained elsewhere."""
    caplog.set_level(logging.INFO)
    trained_on(artifacts, tuned, None)
    workshop.generation._generators = generators = Comparing(base)
    before = fingerprint_now(base)
    answer(workshop, tuned)
    answer(workshop, tuned)
    assert generators.asked == [before, before]
    [noted] = [each.getMessage() for each in caplog.records if getattr(each, "action", "") == "base_noted"]
    assert noted.startswith(f"tuned model {tuned.model.id} does not say over which weights it was made")
    assert "those that models/echo-001 has now count" in noted

    replace_weights(tmp_path / "base", seed=2)
    with pytest.raises(BaseReplaced):
        answer(workshop, tuned)
    with pytest.raises(BaseReplaced):
        workshop.tuning.get(ADA, tuned.model.id)
    replace_weights(tmp_path / "base", seed=1)
    answer(workshop, tuned)


def test_nothing_is_recorded_of_a_model_whose_adapter_says_it_itself(workshop, artifacts, base, tuned):
    trained_on(artifacts, tuned, fingerprint_now(base))
    workshop.generation._generators = generators = Comparing(base)
    answer(workshop, tuned)

    assert generators.asked == [None]
    with workshop.database.read() as connection:
        assert tuning_jobs.base_fingerprint(connection, tuned.model.id) is None


def test_what_is_recorded_first_stays(workshop, tuned):
    with workshop.database.write() as connection:
        for fingerprint in ("first", "second"):
            tuning_jobs.note_base_fingerprint(connection, tuned.model.id, fingerprint)
        tuning_jobs.note_base_fingerprint(connection, "nobody", "third")
    with workshop.database.read() as connection:
        assert tuning_jobs.base_fingerprint(connection, tuned.model.id) == "first"


def test_a_base_whose_files_are_gone_is_not_compared(workshop, artifacts, base, tuned, tmp_path):
    trained_on(artifacts, tuned, "another")
    (tmp_path / "base" / "model.safetensors").unlink()

    assert fingerprint_now(base) is None
    assert workshop.tuning.get(ADA, tuned.model.id).model.id == tuned.model.id
