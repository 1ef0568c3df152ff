"""Examples that are streamed into a tuning: checked, counted and hashed as they pass, and never all in memory."""

import pytest

from tuningfork.domain.conversation import Conversation, Speaker, Turn
from tuningfork.domain.errors import AlreadyExists, InvalidArgument, NotFound
from tuningfork.domain.hyperparameters import RequestedHyperparameters
from tuningfork.execution.dataset_file import DatasetFile
from workshop import ADA, NUMBER_PAIRS, number_request

MANY = tuple(Conversation.pair(str(number), str(number + 1)) for number in range(1_001))
TALK = Conversation(turns=tuple(Turn.said(speaker, "x") for speaker in (Speaker.USER, Speaker.MODEL) * 2))


def files(tmp_path):
    """The names of all files but manifests and locks."""
    paths = (path for path in (tmp_path / "artifacts").rglob("*") if path.is_file())
    return sorted(path.name for path in paths if {"manifests", "locks"}.isdisjoint(path.parts))


@pytest.mark.parametrize("examples", [NUMBER_PAIRS, MANY, MANY[:1000], (TALK, *NUMBER_PAIRS)])
def test_streamed_examples_make_the_same_job_as_those_in_the_request(workshop, examples):
    chosen = RequestedHyperparameters(learning_rate_multiplier=2.0)
    # Under its own name the base takes conversations too.
    asked = {"base_model": "models/echo-001", "hyperparameters": chosen}
    inline = workshop.tuning.create(ADA, number_request(examples=examples, **asked)).job
    streamed = workshop.tuning.create(ADA, number_request(examples=(), **asked), iter(examples)).job
    checked = workshop.tuning.check(ADA, number_request(examples=(), **asked), iter(examples))[0].job

    for job in (streamed, checked):
        assert (job.seed, job.hyperparameters, job.example_count) == (
            inline.seed,
            inline.hyperparameters,
            inline.example_count,
        )
    paths = [workshop.artifacts.dataset_path(job.id) for job in (inline, streamed)]
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert tuple(DatasetFile(paths[1])) == examples


def test_the_faults_of_streamed_examples_are_those_of_examples_in_the_request(workshop, tmp_path):
    faulty = (*NUMBER_PAIRS, Conversation.pair("x" * 40_001, ""), Conversation.pair("1", "2"))
    with pytest.raises(InvalidArgument) as wanted:
        workshop.tuning.create(ADA, number_request(examples=faulty))
    for use_case in (workshop.tuning.create, workshop.tuning.check):
        with pytest.raises(InvalidArgument) as caught:
            use_case(ADA, number_request(examples=()), iter(faulty))
        assert caught.value.violations == wanted.value.violations
    assert files(tmp_path) == []


def test_no_examples_at_all_are_a_fault(workshop, tmp_path):
    with pytest.raises(InvalidArgument) as caught:
        workshop.tuning.create(ADA, number_request(examples=()), iter(()))
    assert [violation.field for violation in caught.value.violations] == ["examples"]
    assert files(tmp_path) == []


def test_too_many_steps_show_when_the_last_example_has_passed(workshop):
    asked = RequestedHyperparameters(epoch_count=1000, batch_size=1)
    with pytest.raises(InvalidArgument, match="1001 examples, 1000 epochs and batches of 1 make 1001000 steps"):
        workshop.tuning.create(ADA, number_request(examples=(), hyperparameters=asked), iter(MANY))


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        (number_request(examples=(), display_name="x" * 41), InvalidArgument),
        (number_request(examples=(), base_model="models/none"), NotFound),
    ],
)
def test_what_is_wrong_with_the_request_itself_is_told_before_an_example_is_read(workshop, request_, error):
    read = []
    with pytest.raises(error):
        workshop.tuning.create(ADA, request_, (read.append(each) or each for each in NUMBER_PAIRS))
    assert read == []


def test_a_stream_that_breaks_off_leaves_nothing(workshop, tmp_path):
    def broken():
        yield NUMBER_PAIRS[0]
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        workshop.tuning.create(ADA, number_request(examples=()), broken())
    assert files(tmp_path) == []


def test_a_taken_id_leaves_the_other_models_examples_alone(workshop, tmp_path):
    first = workshop.tuning.create(ADA, number_request(tuned_model_id="mine"))
    with pytest.raises(AlreadyExists):
        workshop.tuning.create(ADA, number_request(tuned_model_id="mine", examples=()), iter(MANY))
    assert files(tmp_path) == [f"{first.job.id}.jsonl"]
