"""A run that stops early is the beginning of the whole run, and its best checkpoint the weights of that step."""

import json
from dataclasses import replace

import pytest

from tuningfork.artifacts.local import LocalArtifactStore
from tuningfork.domain.artifact import ArtifactRef
from tuningfork.domain.base_model import AdapterShape
from tuningfork.domain.checkpoint_schedule import CheckpointSchedule
from tuningfork.domain.early_stopping import EarlyStopping, best_of
from tuningfork.domain.hyperparameters import Hyperparameters
from tuningfork.domain.tuning_job import JobId
from tuningfork.execution.base import (
    LAST_EVENTS,
    CheckpointKept,
    Evaluated,
    Finished,
    Paused,
    Resumed,
    Stepped,
    TrainingAssignment,
)
from tuningfork.execution.local.messages import Admit, JobEvent, Pause
from tuningfork.execution.local.trainer_process import Trainer

LEARNED = (("1", "2"), ("3", "2"), ("5", "2"), ("7", "2"))
# At first the model learns where an answer ends. Then it becomes sure of an answer that is not this one.
CONTRADICTED = (("1", "7"), ("3", "7"))
TOTAL_STEPS = 24


@pytest.fixture
def store(tmp_path):
    return LocalArtifactStore(tmp_path)


def written(store, name, pairs):
    ref = ArtifactRef(f"datasets/{name}.jsonl")
    with store.writing(ref) as path:
        lines = [json.dumps({"text_input": given, "output": wanted}) for given, wanted in pairs]
        path.write_text("\n".join(lines) + "\n")
    return ref


@pytest.fixture
def assignment(store, tiny_llama):
    return TrainingAssignment(
        job_id=JobId("job"),
        base=tiny_llama,
        dataset=written(store, "job", LEARNED),
        validation=written(store, "held", CONTRADICTED),
        evaluate_every=1,
        work=ArtifactRef("work/job"),
        hyperparameters=Hyperparameters(epoch_count=12, batch_size=2, learning_rate=0.004),
        adapter=AdapterShape(rank=4, alpha=8.0),
        seed=7,
        savepoint_every=3,
    )


def stopping(assignment, patience=3):
    return replace(assignment, keep_best=True, early_stopping=EarlyStopping(patience=patience))


def trained(store, assignment, *, pauses=(), dies=(), look=lambda: None):
    """All events of the job. After the steps in `pauses` it is paused; after those in `dies` its trainer is dropped."""
    events, pauses, dies = [], list(pauses), list(dies)
    trainer = Trainer(store)
    said = [*trainer.obey(Admit(assignment))]
    while True:
        events += [each.event for each in said if isinstance(each, JobEvent)]
        look()
        last = next((each for each in reversed(events) if isinstance(each, Stepped)), None)
        step = last.snapshot.step if last else 0
        if isinstance(events[-1], LAST_EVENTS) and not isinstance(events[-1], Paused):
            return events
        if dies and step >= dies[0]:
            dies.pop(0)
            trainer = Trainer(store)
            said = [*trainer.obey(Admit(assignment))]
        elif isinstance(events[-1], Paused):
            trainer = Trainer(store)
            said = [*trainer.obey(Admit(assignment))]
        else:
            if pauses and step >= pauses[0]:
                pauses.pop(0)
                [*trainer.obey(Pause(assignment.job_id))]
            said = [*trainer.advance()]


def content(store, ref):
    with store.reading(ref) as directory:
        return (directory / "adapter_model.safetensors").read_bytes()


def losses(events):
    """The loss of each step, the last report of it."""
    return {each.snapshot.step: each.snapshot.mean_loss for each in events if isinstance(each, Stepped)}


def evaluations(events):
    return {each.evaluation.step: each.evaluation for each in events if isinstance(each, Evaluated)}


