"""Trainer and generator as real processes: they do their work, and what they were doing survives their death."""

import asyncio
import json
import os
import shutil
import signal
import threading
from dataclasses import replace

import pytest
from safetensors.torch import load_file, save_file

import holding
import mortality
from holding import Hold
from mortality import Deaths
from patience import PATIENCE_SECONDS
from tuningfork.artifacts.local import LocalArtifactStore
from tuningfork.domain.artifact import ArtifactRef
from tuningfork.domain.base_model import AdapterShape
from tuningfork.domain.checkpoint_schedule import CheckpointSchedule
from tuningfork.domain.conversation import Conversation, Speaker, Turn
from tuningfork.domain.errors import BaseUnusable, Code, InternalError, InvalidArgument
from tuningfork.domain.generation import FinishReason, Sampling
from tuningfork.domain.hyperparameters import Hyperparameters
from tuningfork.domain.tuning_job import JobId
from tuningfork.execution.base import (
    CheckpointKept,
    Evaluated,
    Failed,
    Finished,
    GenerationAssignment,
    ProbeAssignment,
    Resumed,
    Stepped,
    Stopped,
    TrainingAssignment,
    WorkerDied,
)
from tuningfork.execution.local import environment
from tuningfork.execution.local.engines import LocalEngines, WorkerThreads
from tuningfork.execution.local.generators import LocalGenerators
from tuningfork.execution.local.raters import LocalRaters
from tuningfork.execution.local.trainers import LocalTrainers
from tuningfork.store.artifacts import Artifacts

pytestmark = [pytest.mark.slow]

PAIRS = [("1", "2"), ("3", "4"), ("eighty", "eighty one"), ("seven", "eight"), ("-3", "-2")]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return LocalArtifactStore(tmp_path_factory.mktemp("artifacts"))


@pytest.fixture(scope="module")
def deaths(tmp_path_factory):
    return Deaths(tmp_path_factory.mktemp("deaths") / "order")


@pytest.fixture(scope="module")
def hold(tmp_path_factory):
    return Hold(tmp_path_factory.mktemp("hold") / "order")


@pytest.fixture(scope="module")
def engines(store, deaths, hold):
    variables = environment.of_worker(1, "warning") | environment.of_artifacts(store.root)
    trainers = LocalTrainers(variables | deaths.variables, mortality.MODULE)
    generators = LocalGenerators(variables | hold.variables, holding.MODULE)
    engines = LocalEngines(trainers=trainers, generators=generators, raters=LocalRaters(variables))
    yield engines
    engines.close()


@pytest.fixture
def assign(tmp_path, store, tiny_llama):
    """A factory of assignments, each with work of its own and the same examples."""

    def make(name: str = "job", **changes) -> TrainingAssignment:
        work = ArtifactRef(f"work/{tmp_path.name}-{name}")
        dataset = ArtifactRef(f"datasets/{tmp_path.name}-{name}.jsonl")
        with store.writing(dataset) as path:
            path.write_text("".join(json.dumps({"text_input": i, "output": o}) + "\n" for i, o in PAIRS))
        usual = TrainingAssignment(
            job_id=JobId(name),
            base=tiny_llama,
            dataset=dataset,
            work=work,
            hyperparameters=Hyperparameters(epoch_count=4, batch_size=2, learning_rate=0.01),
            adapter=AdapterShape(rank=4, alpha=8.0),
            seed=7,
            savepoint_every=3,
        )
        return replace(usual, **changes)

    return make


@pytest.fixture
def weights(store):
    """Reads the file of an adapter's weights."""

    def read(adapter: ArtifactRef) -> bytes:
        with store.reading(adapter) as directory:
            return (directory / "adapter_model.safetensors").read_bytes()

    return read


def losses(events) -> list[float]:
    return [event.snapshot.mean_loss for event in events if isinstance(event, Stepped)]


def asked(text: str, base, adapter: ArtifactRef | None = None, **changes) -> GenerationAssignment:
    sampling = Sampling(temperature=0.0, top_p=1.0, top_k=None, max_output_tokens=12)
    return GenerationAssignment(
        base=base,
        adapter=adapter,
        prompt=Conversation(turns=(Turn.said(Speaker.USER, text),)),
        sampling=replace(sampling, **changes),
    )


