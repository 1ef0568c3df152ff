"""Examples are read and rendered when a step needs them, and checked piece by piece."""

import hashlib

import pytest

from training_runs import LETTERS, NUMBERS, engine_over, job, run_to_the_end, weights_of
from tuningfork.domain.conversation import Conversation, Preference, Speaker, Turn
from tuningfork.domain.dataset_lines import line_of
from tuningfork.domain.errors import InternalError, InvalidArgument
from tuningfork.domain.tuning_job import JobId
from tuningfork.execution.dataset_file import DatasetFile
from tuningfork.training.batches import segments_of
from tuningfork.training.effort import Effort
from tuningfork.training.engine import ExamplesRefused
from tuningfork.training.examples import RenderedExamples
from tuningfork.training.jobs import Validation
from tuningfork.training.optimizer import AdamW
from tuningfork.training.reports import ExamplesUnrendered
from tuningfork.training.savepoint import TrainingState, load_state, save_state

LONG = Conversation.pair("x" * 600, "y")
PREFERENCE = Preference(prompt=Conversation(turns=(Turn.said(Speaker.USER, "1"),)), chosen=("2",), rejected=("3",))


class Source:
    """So many short pairs, made when they are read, with some others among them; notes what is read."""

    def __init__(self, count, others=None):
        self.read = []
        self._count = count
        self._others = others or {}

    def __len__(self):
        return self._count

    def __getitem__(self, index):
        self.read.append(index)
        return self._others.get(index) or Conversation.pair(str(index), str(index + 1))


def rendered(base, source, **how):
    return RenderedExamples(source, base.chat, context_tokens=base.context_tokens, **how)


def test_an_example_is_read_and_rendered_when_it_is_asked_for(loaded_llama):
    source = Source(1_000_000)
    examples = rendered(loaded_llama, source)
    (found,) = examples[999_999]
    (wanted,) = segments_of(loaded_llama.chat, Conversation.pair("999999", "1000000"))
    assert found.ids_T.equal(wanted.ids_T)
    assert source.read == [999_999]


def test_what_was_rendered_last_stays_in_memory_and_no_more_than_there_is_room_for(loaded_llama):
    source = Source(10)
    examples = rendered(loaded_llama, source, kept_tokens=3 * (128 + examples_tokens(loaded_llama)))
    for index in (0, 1, 2, 0, 3, 0, 1):
        examples[index]
    assert source.read == [0, 1, 2, 3, 1]


def examples_tokens(base):
    (segment,) = segments_of(base.chat, Conversation.pair("1", "2"))
    return segment.tokens


def test_a_check_goes_on_where_the_last_one_ended_and_names_all_that_it_met(loaded_llama):
    source = Source(1_000, {3: LONG, 5: LONG, 700: LONG})
    examples = rendered(loaded_llama, source)
    with pytest.raises(InvalidArgument) as caught:
        examples.check(Effort(100_000))
    assert [each.field for each in caught.value.violations] == ["examples[3]", "examples[5]", "examples[700]"]
    assert examples.is_checked
    examples = rendered(loaded_llama, Source(1_000, {3: LONG, 700: LONG}))
    with pytest.raises(InvalidArgument, match=r"^examples\[3\]: input and output are "):
        examples.check(Effort(1_000))
    assert not examples.is_checked
    for _ in range(8):
        examples.check(Effort(1_000))
    with pytest.raises(InvalidArgument, match=r"^examples\[700\]: "):
        examples.check(Effort(10_000))


def test_a_check_renders_only_what_may_be_too_long(loaded_llama):
    source = Source(1_000, {600: Conversation.pair("one " * 125, "b")})
    examples = rendered(loaded_llama, source)
    examples.check(Effort(100_000))
    assert examples.is_checked
    source.read.clear()
    examples[600]
    examples[599]
    assert source.read == [599]


def test_conversations_and_preferences_are_of_the_objective_or_refused(loaded_llama):
    with pytest.raises(InvalidArgument, match=r"examples\[0\]: the objective learns from conversations"):
        rendered(loaded_llama, (PREFERENCE,)).check(Effort(100))
    with pytest.raises(InvalidArgument, match="the objective learns from preferences"):
        rendered(loaded_llama, NUMBERS, over_pairs=True).check(Effort(100))
    assert len(rendered(loaded_llama, (PREFERENCE,), over_pairs=True)[0]) == 2


def test_a_long_conversation_is_measured_as_a_whole(loaded_llama):
    turns = [Turn.said(speaker, "x" * 300) for speaker in (Speaker.USER, Speaker.MODEL) * 2]
    with pytest.raises(InvalidArgument, match=r"examples\[0\]: the conversation is \d+ tokens, and the base model's"):
        rendered(loaded_llama, (Conversation(turns=tuple(turns)),)).check(Effort(1))


