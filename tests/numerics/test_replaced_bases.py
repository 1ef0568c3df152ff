"""A job goes on only over the weights with which it began, and an adapter is served over those it was trained on."""

import shutil
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from tiny_models import Architecture, tiny_base_model
from training_runs import engine_over, job
from tuningfork.artifacts.base import AdapterOfOtherWeights
from tuningfork.artifacts.local import LocalArtifactStore
from tuningfork.domain.artifact import ArtifactRef
from tuningfork.domain.conversation import Conversation, Speaker, Turn
from tuningfork.domain.errors import Code
from tuningfork.domain.generation import Sampling
from tuningfork.execution.base import GenerationAssignment
from tuningfork.execution.local.generator_process import Generator
from tuningfork.execution.local.messages import Ended, Generate, Refused
from tuningfork.modeling.adapters import format as adapter_format
from tuningfork.modeling.loading import load_base
from tuningfork.training.same_base import BaseWeightsReplaced
from tuningfork.training.savepoint import load_state, save_state


@pytest.fixture(scope="module")
def described(tiny_directories):
    return tiny_base_model(Architecture.LLAMA, tiny_directories["llama"])


@pytest.fixture(scope="module")
def other(described, tmp_path_factory):
    """The same base model after its weights were replaced."""
    directory = tmp_path_factory.mktemp("other") / "base"
    shutil.copytree(described.location, directory)
    tensors = load_file(directory / "model.safetensors")
    save_file({name: each + 0.01 for name, each in tensors.items()}, directory / "model.safetensors", {"format": "pt"})
    return replace(described, location=str(directory))


@pytest.fixture(scope="module")
def bases(described, other):
    return load_base(described, dtype=torch.float32), load_base(other, dtype=torch.float32)


@pytest.fixture
def begun(bases, tmp_path):
    """A job that has made a step over the first weights: where its savepoint and its adapter are."""
    engine = engine_over(bases[0])
    engine.admit(job())
    engine.step()
    engine.write_savepoint(job().id, tmp_path / "savepoint")
    engine.save_adapter(job().id, tmp_path / "adapter")
    engine.release(job().id)
    return tmp_path


def test_a_savepoint_is_resumed_over_its_own_weights_alone(bases, begun):
    resumed, other = map(engine_over, bases)
    assert resumed.admit(job(), begun / "savepoint") == 1
    with pytest.raises(BaseWeightsReplaced, match="what this job has computed so far") as refused:
        other.admit(job(), begun / "savepoint")

    assert refused.value.code is Code.FAILED_PRECONDITION
    assert str(begun) not in refused.value.message
    resumed.release(job().id)


def test_a_savepoint_of_an_earlier_version_is_resumed(bases, begun):
    engine = engine_over(bases[0])
    engine.admit(job("as"))
    state = load_state(begun / "savepoint", engine.state(job("as").id).job)
    save_state(begun / "savepoint", replace(state, base=None))

    assert engine.admit(job(), begun / "savepoint") == 1
    for name in ("job", "as"):
        engine.release(job(name).id)


def test_a_job_goes_on_from_a_tuned_model_over_its_own_weights_alone(bases, begun):
    own, other = map(engine_over, bases)
    further = job("further", initial_adapter=begun / "adapter")
    assert own.admit(further) == 0
    with pytest.raises(BaseWeightsReplaced, match="the adapter that this job goes on from"):
        other.admit(further)
    own.release(further.id)


@pytest.fixture
def served(begun):
    """A generator, and an adapter in its artifacts."""
    store, ref = LocalArtifactStore(begun / "store"), ArtifactRef("adapters/job")
    with store.writing(ref) as place:
        shutil.copytree(begun / "adapter", place)
    return Generator(store), ref


def reports_of(generator, base, adapter, fingerprint=None):
    sampling = Sampling(temperature=0, top_p=1, top_k=None, max_output_tokens=2)
    prompt = Conversation(turns=(Turn.said(Speaker.USER, "1"),))
    assignment = GenerationAssignment(
        base=base, adapter=adapter, prompt=prompt, sampling=sampling, base_fingerprint=fingerprint
    )
    reports = [*generator.obey(Generate("a", assignment))]
    while not generator.idle:
        reports += [report for several in generator.advance() for report in several]
    return reports


def test_an_adapter_is_served_over_its_own_weights_alone(served, described, other):
    generator, adapter = served
    assert isinstance(reports_of(generator, described, adapter)[-1], Ended)
    [refused] = reports_of(generator, other, adapter)

    assert isinstance(refused, Refused)
    assert isinstance(refused.error, AdapterOfOtherWeights)
    assert not generator._requests


def test_an_adapter_that_says_nothing_is_served_where_the_server_recorded_the_same_weights(
    bases, served, described, other, begun
):
    generator, adapter = served
    generator.artifacts.delete(adapter)
    with generator.artifacts.writing(adapter) as place:
        adapter_format.save(place, adapter_format.load(begun / "adapter"), "elsewhere")

    assert isinstance(reports_of(generator, other, adapter)[-1], Ended)
    assert isinstance(reports_of(generator, other, adapter, bases[1].fingerprint)[-1], Ended)
    [refused] = reports_of(generator, described, adapter, bases[1].fingerprint)
    assert isinstance(refused.error, AdapterOfOtherWeights)
