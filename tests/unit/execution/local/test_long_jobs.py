"""A job on a very long example, and the jobs beside it: whatever is asked of a trainer waits for one piece at most."""

import json

import pytest

from tiny_models import with_context
from tuningfork.artifacts.local import LocalArtifactStore
from tuningfork.domain.artifact import ArtifactRef
from tuningfork.domain.base_model import AdapterShape
from tuningfork.domain.hyperparameters import Hyperparameters
from tuningfork.domain.tuning_job import JobId
from tuningfork.execution.base import Resumed, Stepped, Stopped, TrainingAssignment
from tuningfork.execution.local.messages import Admit, JobEvent, Stop
from tuningfork.execution.local.trainer_process import Trainer

LONG, SHORT = JobId("long"), JobId("short")
TILE = 200


@pytest.fixture
def trainer(tiny_llama, tmp_path):
    """A trainer with a job on one very long example, whose first pass is under way; each advance is one piece."""
    store = LocalArtifactStore(tmp_path / "store")
    base = with_context(tiny_llama, tmp_path / "base", 2048)
    for name, line in (
        (LONG, {"text_input": "a" * 900, "output": "b" * 60}),
        (SHORT, {"text_input": "1", "output": "2"}),
    ):
        with store.writing(ArtifactRef(f"datasets/{name}.jsonl")) as path:
            path.write_text(json.dumps(line) + "\n")
    trainer = Trainer(store)
    *_, admitted = trainer.obey(Admit(assigned(base, LONG)))
    assert admitted == JobEvent(LONG, Resumed(step=0, snapshots=()))
    engine = trainer._engines[base]
    layer, passes = engine._base.decoder.layers[0], engine._passes
    passes._lanes, passes.long_tokens, passes.part_seconds = 1, 100, 0.0
    passes.piece = 5 * layer.heads * layer.head_size * TILE**2
    for _ in range(20):
        assert not list(trainer.advance())
    assert engine._jobs[LONG].suspended is not None
    return trainer, base


def assigned(base, name):
    return TrainingAssignment(
        job_id=name,
        base=base,
        dataset=ArtifactRef(f"datasets/{name}.jsonl"),
        work=ArtifactRef(f"work/{name}"),
        hyperparameters=Hyperparameters(epoch_count=1, batch_size=1, learning_rate=0.01),
        adapter=AdapterShape(rank=4, alpha=8.0),
        seed=7,
        savepoint_every=0,
        owner=f"{name}@example.com",
    )


def pieces_until(trainer, kind, name):
    """How many pieces are computed until the trainer says so of this job."""
    for pieces in range(1, 1000):
        if any(each.job_id == name and isinstance(each.event, kind) for each in trainer.advance()):
            return pieces
    raise AssertionError(f"{name} is never {kind.__name__}")


def test_anothers_short_job_steps_after_at_most_one_piece(trainer):
    trainer, base = trainer
    list(trainer.obey(Admit(assigned(base, SHORT))))
    assert pieces_until(trainer, Stepped, SHORT) <= 2
    assert not trainer._engines[base].is_between_steps(LONG)


def test_a_long_job_that_is_cancelled_ends_without_another_piece(trainer):
    trainer, base = trainer
    suspended = trainer._engines[base]._jobs[LONG].suspended
    computed = suspended.turns
    list(trainer.obey(Stop(LONG)))
    assert pieces_until(trainer, Stopped, LONG) == 1
    assert trainer.idle
    assert suspended.turns == computed


def test_a_step_on_it_has_far_more_pieces_than_layers(trainer):
    trainer, base = trainer
    layers = len(trainer._engines[base]._base.decoder.layers)
    assert pieces_until(trainer, Stepped, LONG) > 10 * layers