def test_the_first_step_comes_before_all_examples_are_read(loaded_llama):
    source = Source(500_000)
    engine = engine_over(loaded_llama)
    engine.admit(job(examples=source, dataset_digest="d", epoch_count=1, batch_size=2))
    engine.step()
    assert len(set(source.read)) < 100_000


def test_a_fault_far_into_a_dataset_ends_its_job_between_steps_and_no_other(loaded_llama):
    engine = engine_over(loaded_llama)
    engine.admit(job("good", epoch_count=100))
    engine.admit(job("bad", examples=Source(200_000, {80_000: LONG}), dataset_digest="d", batch_size=2))
    seen = []
    with pytest.raises(ExamplesRefused) as caught:
        run_to_the_end(engine, lambda report: seen.append(report.job_id))
    assert caught.value.job_id == "bad"
    assert [each.field for each in caught.value.violations] == ["examples[80000]"]
    assert seen.count("bad") > 0
    assert {report.job_id for _ in range(3) for report in engine.step()} == {"good"}


def test_a_fault_far_into_a_validation_set_ends_its_job_between_steps_and_not_at_the_end(loaded_llama):
    engine = engine_over(loaded_llama)
    validation = Validation(examples=Source(200_000, {80_000: LONG}))
    engine.admit(job("bad", epoch_count=100, validation=validation))
    seen = []
    with pytest.raises(ExamplesRefused) as caught:
        run_to_the_end(engine, lambda report: seen.append(report.snapshot.step))
    assert [each.field for each in caught.value.violations] == ["validation[80000]"]
    assert 0 < len(seen) < 100


def of_tokens(base, one):
    """The digest of a job as versions up to 0.2 made it."""
    digest = hashlib.sha256(repr(("groups, B transposed", one.hyperparameters, one.adapter, one.seed)).encode())
    for example in one.examples:
        (row,) = base.chat.render_example(example)
        (segment,) = segments_of(base.chat, example)
        digest.update(len(row.header).to_bytes(8, "big"))
        digest.update(segment.ids_T.numpy().tobytes())
    return digest.hexdigest()


def test_a_job_goes_on_from_the_savepoint_of_an_earlier_version(loaded_llama, tmp_path):
    one = job()
    weights_P = loaded_llama.slots.flatten(loaded_llama.slots.fresh(one.adapter, 99))
    recorded = of_tokens(loaded_llama, one)
    save_state(tmp_path, TrainingState(job=recorded, step=2, weights_P=weights_P, optimizer=AdamW.fresh(weights_P)))
    engine = engine_over(loaded_llama)
    assert engine.admit(one, tmp_path) == 2
    assert weights_of(engine).equal(weights_P)
    engine.step()
    engine.write_savepoint(one.id, tmp_path)
    assert load_state(tmp_path, recorded).step == 3
    engine.release(JobId("job"))
    with pytest.raises(InternalError, match="another job"):
        engine_over(loaded_llama).admit(job(examples=LETTERS), tmp_path)


def test_the_same_examples_in_a_file_and_in_memory_make_the_same_job(loaded_llama, tmp_path):
    path = tmp_path / "numbers.jsonl"
    path.write_bytes(b"".join(map(line_of, NUMBERS)))
    file = DatasetFile(path)
    engine = engine_over(loaded_llama)
    engine.admit(job())
    engine.step()
    engine.write_savepoint(JobId("job"), tmp_path / "savepoint")
    engine.release(JobId("job"))
    assert engine.admit(job(examples=file, dataset_digest=file.digest), tmp_path / "savepoint") == 1


class FailingOnce(Source):
    """A source whose example with this index cannot be had at its second reading, which is that for an evaluation."""

    def __init__(self, count, index):
        super().__init__(count)
        self._index = index

    def __getitem__(self, index):
        if index == self._index and self.read.count(index) == 1:
            self.read.append(index)
            raise InternalError("could not render this")
        return super().__getitem__(index)


def test_an_evaluation_whose_examples_could_not_be_rendered_begins_again_and_finds_the_same(loaded_llama):
    def evaluated(source):
        engine = engine_over(loaded_llama)
        engine.admit(job(epoch_count=1, validation=Validation(examples=source)))
        reports, unrendered = [], []
        while not reports or not reports[-1].done:
            try:
                reports += engine.advance()
            except ExamplesUnrendered as error:
                unrendered.append((error.job_id, error.message))
        return reports[-1].evaluation, unrendered

    undisturbed, _ = evaluated(Source(400))
    again, unrendered = evaluated(FailingOnce(400, index=350))

    assert unrendered == [("job", "could not render this")]
    assert (again.targets, again.mean_loss) == (undisturbed.targets, undisturbed.mean_loss)
