"""A model whose weights are gone says so, in the same words to whoever gets, asks or exports it, and names no path."""

import asyncio
import logging
import shutil

import pytest

from tuningfork.domain.errors import Code, NotFound
from tuningfork.domain.references import TunedRef
from tuningfork.domain.refusals import WeightsLost
from tuningfork.execution.base import GenerationAssignment
from tuningfork.wire.gemini.errors import message_of
from workshop import ADA, ask, number_request


@pytest.fixture
def tuned(workshop):
    made = workshop.tuning.create(ADA, number_request())
    workshop.advance()
    return made


def lose(artifacts, tuned, how):
    directory = artifacts.adapter_directory(tuned.job.id)
    if how == "missing":
        shutil.rmtree(directory)
        return
    file = next(directory.iterdir())
    content = file.read_bytes()
    file.write_bytes(content + b"more" if how == "damaged" else bytes(len(content)))


class Reading:
    """Generators that read the adapter as real ones do, and fail as they do."""

    def __init__(self, artifacts):
        self._store = artifacts.store

    async def generate(self, assignment: GenerationAssignment):
        with self._store.reading(assignment.adapter, verified=True):
            pass
        return
        yield


@pytest.mark.parametrize("how", ["missing", "damaged"])
def test_getting_asking_and_exporting_give_one_error(workshop, artifacts, tuned, how):
    lose(artifacts, tuned, how)
    workshop.generation._generators = Reading(artifacts)
    calls = {
        "get": lambda: workshop.tuning.get(ADA, tuned.model.id),
        "export": lambda: workshop.tuning.adapter_directory(ADA, tuned.model.id),
        "ask": lambda: asyncio.run(workshop.generation.generate(ADA, TunedRef(tuned.model.id), ask("1"))),
    }

    told = {}
    for name, call in calls.items():
        with pytest.raises(WeightsLost) as refused:
            call()
        told[name] = message_of(refused.value, "v1beta")
        assert refused.value.code is Code.FAILED_PRECONDITION

    assert len(set(told.values())) == 1
    assert told["get"].startswith(f"Tuned model tunedModels/{tuned.model.id} cannot be used: its weights are {how}")
    assert str(artifacts.store.root) not in told["get"]


def test_damage_that_only_its_content_tells_is_told_by_all_once_it_was_found(workshop, artifacts, tuned):
    whole = {file: file.read_bytes() for file in artifacts.adapter_directory(tuned.job.id).iterdir()}
    lose(artifacts, tuned, "of the same size")
    workshop.generation._generators = Reading(artifacts)
    calls = [
        lambda: asyncio.run(workshop.generation.generate(ADA, TunedRef(tuned.model.id), ask("1"))),
        lambda: workshop.tuning.get(ADA, tuned.model.id),
        lambda: workshop.tuning.adapter_directory(ADA, tuned.model.id),
    ]

    # Nobody has read the files yet.
    assert workshop.tuning.get(ADA, tuned.model.id).model.id == tuned.model.id
    told = set()
    for call in calls:
        with pytest.raises(WeightsLost) as refused:
            call()
        told.add(message_of(refused.value, "v1beta"))
    for file, content in whole.items():
        file.unlink()
        file.write_bytes(content)

    assert len(told) == 1
    assert "its weights are damaged" in told.pop()
    assert workshop.tuning.get(ADA, tuned.model.id).model.id == tuned.model.id


def test_a_model_without_weights_is_listed_changed_and_deleted_as_before(workshop, artifacts, tuned):
    lose(artifacts, tuned, "missing")

    assert [each.model.id for each in workshop.tuning.list(ADA).items] == [tuned.model.id]
    assert workshop.tuning.get_operation(ADA, tuned.model.id, tuned.job.id).job.state.is_final
    workshop.tuning.delete(ADA, tuned.model.id)
    with pytest.raises(NotFound):
        workshop.tuning.get(ADA, tuned.model.id)


def test_a_model_whose_files_another_server_has_can_be_read_here(workshop, artifacts, tuned):
    for path in (artifacts.adapter_directory(tuned.job.id), artifacts.dataset_path(tuned.job.id)):
        shutil.rmtree(path) if path.is_dir() else path.unlink()

    assert workshop.tuning.get(ADA, tuned.model.id).model.id == tuned.model.id


def test_a_start_says_which_models_lack_what(workshop, artifacts, tuned, caplog):
    workshop.running.sweep()
    assert [each for each in caplog.records if getattr(each, "action", "") == "files_missing"] == []
    lose(artifacts, tuned, "missing")

    workshop.running.sweep()

    [line] = [each for each in caplog.records if getattr(each, "action", "") == "files_missing"]
    assert f"{tuned.model.id} (weights: missing)" in line.getMessage()
    assert line.levelno == logging.WARNING
