"""Trainer and generator as real processes: they do their work, and what they were doing survives their death."""

import asyncio
import json
import os
import shutil
import signal
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from tuningfork.domain.base_model import AdapterShape
from tuningfork.domain.dataset import Example
from tuningfork.domain.errors import InternalError, InvalidArgument, RpcCode
from tuningfork.domain.generation import FinishReason, Prompt, Sampling, Speaker, Turn
from tuningfork.domain.hyperparameters import Hyperparameters
from tuningfork.domain.tuning_job import JobId
from tuningfork.execution.base import (
    Failed,
    Finished,
    GenerationAssignment,
    Resumed,
    Stepped,
    Stopped,
    TrainingAssignment,
    WorkerDied,
)
from tuningfork.execution.local import LocalExecutor, WorkerThreads

pytestmark = [pytest.mark.slow]

PAIRS = [("1", "2"), ("3", "4"), ("eighty", "eighty one"), ("seven", "eight"), ("-3", "-2")]


@pytest.fixture(scope="module")
def executor():
    executor = LocalExecutor(threads=WorkerThreads(trainer=1, generator=1))
    yield executor
    executor.close()


@pytest.fixture
def assign(tmp_path, tiny_llama):
    """A factory of assignments, each with a work directory of its own and the same examples."""

    def make(name: str = "job", **changes) -> TrainingAssignment:
        work = tmp_path / name
        work.mkdir()
        dataset = work / "dataset.jsonl"
        dataset.write_text("".join(json.dumps({"text_input": i, "output": o}) + "\n" for i, o in PAIRS))
        usual = TrainingAssignment(
            job_id=JobId(name),
            base=tiny_llama,
            dataset_path=dataset,
            work_directory=work,
            hyperparameters=Hyperparameters(epoch_count=4, batch_size=2, learning_rate=0.01),
            adapter=AdapterShape(rank=4, alpha=8.0),
            seed=7,
            checkpoint_every=3,
        )
        return replace(usual, **changes)

    return make


def weights(directory: Path) -> bytes:
    return (directory / "adapter_model.safetensors").read_bytes()


def losses(events) -> list[float]:
    return [event.snapshot.mean_loss for event in events if isinstance(event, Stepped)]


def asked(text: str, base, adapter: Path | None = None, **changes) -> GenerationAssignment:
    sampling = Sampling(temperature=0.0, top_p=1.0, top_k=None, max_output_tokens=12)
    return GenerationAssignment(
        base=base,
        adapter_directory=adapter,
        prompt=Prompt(turns=(Turn(Speaker.USER, text),)),
        sampling=replace(sampling, **changes),
    )


def test_a_job_reports_every_step_and_leaves_its_adapter(executor, assign):
    assignment = assign()

    first, *steps, last = executor.train(assignment)

    assert first == Resumed(step=0)
    assert [event.snapshot.step for event in steps] == list(range(1, 11))
    assert steps[-1].snapshot.epoch == 4
    assert all(event.tokens > 0 for event in steps)
    assert isinstance(last, Finished)
    assert sorted(path.name for path in last.adapter_directory.iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
    ]


@pytest.mark.parametrize("last_step", [1, 4, 8])
def test_a_job_whose_trainer_is_killed_resumes_to_the_same_adapter(executor, assign, last_step):
    *undisturbed, finished = executor.train(assign("undisturbed"))
    assignment = assign("disturbed")

    def kill_after_last_step() -> None:
        for event in executor.train(assignment):
            if isinstance(event, Stepped) and event.snapshot.step == last_step:
                os.kill(executor.worker_pids["trainer"], signal.SIGKILL)

    with pytest.raises(WorkerDied):
        kill_after_last_step()
    resumed, *steps, last = executor.train(assignment)

    assert resumed.step % 3 == 0
    assert [snapshot.step for snapshot in resumed.snapshots] == list(range(1, resumed.step + 1))
    assert [snapshot.mean_loss for snapshot in resumed.snapshots] + losses(steps) == losses(undisturbed)
    assert weights(last.adapter_directory) == weights(finished.adapter_directory)


def test_a_job_that_goes_on_from_an_adapter_resumes_to_the_same_adapter_too(executor, assign):
    *_, source = executor.train(assign("source"))
    fresh, *_ = losses(executor.train(assign("fresh", seed=8)))
    _, *undisturbed, finished = executor.train(assign("undisturbed", seed=8, initial_adapter=source.adapter_directory))
    assignment = assign("disturbed", seed=8, initial_adapter=source.adapter_directory)

    def kill_after(last_step: int) -> None:
        for event in executor.train(assignment):
            if isinstance(event, Stepped) and event.snapshot.step == last_step:
                os.kill(executor.worker_pids["trainer"], signal.SIGKILL)

    # Before the first checkpoint, and after it.
    for last_step in (2, 5):
        with pytest.raises(WorkerDied):
            kill_after(last_step)
    resumed, *steps, last = executor.train(assignment)

    assert resumed.step == 3
    assert [snapshot.mean_loss for snapshot in resumed.snapshots] + losses(steps) == losses(undisturbed)
    assert weights(last.adapter_directory) == weights(finished.adapter_directory)
    # It began with what the source knew of these very examples.
    assert losses(undisturbed)[0] < fresh