def test_a_job_reports_every_step_and_leaves_its_adapter(engines, assign, store):
    assignment = assign()

    first, *steps, last = engines.trainers.train(assignment)

    assert first == Resumed(step=0)
    assert [event.snapshot.step for event in steps] == list(range(1, 11))
    assert steps[-1].snapshot.epoch == 4
    assert all(event.tokens > 0 for event in steps)
    assert isinstance(last, Finished)
    assert sorted(path.name for path in store.path(last.adapter).iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
    ]


@pytest.mark.parametrize("last_step", [1, 4, 8])
def test_a_job_whose_trainer_is_killed_resumes_to_the_same_adapter(engines, assign, deaths, last_step, weights):
    *undisturbed, finished = engines.trainers.train(assign("undisturbed"))
    assignment = assign("disturbed")
    deaths.order(after_step=last_step)

    with pytest.raises(WorkerDied):
        list(engines.trainers.train(assignment))
    resumed, *steps, last = engines.trainers.train(assignment)

    assert resumed.step % 3 == 0
    assert [snapshot.step for snapshot in resumed.snapshots] == list(range(1, resumed.step + 1))
    assert [snapshot.mean_loss for snapshot in resumed.snapshots] + losses(steps) == losses(undisturbed)
    assert weights(last.adapter) == weights(finished.adapter)


def evaluated_and_kept(assignment: TrainingAssignment) -> TrainingAssignment:
    """The same job, evaluated every four steps, with a checkpoint kept after every two epochs (five steps)."""
    schedule = CheckpointSchedule(epochs_every=2)
    return replace(assignment, validation=assignment.dataset, evaluate_every=4, checkpoints=schedule)


def test_a_job_is_evaluated_and_leaves_checkpoints_that_are_the_adapters_of_their_steps(engines, assign, weights):
    *_, plain = engines.trainers.train(assign("plain"))
    assignment = evaluated_and_kept(assign())
    _, *events, last = engines.trainers.train(assignment)
    evaluations = [event.evaluation for event in events if isinstance(event, Evaluated)]
    [kept] = [event for event in events if isinstance(event, CheckpointKept)]

    assert [each.step for each in evaluations] == [4, 8, 10]
    assert all(each.targets > 0 for each in evaluations)
    # The examples are those that it learns.
    assert evaluations[-1].mean_loss < evaluations[0].mean_loss
    assert weights(last.adapter) == weights(plain.adapter)
    assert (kept.step, kept.epoch) == (5, 2)
    shorter = replace(assign("shorter"), hyperparameters=replace(assignment.hyperparameters, epoch_count=2))
    *_, half = engines.trainers.train(shorter)
    assert weights(kept.adapter) == weights(half.adapter)


def test_a_job_whose_trainer_is_killed_tells_of_its_checkpoints_again(engines, assign, deaths):
    assignment = evaluated_and_kept(assign())
    deaths.order(after_step=8)

    with pytest.raises(WorkerDied):
        list(engines.trainers.train(assignment))
    resumed, *events, last = engines.trainers.train(assignment)

    assert isinstance(last, Finished)
    # Savepoints are written behind the training: whichever was complete by then.
    assert resumed.step in (0, 3, 6)
    assert [event.step for event in events if isinstance(event, CheckpointKept)] == [5]
    assert [event.evaluation.step for event in events if isinstance(event, Evaluated)] in ([4, 8, 10], [8, 10])


def test_a_job_that_goes_on_from_an_adapter_resumes_to_the_same_adapter_too(engines, assign, deaths, weights):
    *_, source = engines.trainers.train(assign("source"))
    fresh, *_ = losses(engines.trainers.train(assign("fresh", seed=8)))
    further = {"seed": 8, "initial_adapter": source.adapter}
    _, *undisturbed, finished = engines.trainers.train(assign("undisturbed", **further))
    assignment = assign("disturbed", **further)

    # Before the first savepoint, and after it.
    for last_step in (2, 5):
        deaths.order(after_step=last_step, saved=last_step > assignment.savepoint_every)
        with pytest.raises(WorkerDied):
            list(engines.trainers.train(assignment))
    resumed, *steps, last = engines.trainers.train(assignment)

    assert resumed.step > 0
    assert resumed.step % assignment.savepoint_every == 0
    assert [snapshot.mean_loss for snapshot in resumed.snapshots] + losses(steps) == losses(undisturbed)
    assert weights(last.adapter) == weights(finished.adapter)
    # It began with what the source knew of these very examples.
    assert losses(undisturbed)[0] < fresh


