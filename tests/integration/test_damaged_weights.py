"""Damaged files of adapters and savepoints are told as such: in training, before the first step, and in serving.

A file is cut off, has bytes that differ, or holds numbers that are not finite or of another shape.
"""

import logging
import pickle
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tuningfork.artifacts.base import ArtifactDamaged
from tuningfork.artifacts.local import LocalArtifactStore
from tuningfork.domain.artifact import ArtifactRef
from tuningfork.domain.base_model import AdapterShape
from tuningfork.domain.conversation import Conversation, Speaker, Turn
from tuningfork.domain.errors import Code, InvalidArgument
from tuningfork.domain.generation import Sampling
from tuningfork.domain.hyperparameters import Hyperparameters
from tuningfork.domain.tuning_job import JobId
from tuningfork.execution.base import Failed, Finished, GenerationAssignment, Resumed, Stepped, TrainingAssignment
from tuningfork.execution.local.generator_process import Generator
from tuningfork.execution.local.messages import Admit, Generate, JobEvent, Pause
from tuningfork.execution.local.trainer_process import Trainer
from tuningfork.modeling.adapters import format as adapter_format
from tuningfork.modeling.loading import load_base
from tuningfork.modeling.merging import merge
from tuningfork.training.savepoint import FILE

SHAPE = AdapterShape(rank=4, alpha=8.0)
PROMPT = Conversation(turns=(Turn.said(Speaker.USER, "one"),))
SAMPLING = Sampling(temperature=1.0, top_p=1.0, top_k=None, max_output_tokens=4, seed=1)
SOURCE, DATASET, WORK = ArtifactRef("sources/abc"), ArtifactRef("datasets/abc.jsonl"), ArtifactRef("work/abc")


def cut_off(path):
    path.write_bytes(path.read_bytes()[:-100])


def one_byte(path):
    """Another exponent: a number that is finite, and very large."""
    content = bytearray(path.read_bytes())
    content[-1] = 0x7E
    path.write_bytes(content)


def emptied(path):
    path.write_bytes(b"")


def zeroed(path):
    """What a file system may leave of a file after a power cut."""
    path.write_bytes(bytes(path.stat().st_size))


def rewritten(change):
    def damage(path):
        tensors = load_file(path)
        name = max(tensors)
        save_file({**tensors, name: change(tensors[name])}, path, metadata={"format": "pt", "job": "x", "step": "1"})

    return damage


DAMAGES = {
    "cut off": cut_off,
    "one byte": one_byte,
    "empty": emptied,
    "zeros": zeroed,
    "not a number": rewritten(lambda tensor: tensor * torch.nan),
    "infinite": rewritten(lambda tensor: tensor + torch.inf),
    "another shape": rewritten(lambda tensor: tensor.flatten()[:-1].clone()),
}


ALL = list(DAMAGES.values())
SEEN = [(damage, True) for damage in ALL] + [(damage, False) for damage in ALL if damage is not one_byte]
"""Each damage, and whether the digest tells it; nothing else tells a finite number from another."""
NAMES = list(DAMAGES)


@pytest.fixture
def store(tmp_path):
    store = LocalArtifactStore(tmp_path / "artifacts")
    with store.writing(DATASET) as path:
        path.write_text('{"text_input": "1", "output": "2"}\n{"text_input": "3", "output": "4"}\n' * 3)
    return store


@pytest.fixture
def assignment(tiny_llama):
    return TrainingAssignment(
        job_id=JobId("abc"),
        base=tiny_llama,
        dataset=DATASET,
        work=WORK,
        hyperparameters=Hyperparameters(epoch_count=2, batch_size=2, learning_rate=0.01),
        adapter=SHAPE,
        seed=7,
        savepoint_every=1,
    )


def written_adapter(store, base, ref=SOURCE):
    with store.writing(ref) as directory:
        adapter_format.save(directory, load_base(base).slots.fresh(SHAPE, seed=1), base.location)
    return store.path(ref) / adapter_format.WEIGHTS


def manifest_renewed(store, ref):
    """Written anew after the damage, as if the damage had happened before the digests were computed."""
    path = store.path(ref)
    kept = {file.name: file.read_bytes() for file in path.iterdir()}
    with store.writing(ref) as directory:
        directory.mkdir()
        for name, content in kept.items():
            (directory / name).write_bytes(content)