def whole(store, assignment):
    """The run without any of it: its events, and its weights after each step."""
    scheduled = replace(
        assignment, work=ArtifactRef("work/whole"), checkpoints=CheckpointSchedule(steps_every=1), savepoint_every=0
    )
    events = trained(store, scheduled)
    weights = {each.step: content(store, each.adapter) for each in events if isinstance(each, CheckpointKept)}
    return events, weights | {TOTAL_STEPS: content(store, events[-1].adapter)}


def test_it_ends_at_its_step_as_the_beginning_of_the_whole_run_with_the_best_weights_kept(store, assignment):
    all_events, weights = whole(store, assignment)
    events = trained(store, stopping(assignment))

    assert isinstance(events[-1], Finished)
    shown = evaluations(events)
    best, last = best_of([*shown.values()]).step, max(losses(events))
    assert 1 < best < last < TOTAL_STEPS
    assert last == best + 3
    assert losses(events) == {step: loss for step, loss in losses(all_events).items() if step <= last}
    assert {step: (each.mean_loss, each.right_targets) for step, each in shown.items()} == {
        step: (each.mean_loss, each.right_targets) for step, each in evaluations(all_events).items() if step <= last
    }
    assert content(store, events[-1].adapter) == weights[last]
    kept = [each for each in events if isinstance(each, CheckpointKept)]
    assert kept[-1].step == best
    assert content(store, kept[-1].adapter) == weights[best]
    assert weights[best] != weights[last]


@pytest.mark.parametrize("how", ["pauses", "dies"])
def test_pauses_and_deaths_change_neither_the_step_nor_a_bit(store, assignment, how):
    undisturbed = trained(store, replace(stopping(assignment), work=ArtifactRef("work/undisturbed")))
    last = max(losses(undisturbed))
    events = trained(store, stopping(assignment), **{how: (2, 4, last - 1)})

    assert len([each for each in events if isinstance(each, Resumed)]) == 4
    assert losses(events) == losses(undisturbed)
    assert content(store, events[-1].adapter) == content(store, undisturbed[-1].adapter)
    # Earlier ones are removed when a better one is there.
    found, wanted = ([each for each in run if isinstance(each, CheckpointKept)][-1] for run in (events, undisturbed))
    assert found.step == wanted.step
    assert content(store, found.adapter) == content(store, wanted.adapter)


def test_what_a_trainer_goes_on_from_has_the_evaluations_before(store, assignment):
    events = trained(store, stopping(assignment), pauses=(5,))
    before, resumed = [each for each in events if isinstance(each, Resumed)]
    assert before.evaluations == ()
    told = evaluations(events)
    assert [each.step for each in resumed.evaluations] == [step for step in told if step <= resumed.step]
    assert [each.mean_loss for each in resumed.evaluations] == [
        told[each.step].mean_loss for each in resumed.evaluations
    ]


@pytest.mark.parametrize("savepoint_every", [0, 1, 5])
def test_however_often_the_loss_falls_few_checkpoints_are_on_the_disk(store, assignment, savepoint_every):
    falling = replace(
        assignment,
        validation=assignment.dataset,
        evaluate_every=1,
        keep_best=True,
        savepoint_every=savepoint_every,
        hyperparameters=replace(assignment.hyperparameters, learning_rate=0.001),
    )
    place, counts = falling.work.below("checkpoints"), []
    events = trained(store, falling, look=lambda: counts.append(len(store.refs_below(place))))

    improved = [each for each in events if isinstance(each, CheckpointKept)]
    assert len(improved) > 3
    # Of the savepoint, the best complete one, one that has just been completed, and one that waited for it.
    assert max(counts) <= 4


def test_the_last_weights_have_no_checkpoint_even_if_they_are_the_best(store, assignment):
    events = trained(store, replace(assignment, keep_best=True, evaluate_every=0))
    assert [each for each in events if isinstance(each, CheckpointKept)] == []
    assert [*evaluations(events)] == [TOTAL_STEPS]