def test_a_source_that_cannot_be_read_fails_the_job_and_says_so(engines, assign):
    [failed] = engines.trainers.train(assign(initial_adapter=ArtifactRef("nowhere")))

    assert isinstance(failed, Failed)
    assert failed.code is Code.FAILED_PRECONDITION
    assert "is missing or damaged on this server: it is missing" in failed.message


def test_a_job_beside_others_gets_the_adapter_it_gets_alone(engines, assign, weights):
    *_, alone = engines.trainers.train(assign("alone"))
    ends = {}

    def follow(name: str, **changes) -> None:
        *_, ends[name] = engines.trainers.train(assign(name, **changes))

    names = ["first", "second", "third"]
    threads = [
        threading.Thread(target=follow, args=(name,), kwargs={} if name == "second" else {"seed": 99}) for name in names
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert weights(ends["second"].adapter) == weights(alone.adapter)
    assert weights(ends["first"].adapter) != weights(alone.adapter)


def test_a_stopped_job_keeps_what_it_has_learned(engines, assign, store):
    assignment = assign(hyperparameters=Hyperparameters(epoch_count=500, batch_size=1, learning_rate=0.001))

    events = []
    for event in engines.trainers.train(assignment):
        events.append(event)
        if isinstance(event, Stepped) and event.snapshot.step == 2:
            engines.trainers.stop(assignment.job_id)

    assert isinstance(events[-1], Stopped)
    assert 2 <= len(losses(events)) < 2_500
    assert (store.path(events[-1].adapter) / "adapter_model.safetensors").exists()


def test_a_probe_measures_steps_over_a_base_that_the_trainer_holds_and_loads_none(engines, assign, tiny_llama):
    assignment = assign()
    list(engines.trainers.train(assignment))
    examples = tuple(Conversation.pair(given, output) for given, output in PAIRS)
    wanted = ProbeAssignment(
        base=tiny_llama,
        examples=examples,
        hyperparameters=assignment.hyperparameters,
        adapter=assignment.adapter,
    )

    times = engines.trainers.probe(wanted).result(PATIENCE_SECONDS)
    elsewhere = replace(tiny_llama, context_tokens=tiny_llama.context_tokens - 1)
    of_another = engines.trainers.probe(replace(wanted, base=elsewhere)).result(PATIENCE_SECONDS)

    assert times.steps >= 1
    assert times.seconds > 0
    assert of_another is None


def test_stopping_a_job_that_is_not_there_changes_nothing(engines):
    engines.trainers.stop(JobId("nobody"))


def test_a_job_whose_savepoint_is_damaged_starts_over(engines, assign, store):
    assignment = assign()
    with store.writing(assignment.work.below("savepoints").below("00000003")) as savepoint:
        savepoint.mkdir()
        (savepoint / "savepoint.safetensors").write_bytes(b"no savepoint")

    first, *steps, last = engines.trainers.train(assignment)

    assert first == Resumed(step=0)
    assert [event.snapshot.step for event in steps] == list(range(1, 11))
    assert isinstance(last, Finished)


def test_a_job_under_way_in_an_earlier_version_resumes(engines, assign, store):
    assignment = assign()
    *_, last = engines.trainers.train(assignment)
    assert isinstance(last, Finished)
    work = store.path(assignment.work)
    former = work / "checkpoint"
    # Usually that of step 9; a savepoint is left out while the one before is being written.
    savepoint = max((work / "savepoints").iterdir())
    step = int(savepoint.name)
    savepoint.rename(former)
    (former / "savepoint.safetensors").rename(former / "checkpoint.safetensors")
    (former / "steps.jsonl").rename(work / "steps.jsonl")
    # No manifest had been written, and the new version's server starts.
    shutil.rmtree(store.root / "manifests" / "work")
    (store.root / "manifests" / "adopted").unlink(missing_ok=True)
    Artifacts(store.root)

    first, *steps, last = engines.trainers.train(assignment)

    assert first.step == step
    assert [event.snapshot.step for event in steps if isinstance(event, Stepped)] == list(range(step + 1, 11))
    assert isinstance(last, Finished)


def test_a_damaged_adapter_is_the_servers_fault_and_not_the_callers(engines, tiny_llama, store):
    adapter = ArtifactRef("adapters/damaged")
    with store.writing(adapter) as directory:
        directory.mkdir()
        (directory / "adapter_config.json").write_text("{")

    with pytest.raises(InternalError, match="adapter is damaged"):
        asyncio.run(text_of(engines, asked("hello", tiny_llama, adapter)))


def test_a_job_goes_on_when_its_savepoints_cannot_be_written(engines, assign, store):
    assignment = assign()
    store.path(assignment.work).mkdir(parents=True)
    store.path(assignment.work.below("savepoints")).write_text("where the directory should be")

    events = list(engines.trainers.train(assignment))

    assert len(losses(events)) == 10
    assert isinstance(events[-1], Finished)


def test_a_job_whose_adapter_cannot_be_written_fails_alone_and_says_why(engines, assign, store):
    *_, finished = engines.trainers.train(assign("before"))
    assert isinstance(finished, Finished)
    trainer = engines.worker_pids["trainer"]
    assignment = assign(savepoint_every=0)
    manifests = store.root / "manifests" / assignment.work.key
    manifests.parent.mkdir(parents=True, exist_ok=True)
    manifests.write_text("where the directory should be")

    *_, last = engines.trainers.train(assignment)

    assert isinstance(last, Failed)
    assert "could not be written" in last.message
    assert engines.worker_pids["trainer"] == trainer


def test_a_base_that_cannot_be_loaded_fails_the_job_with_the_reason(engines, assign, tiny_llama, tmp_path):
    nowhere = replace(tiny_llama, location=str(tmp_path / "nowhere"))

    events = list(engines.trainers.train(assign(base=nowhere)))

    assert events == [Failed(code=Code.INTERNAL, message=events[0].message)]
    assert "there is no directory" in events[0].message


def test_a_refusal_brings_no_class_of_the_engines_and_so_no_torch_into_the_server(engines, tiny_llama, tmp_path):
    nowhere = replace(tiny_llama, location=str(tmp_path / "nowhere"))

    with pytest.raises(BaseUnusable, match="there is no directory") as refusal:
        asyncio.run(text_of(engines, asked("one", nowhere)))

    assert type(refusal.value) is BaseUnusable


def test_an_example_longer_than_the_context_fails_the_job_and_is_named(engines, assign, store):
    assignment = assign()
    with store.writing(assignment.dataset) as path:
        path.write_text(json.dumps({"text_input": "x" * 2_000, "output": "y"}) + "\n")

    events = list(engines.trainers.train(assignment))

    assert [type(event) for event in events] == [Failed]
    assert events[0].code is Code.INVALID_ARGUMENT
    assert "examples[0]" in events[0].message


def test_a_tuned_model_answers_from_its_adapter_and_the_base_as_before(engines, assign, tiny_base):
    assignment = assign(
        base=tiny_base, hyperparameters=Hyperparameters(epoch_count=60, batch_size=5, learning_rate=0.02)
    )
    *_, finished = engines.trainers.train(assignment)

    async def answers() -> list[str]:
        before = await text_of(engines, asked("seven", tiny_base))
        tuned = await text_of(engines, asked("seven", tiny_base, finished.adapter))
        after = await text_of(engines, asked("seven", tiny_base))
        return [before, tuned, after]

    before, tuned, after = asyncio.run(answers())

    assert tuned == "eight"
    assert before == after != tuned


def test_requests_side_by_side_get_what_each_gets_alone(engines, tiny_llama):
    prompts = ["one", "a longer prompt than the others", "12", "x"]

    async def alone() -> list[str]:
        return [await text_of(engines, asked(prompt, tiny_llama)) for prompt in prompts]

    async def together() -> list[str]:
        return await asyncio.gather(*(text_of(engines, asked(prompt, tiny_llama)) for prompt in prompts))

    assert asyncio.run(together()) == asyncio.run(alone())


def test_every_candidate_ends_with_its_reason(engines, tiny_llama):
    async def chunks():
        assignment = asked("one", tiny_llama, candidate_count=3, temperature=1.0, seed=5)
        return [chunk async for chunk in engines.generators.generate(assignment)]

    ended = [chunk for chunk in asyncio.run(chunks()) if chunk.finish_reason]

    assert sorted(chunk.candidate for chunk in ended) == [0, 1, 2]
    assert {chunk.finish_reason for chunk in ended} <= {FinishReason.STOP, FinishReason.MAX_TOKENS}


def test_a_prompt_beyond_the_context_is_refused_and_the_next_request_served(engines, tiny_llama):
    async def story() -> int:
        with pytest.raises(InvalidArgument, match="512"):
            await text_of(engines, asked("x" * 3_000, tiny_llama))
        return await engines.generators.count_tokens(tiny_llama, Conversation(turns=(Turn.said(Speaker.USER, "12"),)))

    assert asyncio.run(story()) > 0


def test_texts_are_cut_into_tokens_with_their_bytes(engines, tiny_llama):
    texts = ("12 and 3", "", "Zürich")

    cut = asyncio.run(engines.generators.tokenize(tiny_llama, texts))

    assert [b"".join(each.pieces).decode() for each in cut] == list(texts)
    assert all(len(each.ids) == len(each.pieces) for each in cut)


def test_what_is_no_text_is_not_cut_into_tokens(engines, tiny_llama):
    with pytest.raises(InvalidArgument, match="half a surrogate"):
        asyncio.run(engines.generators.tokenize(tiny_llama, ("\ud800",)))


def test_a_client_that_leaves_frees_its_place(engines, tiny_llama):
    async def story() -> str:
        for _ in range(5):
            stream = engines.generators.generate(
                asked("long", tiny_llama, max_output_tokens=400, temperature=1.0, seed=1)
            )
            await anext(stream)
            await stream.aclose()
        return await text_of(engines, asked("one", tiny_llama))

    assert asyncio.run(story()) is not None


def test_a_killed_generator_fails_its_requests_and_is_replaced(engines, tiny_llama, hold):
    async def story() -> str:
        stream = engines.generators.generate(asked("long", tiny_llama, max_output_tokens=450, temperature=1.0, seed=1))
        with hold.held():
            await anext(stream)
            os.kill(engines.worker_pids["generator"], signal.SIGKILL)
            with pytest.raises(WorkerDied, match="signal 9"):
                async for _ in stream:
                    pass
        return await text_of(engines, asked("one", tiny_llama))

    assert isinstance(asyncio.run(story()), str)


def test_closed_engines_end_their_workers_and_refuse_work(tiny_llama, assign, store):
    engines = LocalEngines.build(threads=WorkerThreads(trainer=1, generator=1), artifacts=store.root)
    engines.generators.warm(tiny_llama)
    pids = engines.worker_pids

    engines.close()

    assert list(pids) == ["generator"]
    assert engines.worker_pids == {}
    with pytest.raises(WorkerDied, match="shutting down"):
        list(engines.trainers.train(assign()))


async def text_of(engines, assignment) -> str:
    return "".join([chunk.text async for chunk in engines.generators.generate(assignment)])


def test_a_base_with_damaged_weights_fails_the_request_instead_of_answering(engines, tiny_llama, tmp_path):
    damaged = tmp_path / "damaged"
    shutil.copytree(tiny_llama.location, damaged)
    tensors = load_file(damaged / "model.safetensors")
    tensors["model.norm.weight"].fill_(float("nan"))
    save_file(tensors, damaged / "model.safetensors", metadata={"format": "pt"})

    with pytest.raises(InternalError, match="weights that are damaged"):
        asyncio.run(text_of(engines, asked("one", replace(tiny_llama, location=str(damaged)), candidate_count=2)))


def test_a_preview_comes_from_the_process_that_holds_the_base(engines, tiny_llama):
    examples = tuple(Conversation.pair(*pair) for pair in PAIRS)

    seen = asyncio.run(engines.generators.preview(tiny_llama, examples, 2))

    prompt = Conversation(turns=(Turn.said(Speaker.USER, "1"),))
    given, trained = seen.shown[0].segments
    assert given.tokens == asyncio.run(engines.generators.count_tokens(tiny_llama, prompt))
    assert (given.trained, trained.trained) == (False, True)
    assert "1" in given.text
    assert trained.text.startswith("2")
    assert len(seen.shown) == 2
    assert seen.total_tokens > seen.trained_tokens > len(PAIRS)
    assert seen.context_tokens == tiny_llama.context_tokens


def test_a_preview_of_what_is_no_text_is_refused_and_the_next_one_served(engines, tiny_llama):
    with pytest.raises(InvalidArgument, match="half a surrogate"):
        asyncio.run(engines.generators.preview(tiny_llama, (Conversation.pair("\ud800", "x"),), 1))

    assert asyncio.run(engines.generators.preview(tiny_llama, (Conversation.pair("1", "2"),), 1)).shown
