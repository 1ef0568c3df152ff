"""Every checkpoint of a tuned model can be asked for text, by those who may ask the model."""

import asyncio
from dataclasses import replace

import pytest

from tuningfork.domain.artifact import ArtifactRef
from tuningfork.domain.errors import FailedPrecondition, NotFound, PermissionDenied
from tuningfork.domain.references import CheckpointRef, TunedRef
from tuningfork.execution.base import Finished, Stepped
from tuningfork.store import checkpoints
from workshop import ADA, BOB, ask, number_request, residency_of


@pytest.fixture
def tuned(workshop):
    return workshop.tuning.create(ADA, number_request(tuned_model_id="numbers", temperature=0.25))


def keep_early(workshop, tuned):
    """A checkpoint under way that knows one thing only."""
    assignment = workshop.running.claim()
    early = assignment.work.below("early")
    with workshop.artifacts.store.writing(early) as directory:
        directory.mkdir()
        (directory / "answers.json").write_text('{"known": {"8": "early"}}')
    workshop.running.checkpoint_kept(tuned.job.id, 2, 0, early)
    workshop.running.give_back(tuned.job.id, died=False)


def early_of(tuned):
    return ArtifactRef(f"checkpoints/{tuned.job.id}/00000002-1")


def train(workshop):
    """Take the job to its end."""
    assignment = workshop.running.claim()
    for event in workshop.executor.train(assignment):
        match event:
            case Stepped(snapshot=snapshot, tokens=tokens):
                workshop.running.record(assignment.job_id, snapshot, tokens)
            case Finished(adapter=adapter):
                workshop.running.finish(assignment.job_id, adapter)


def said(workshop, ref, principal=ADA):
    async def call():
        answer = await workshop.generation.generate(principal, ref, ask("8"))
        return "".join([chunk.text async for chunk in answer.chunks])

    return asyncio.run(call())


def asked(workshop, ref, principal=ADA):
    """What the generator was asked for."""
    said(workshop, ref, principal)
    return workshop.executor.generations[-1]


def test_a_checkpoint_answers_with_its_own_weights_and_its_models_defaults(workshop, tuned):
    keep_early(workshop, tuned)
    train(workshop)
    early, last = CheckpointRef(tuned.model.id, 1), CheckpointRef(tuned.model.id, 2)

    assert [said(workshop, ref) for ref in (early, last)] == ["early", "9"]
    assert asked(workshop, early).adapter == early_of(tuned)
    assert asked(workshop, last).adapter == workshop.artifacts.adapter(tuned.job.id)
    assert asked(workshop, early).sampling == replace(asked(workshop, last).sampling, temperature=0.25)


def test_a_model_answers_with_its_default_checkpoint(workshop, tuned):
    keep_early(workshop, tuned)
    train(workshop)
    assert asked(workshop, TunedRef(tuned.model.id)).adapter == workshop.artifacts.adapter(tuned.job.id)
    with workshop.database.write() as connection:
        checkpoints.set_default(connection, tuned.model.id, 1)

    early = early_of(tuned)
    assert asked(workshop, TunedRef(tuned.model.id)).adapter == early
    residency = residency_of(workshop, tuned.model.id)
    residency.refresh()
    assert workshop.executor.kept[-1][1] == {early}


@pytest.mark.parametrize("number", [0, 3])
def test_a_checkpoint_that_there_is_not_is_not_found(workshop, tuned, number):
    keep_early(workshop, tuned)
    train(workshop)
    with pytest.raises(NotFound):
        asked(workshop, CheckpointRef(tuned.model.id, number))


def test_a_checkpoint_of_a_model_that_is_being_made_answers_while_the_model_does_not(workshop, tuned):
    keep_early(workshop, tuned)
    assert asked(workshop, CheckpointRef(tuned.model.id, 1)).adapter == early_of(tuned)
    with pytest.raises(FailedPrecondition):
        asked(workshop, TunedRef(tuned.model.id))


def test_who_may_not_ask_a_model_may_not_ask_its_checkpoints(workshop, tuned):
    keep_early(workshop, tuned)
    train(workshop)
    for number in (1, 9):
        with pytest.raises(PermissionDenied):
            asked(workshop, CheckpointRef(tuned.model.id, number), BOB)