def test_a_source_that_cannot_be_read_fails_the_job_and_says_so(executor, assign, tmp_path):
    [failed] = executor.train(assign(initial_adapter=tmp_path / "nowhere"))

    assert isinstance(failed, Failed)
    assert failed.code is RpcCode.INVALID_ARGUMENT
    assert "holds no adapter that can be read" in failed.message


def test_a_job_beside_others_gets_the_adapter_it_gets_alone(executor, assign):
    *_, alone = executor.train(assign("alone"))
    ends = {}

    def follow(name: str, **changes) -> None:
        *_, ends[name] = executor.train(assign(name, **changes))

    names = ["first", "second", "third"]
    threads = [
        threading.Thread(target=follow, args=(name,), kwargs={} if name == "second" else {"seed": 99}) for name in names
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert weights(ends["second"].adapter_directory) == weights(alone.adapter_directory)
    assert weights(ends["first"].adapter_directory) != weights(alone.adapter_directory)


def test_a_stopped_job_keeps_what_it_has_learned(executor, assign):
    assignment = assign(hyperparameters=Hyperparameters(epoch_count=500, batch_size=1, learning_rate=0.001))

    events = []
    for event in executor.train(assignment):
        events.append(event)
        if isinstance(event, Stepped) and event.snapshot.step == 2:
            executor.stop(assignment.job_id)

    assert isinstance(events[-1], Stopped)
    assert 2 <= len(losses(events)) < 2_500
    assert (events[-1].adapter_directory / "adapter_model.safetensors").exists()


def test_stopping_a_job_that_is_not_there_changes_nothing(executor):
    executor.stop(JobId("nobody"))


def test_a_job_whose_checkpoint_is_damaged_starts_over(executor, assign):
    assignment = assign()
    checkpoint = assignment.work_directory / "checkpoint" / "checkpoint.safetensors"
    checkpoint.parent.mkdir()
    checkpoint.write_bytes(b"no checkpoint")

    first, *steps, last = executor.train(assignment)

    assert first == Resumed(step=0)
    assert [event.snapshot.step for event in steps] == list(range(1, 11))
    assert isinstance(last, Finished)


def test_a_damaged_adapter_is_the_servers_fault_and_not_the_callers(executor, tiny_llama, tmp_path):
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "adapter_config.json").write_text("{")

    with pytest.raises(InternalError, match="adapter is damaged"):
        asyncio.run(text_of(executor, asked("hello", tiny_llama, tmp_path / "adapter")))


def test_a_job_goes_on_when_its_checkpoints_cannot_be_written(executor, assign):
    assignment = assign()
    (assignment.work_directory / "checkpoint").write_text("where the directory should be")

    events = list(executor.train(assignment))

    assert len(losses(events)) == 10
    assert isinstance(events[-1], Finished)


def test_a_job_whose_adapter_cannot_be_written_fails_alone_and_says_why(executor, assign):
    trainer = executor.worker_pids["trainer"]
    assignment = assign(checkpoint_every=0)
    (assignment.work_directory / "adapter").write_text("where the directory should be")

    *_, last = executor.train(assignment)

    assert isinstance(last, Failed)
    assert "could not be written" in last.message
    assert executor.worker_pids["trainer"] == trainer


def test_a_base_that_cannot_be_loaded_fails_the_job_with_the_reason(executor, assign, tiny_llama, tmp_path):
    nowhere = replace(tiny_llama, location=str(tmp_path / "nowhere"))

    events = list(executor.train(assign(base=nowhere)))

    assert events == [Failed(code=RpcCode.INTERNAL, message=events[0].message)]
    assert "there is no directory" in events[0].message


def test_a_refusal_brings_no_class_of_the_engines_and_so_no_torch_into_the_server(executor, tiny_llama, tmp_path):
    nowhere = replace(tiny_llama, location=str(tmp_path / "nowhere"))

    with pytest.raises(InternalError, match="there is no directory") as refusal:
        asyncio.run(text_of(executor, asked("one", nowhere)))

    assert type(refusal.value) is InternalError


def test_an_example_longer_than_the_context_fails_the_job_and_is_named(executor, assign):
    assignment = assign()
    assignment.dataset_path.write_text(json.dumps({"text_input": "x" * 2_000, "output": "y"}) + "\n")

    events = list(executor.train(assignment))

    assert [type(event) for event in events] == [Failed]
    assert events[0].code is RpcCode.INVALID_ARGUMENT
    assert "examples[0]" in events[0].message


def test_a_tuned_model_answers_from_its_adapter_and_the_base_as_before(executor, assign, tiny_base):
    assignment = assign(
        base=tiny_base, hyperparameters=Hyperparameters(epoch_count=60, batch_size=5, learning_rate=0.02)
    )
    *_, finished = executor.train(assignment)

    async def answers() -> list[str]:
        before = await text_of(executor, asked("seven", tiny_base))
        tuned = await text_of(executor, asked("seven", tiny_base, finished.adapter_directory))
        after = await text_of(executor, asked("seven", tiny_base))
        return [before, tuned, after]

    before, tuned, after = asyncio.run(answers())

    assert tuned == "eight"
    assert before == after != tuned