def events_of(trainer, command):
    return [each.event for each in trainer.obey(command) if isinstance(each, JobEvent)]


def to_the_end(trainer):
    events = []
    while not trainer.idle:
        events += [each.event for each in trainer.advance()]
    return events


@pytest.mark.parametrize(("damage", "seen_by_digest"), SEEN)
def test_a_damaged_adapter_to_go_on_from_fails_the_job_before_its_first_step(
    store, assignment, damage, tmp_path, seen_by_digest, caplog
):
    file = written_adapter(store, assignment.base)
    damage(file)
    if not seen_by_digest:
        manifest_renewed(store, SOURCE)
    trainer = Trainer(store)

    [failed] = events_of(trainer, Admit(replace(assignment, initial_adapter=SOURCE)))

    assert isinstance(failed, Failed)
    assert failed.code is Code.FAILED_PRECONDITION
    assert "missing or damaged on this server" in failed.message
    assert "diverged" not in failed.message
    assert str(tmp_path) not in failed.message
    assert trainer.idle
    assert "Traceback" not in failed.message


def test_a_missing_adapter_to_go_on_from_is_told_the_same_way(store, assignment):
    [failed] = events_of(Trainer(store), Admit(replace(assignment, initial_adapter=SOURCE)))

    assert (failed.code, "it is missing" in failed.message) == (Code.FAILED_PRECONDITION, True)


@pytest.mark.parametrize(("damage", "seen_by_digest"), SEEN)
def test_with_a_damaged_savepoint_the_job_begins_again_and_ends_as_it_would_have(
    store, assignment, damage, seen_by_digest, caplog
):
    undisturbed = Trainer(store)
    events_of(undisturbed, Admit(replace(assignment, work=ArtifactRef("work/other"), savepoint_every=0)))
    wanted = [event.snapshot.mean_loss for event in to_the_end(undisturbed) if isinstance(event, Stepped)]
    first = Trainer(store)
    events_of(first, Admit(assignment))
    list(first.advance())
    events_of(first, Pause(assignment.job_id))
    to_the_end(first)
    (ref,) = store.refs_below(WORK.below("savepoints"))
    damage(store.path(ref) / FILE)
    if not seen_by_digest:
        manifest_renewed(store, ref)
    again = Trainer(store)

    with caplog.at_level(logging.ERROR):
        [resumed] = events_of(again, Admit(assignment))
    events = to_the_end(again)

    assert resumed == Resumed(step=0, snapshots=())
    assert "job abc starts over" in caplog.text
    assert [event.snapshot.mean_loss for event in events if isinstance(event, Stepped)] == wanted
    assert isinstance(events[-1], Finished)


@pytest.mark.parametrize("damage", ALL, ids=NAMES)
def test_a_damaged_adapter_is_served_to_nobody(store, tiny_llama, damage):
    damage(written_adapter(store, tiny_llama))
    generator = Generator(store)
    assignment = GenerationAssignment(base=tiny_llama, adapter=SOURCE, prompt=PROMPT, sampling=SAMPLING)

    (refused,) = generator.obey(Generate("a", assignment))

    assert isinstance(pickle.loads(pickle.dumps(refused)).error, ArtifactDamaged)


@pytest.mark.parametrize("damage", [each for each in ALL if each is not one_byte])
def test_a_damaged_adapter_is_not_merged(tiny_llama, damage, tmp_path, store):
    file = written_adapter(store, tiny_llama)
    damage(file)

    with pytest.raises(InvalidArgument, match=r"holds no adapter that can be read|does not fit|is no LoRA"):
        merge(Path(tiny_llama.location), file.parent, tmp_path / "merged")


def test_a_first_loss_that_is_not_finite_is_not_the_learning_rates_fault(store, assignment):
    """The base itself is damaged, which no digest tells."""
    trainer = Trainer(store)
    events_of(trainer, Admit(assignment))
    base = trainer._engines[assignment.base]._base
    next(base.model.parameters()).data.fill_(torch.nan)
    if base.decoder is not None:
        for tensor in base.model.state_dict().values():
            tensor.fill_(torch.nan)

    events = to_the_end(trainer)

    assert isinstance(events[-1], Failed)
    assert events[-1].code is Code.FAILED_PRECONDITION
    assert "the learning rate is not the cause" in events[-1].message
    assert "diverged" not in events[-1].message