def test_requests_side_by_side_get_what_each_gets_alone(executor, tiny_llama):
    prompts = ["one", "a longer prompt than the others", "12", "x"]

    async def alone() -> list[str]:
        return [await text_of(executor, asked(prompt, tiny_llama)) for prompt in prompts]

    async def together() -> list[str]:
        return await asyncio.gather(*(text_of(executor, asked(prompt, tiny_llama)) for prompt in prompts))

    assert asyncio.run(together()) == asyncio.run(alone())


def test_every_candidate_ends_with_its_reason(executor, tiny_llama):
    async def chunks():
        assignment = asked("one", tiny_llama, candidate_count=3, temperature=1.0, seed=5)
        return [chunk async for chunk in executor.generate(assignment)]

    ended = [chunk for chunk in asyncio.run(chunks()) if chunk.finish_reason]

    assert sorted(chunk.candidate for chunk in ended) == [0, 1, 2]
    assert {chunk.finish_reason for chunk in ended} <= {FinishReason.STOP, FinishReason.MAX_TOKENS}


def test_a_prompt_beyond_the_context_is_refused_and_the_next_request_served(executor, tiny_llama):
    async def story() -> int:
        with pytest.raises(InvalidArgument, match="512"):
            await text_of(executor, asked("x" * 3_000, tiny_llama))
        return await executor.count_tokens(tiny_llama, Prompt(turns=(Turn(Speaker.USER, "12"),)))

    assert asyncio.run(story()) > 0


def test_a_client_that_leaves_frees_its_place(executor, tiny_llama):
    async def story() -> str:
        for _ in range(5):
            stream = executor.generate(asked("long", tiny_llama, max_output_tokens=400, temperature=1.0, seed=1))
            await anext(stream)
            await stream.aclose()
        return await text_of(executor, asked("one", tiny_llama))

    assert asyncio.run(story()) is not None


def test_a_killed_generator_fails_its_requests_and_is_replaced(executor, tiny_llama):
    async def story() -> str:
        stream = executor.generate(asked("long", tiny_llama, max_output_tokens=450, temperature=1.0, seed=1))
        await anext(stream)
        os.kill(executor.worker_pids["generator"], signal.SIGKILL)
        with pytest.raises(WorkerDied, match="signal 9"):
            async for _ in stream:
                pass
        return await text_of(executor, asked("one", tiny_llama))

    assert isinstance(asyncio.run(story()), str)


def test_a_closed_executor_ends_its_workers_and_refuses_work(tiny_llama, assign):
    executor = LocalExecutor(threads=WorkerThreads(trainer=1, generator=1))
    executor.warm(tiny_llama)
    pids = executor.worker_pids

    executor.close()

    assert list(pids) == ["generator"]
    assert executor.worker_pids == {}
    with pytest.raises(WorkerDied, match="shutting down"):
        list(executor.train(assign()))


async def text_of(executor, assignment) -> str:
    return "".join([chunk.text async for chunk in executor.generate(assignment)])


def test_a_base_with_damaged_weights_fails_the_request_instead_of_answering(executor, tiny_llama, tmp_path):
    damaged = tmp_path / "damaged"
    shutil.copytree(tiny_llama.location, damaged)
    tensors = load_file(damaged / "model.safetensors")
    tensors["model.norm.weight"].fill_(float("nan"))
    save_file(tensors, damaged / "model.safetensors", metadata={"format": "pt"})

    with pytest.raises(InternalError, match="weights that are damaged"):
        asyncio.run(text_of(executor, asked("one", replace(tiny_llama, location=str(damaged)), candidate_count=2)))


def test_a_preview_comes_from_the_process_that_holds_the_base(executor, tiny_llama):
    examples = tuple(Example(*pair) for pair in PAIRS)

    seen = asyncio.run(executor.preview(tiny_llama, examples, 2))

    prompt = Prompt(turns=(Turn(Speaker.USER, "1"),))
    given, trained = seen.shown[0].segments
    assert given.tokens == asyncio.run(executor.count_tokens(tiny_llama, prompt))
    assert (given.trained, trained.trained) == (False, True)
    assert "1" in given.text
    assert trained.text.startswith("2")
    assert len(seen.shown) == 2
    assert seen.total_tokens > seen.trained_tokens > len(PAIRS)
    assert seen.context_tokens == tiny_llama.context_tokens


def test_a_preview_of_what_is_no_text_is_refused_and_the_next_one_served(executor, tiny_llama):
    with pytest.raises(InvalidArgument, match="half a surrogate"):
        asyncio.run(executor.preview(tiny_llama, (Example("\ud800", "x"),), 1))

    assert asyncio.run(executor.preview(tiny_llama, (Example("1", "2"),), 1)).shown
