"""Jobs with a validation set: what is asked for, checked, kept, handed to the trainer and recorded."""

import math

import pytest

from fakes import ECHO_CATALOG
from tuningfork.domain.checkpoint_schedule import CheckpointSchedule
from tuningfork.domain.conversation import Conversation, Preference, Speaker, Turn
from tuningfork.domain.errors import InvalidArgument, ResourceExhausted
from tuningfork.domain.hyperparameters import RequestedHyperparameters
from tuningfork.domain.objective import DirectPreferenceOptimization
from tuningfork.domain.tuning_job import JobState
from tuningfork.execution.base import Resumed
from tuningfork.execution.dataset_file import DatasetFile
from tuningfork.service.tuning.tuning import Tuning
from tuningfork.store import evaluations
from workshop import ADA, NUMBER_PAIRS, number_request

HELD_OUT = (Conversation.pair("11", "12"), Conversation.pair("seven", "eight"))
TALK = Conversation(turns=tuple(Turn.said(speaker, "x") for speaker in (Speaker.USER, Speaker.MODEL) * 2))
PREFERENCE = Preference(prompt=Conversation(turns=(Turn.said(Speaker.USER, "1"),)), chosen=("2",), rejected=("3",))
FAULTY = (*HELD_OUT, Conversation.pair("x" * 40_001, ""), PREFERENCE)


def dpo(beta=0.1):
    return RequestedHyperparameters(objective=DirectPreferenceOptimization(beta=beta))


def files(tmp_path):
    """The names of all datasets and validation sets, incomplete ones too."""
    return sorted(path.name for path in (tmp_path / "artifacts" / "datasets").iterdir())


def content(workshop, tuned):
    return workshop.artifacts.store.path(workshop.artifacts.validation(tuned.job.id)).read_bytes()


def refusals(workshop, *streams, **changes):
    """What is wrong with a request, by its fields; creating and checking say the same."""
    found = []
    for use_case in (workshop.tuning.check, workshop.tuning.create):
        with pytest.raises(InvalidArgument) as caught:
            use_case(ADA, number_request(**changes), *(iter(each) for each in streams))
        found.append({each.field: each.description for each in caught.value.violations})
    assert found[0] == found[1]
    assert workshop.artifacts.job_ids() == set()
    return found[0]


def recorded(workshop, tuned):
    with workshop.database.read() as connection:
        return evaluations.evaluations_of(connection, tuned.job.id)


class TestKept:
    def test_it_is_on_the_disk_before_create_answers_and_known_to_the_job(self, workshop):
        tuned = workshop.tuning.create(ADA, number_request(base_model="models/echo-001", validation=(*HELD_OUT, TALK)))

        ref = workshop.artifacts.validation(tuned.job.id)
        assert ref.key == f"datasets/{tuned.job.id}.validation.jsonl"
        with workshop.artifacts.store.reading(ref) as path:
            assert tuple(DatasetFile(path)) == (*HELD_OUT, TALK)
        assert tuned.job.validation_count == 3
        assert workshop.job(tuned) == tuned.job

    def test_a_streamed_one_is_the_same_as_one_in_the_request(self, workshop):
        inline = workshop.tuning.create(ADA, number_request(validation=HELD_OUT))
        one = workshop.tuning.create(ADA, number_request(), None, iter(HELD_OUT))
        both = workshop.tuning.create(ADA, number_request(examples=()), iter(NUMBER_PAIRS), iter(HELD_OUT))
        other = workshop.tuning.create(ADA, number_request(examples=(), validation=HELD_OUT), iter(NUMBER_PAIRS))

        for tuned in (one, both, other):
            assert content(workshop, tuned) == content(workshop, inline)
            assert (tuned.job.seed, tuned.job.example_count) == (inline.job.seed, inline.job.example_count)
            assert tuned.job.validation_count == 2

    def test_the_examples_to_learn_from_are_read_to_their_end_before_it(self, workshop):
        read = []
        examples = (read.append("example") or each for each in NUMBER_PAIRS)
        validation = (read.append("validation") or each for each in HELD_OUT)
        workshop.tuning.create(ADA, number_request(examples=()), examples, validation)
        assert read == ["example"] * len(NUMBER_PAIRS) + ["validation"] * len(HELD_OUT)

    def test_the_seed_and_the_hyperparameters_do_not_depend_on_it(self, workshop):
        unset = RequestedHyperparameters()
        many = HELD_OUT * 600
        jobs = [
            workshop.tuning.create(ADA, number_request(hyperparameters=unset, validation=validation)).job
            for validation in (None, HELD_OUT, many)
        ]
        assert len({(job.seed, job.hyperparameters, job.example_count) for job in jobs}) == 1

    def test_it_may_be_larger_than_the_set_to_learn_from(self, workshop):
        tuned = workshop.tuning.create(ADA, number_request(examples=HELD_OUT, validation=NUMBER_PAIRS))
        assert (tuned.job.example_count, tuned.job.validation_count) == (2, len(NUMBER_PAIRS))

    def test_it_goes_with_its_model(self, workshop, tmp_path):
        kept = workshop.tuning.create(ADA, number_request(validation=HELD_OUT))
        gone = workshop.tuning.create(ADA, number_request(validation=HELD_OUT))
        workshop.tuning.delete(ADA, gone.model.id)
        assert files(tmp_path) == [f"{kept.job.id}.jsonl", f"{kept.job.id}.validation.jsonl"]
        assert not workshop.artifacts.store.has(workshop.artifacts.validation(gone.job.id))

    def test_one_that_a_killed_server_left_goes_the_way_of_its_examples(self, workshop, tmp_path):
        deleted = workshop.tuning.create(ADA, number_request())
        workshop.tuning.delete(ADA, deleted.model.id)
        for job_id in (deleted.job.id, "orphan"):
            with workshop.artifacts.staged_dataset(HELD_OUT) as one, workshop.artifacts.staged_dataset(HELD_OUT) as two:
                workshop.artifacts.place_dataset(one, job_id, two)

        assert workshop.running.sweep() == [deleted.job.id]
        assert files(tmp_path) == []
        aside = (tmp_path / "artifacts").glob("set-aside/*/datasets/*")
        assert sorted(path.name for path in aside) == ["orphan.jsonl", "orphan.validation.jsonl"]

    def test_an_id_that_is_taken_leaves_the_others_alone(self, workshop, tmp_path):
        # Of a model, a job and a permission at each try. The second model's is taken, then its job's.
        draws = iter([1, 2, 3, 1, 4, 5, 6, 2, 7, 8, 9, 10, 11, 12, 13])
        parts = (workshop.database, workshop.artifacts, ECHO_CATALOG, workshop.clock, lambda _bits: next(draws))
        tuning = Tuning(*parts, workshop.metrics)
        requests = [number_request(validation=each) for each in (HELD_OUT, HELD_OUT[:1], HELD_OUT[1:])]
        made = [tuning.create(ADA, request) for request in requests]
        assert [*draws] == []

        assert [tuple(content(workshop, each).splitlines()) for each in made] == [
            tuple(b'{"text_input": "%b", "output": "%b"}' % pair for pair in pairs)
            for pairs in ([(b"11", b"12"), (b"seven", b"eight")], [(b"11", b"12")], [(b"seven", b"eight")])
        ]
        assert len(files(tmp_path)) == 6

    def test_a_full_disk_keeps_nothing(self, workshop, artifacts, tmp_path):
        manifests = tmp_path / "artifacts" / "manifests" / "datasets"
        manifests.mkdir(parents=True, exist_ok=True)
        with artifacts.staged_dataset(NUMBER_PAIRS) as examples, artifacts.staged_dataset(HELD_OUT) as validation:
            (manifests / "abc.validation.jsonl.json.aside").symlink_to("/dev/full")
            with pytest.raises(ResourceExhausted, match="disk is full"):
                artifacts.place_dataset(examples, "abc", validation)
        assert files(tmp_path) == []
        assert not artifacts.store.has(artifacts.dataset("abc"))


class TestHandedOver:
    def test_the_trainer_gets_it_as_a_reference_with_its_steps(self, workshop):
        plain = workshop.tuning.create(ADA, number_request())
        wanted = workshop.tuning.create(ADA, number_request(validation=HELD_OUT, evaluate_every=4))
        first, second = workshop.running.claim(), workshop.running.claim()

        assert (first.job_id, first.validation, first.evaluate_every) == (plain.job.id, None, 0)
        assert (second.job_id, second.evaluate_every) == (wanted.job.id, 4)
        assert second.validation == workshop.artifacts.validation(wanted.job.id)

    @pytest.mark.parametrize(("every", "steps"), [(0, [19]), (4, [4, 8, 12, 16, 19]), (19, [19]), (100, [19])])
    def test_the_dispatcher_records_an_evaluation_at_its_steps_and_at_the_end(self, workshop, every, steps):
        tuned = workshop.tuning.create(ADA, number_request(validation=NUMBER_PAIRS, evaluate_every=every))
        workshop.dispatcher.start()
        workshop.wait_until(JobState.SUCCEEDED, tuned)

        found = recorded(workshop, tuned)
        assert [each.step for each in found] == steps
        assert (found[-1].right_share, found[-1].mean_loss) == (1.0, 0.0)

    def test_a_resumed_job_has_the_evaluations_of_one_that_was_not_disturbed(self, workshop, executor):
        request = number_request(validation=(*NUMBER_PAIRS, *HELD_OUT), evaluate_every=3)
        undisturbed = workshop.tuning.create(ADA, request)
        workshop.advance()
        disturbed = workshop.tuning.create(ADA, request)
        executor.die_before(6)
        executor.die_before(16)
        workshop.dispatcher.start()
        workshop.wait_until(JobState.SUCCEEDED, disturbed)

        numbers = [
            [(each.step, each.mean_loss, each.targets, each.right_targets) for each in recorded(workshop, tuned)]
            for tuned in (undisturbed, disturbed)
        ]
        assert numbers[0] == numbers[1]
        assert [step for step, *_ in numbers[0]] == [3, 6, 9, 12, 15, 18, 19]
        assert numbers[0][0][1] > numbers[0][-1][1]
        assert len(executor.assignments) == 4

    def test_evaluations_after_the_savepoint_are_made_again(self, workshop, executor):
        tuned = workshop.tuning.create(ADA, number_request(validation=HELD_OUT, evaluate_every=1))
        workshop.advance(steps=5)
        before = [each.step for each in recorded(workshop, tuned)]
        workshop.running.give_back(tuned.job.id, died=True)
        resumed = next(iter(executor.train(workshop.running.claim())))
        assert isinstance(resumed, Resumed)
        workshop.running.resumed(tuned.job.id, resumed.step)
        assert (before, [each.step for each in recorded(workshop, tuned)]) == (
            [1, 2, 3, 4],
            [1, 2, 3, 4][: resumed.step],
        )
        assert resumed.step == 4


class TestRefused:
    def test_an_empty_one(self, workshop):
        assert refusals(workshop, validation=()) == {"validation": "at least one example is required"}
        assert refusals(workshop, NUMBER_PAIRS, (), examples=()) == {"validation": "at least one example is required"}

    @pytest.mark.parametrize("streams", [False, True])
    def test_faults_in_it_are_named_beside_those_of_the_examples(self, workshop, streams):
        bad = (NUMBER_PAIRS[0], Conversation.pair("3", ""))
        asked = ((bad, FAULTY), {"examples": ()}) if streams else ((), {"examples": bad, "validation": FAULTY})
        found = refusals(workshop, *asked[0], **asked[1])
        assert found == {
            "examples[1].output": "output must not be empty",
            "validation[2].output": "output must not be empty",
            "validation[2].text_input": "text_input must be at most 40000 characters; it has 40001",
            "validation[3]": "the objective learns from conversations, and this example is a preference: give "
            "conversations, or tune with DPO",
        }

    def test_nothing_is_left_of_one_whose_stream_breaks_off(self, workshop, tmp_path):
        def broken():
            yield HELD_OUT[0]
            raise ConnectionResetError

        with pytest.raises(ConnectionResetError):
            workshop.tuning.create(ADA, number_request(), None, broken())
        assert files(tmp_path) == []
        assert workshop.tuning.list(ADA).items == ()

    def test_conversations_beside_preferences(self, workshop):
        found = refusals(workshop, examples=(PREFERENCE,), validation=(PREFERENCE, TALK), hyperparameters=dpo())
        assert found == {
            "validation[1]": "the objective learns from preferences, and this example is a conversation: give "
            "preferences, or tune with cross-entropy"
        }

    def test_steps_between_evaluations_without_one(self, workshop):
        wanted = "evaluate_every is 5, and there is no validation set: give one, or leave evaluate_every at 0"
        assert refusals(workshop, evaluate_every=5) == {"evaluate_every": wanted}
        assert refusals(workshop, NUMBER_PAIRS, examples=(), evaluate_every=5) == {"evaluate_every": wanted}


class TestObjectivesAndSchedules:
    def test_a_dpo_job_with_conversations_is_refused_example_by_example(self, workshop):
        found = refusals(workshop, examples=(PREFERENCE, NUMBER_PAIRS[0], TALK), hyperparameters=dpo())
        assert [*found] == ["examples[1]", "examples[2]"]
        assert all("learns from preferences, and this example is a conversation" in each for each in found.values())

    def test_a_cross_entropy_job_with_preferences_is_refused_example_by_example(self, workshop):
        found = refusals(workshop, examples=(NUMBER_PAIRS[0], PREFERENCE))
        assert [*found] == ["examples[1]"]
        assert "learns from conversations, and this example is a preference" in found["examples[1]"]

    def test_the_right_kinds_are_accepted(self, workshop):
        request = number_request(examples=(PREFERENCE,), validation=(PREFERENCE,), hyperparameters=dpo())
        assert workshop.tuning.create(ADA, request).job.validation_count == 1

    @pytest.mark.parametrize("beta", [0.0, -0.1, math.nan, math.inf, -math.inf])
    def test_a_beta_that_is_not_above_0_and_finite_is_refused(self, workshop, beta):
        found = refusals(workshop, examples=(PREFERENCE,), hyperparameters=dpo(beta))
        assert found == {"hyperparameters.objective.beta": f"beta must be a finite number above 0; {beta} was given"}

    @pytest.mark.parametrize(
        ("field", "changes"),
        [
            ("evaluate_every", {"evaluate_every": -1, "validation": HELD_OUT}),
            ("evaluate_every", {"evaluate_every": -1}),
            ("checkpoints.steps_every", {"checkpoints": CheckpointSchedule(steps_every=-1)}),
            ("checkpoints.epochs_every", {"checkpoints": CheckpointSchedule(epochs_every=-1)}),
        ],
    )
    def test_negative_steps_and_epochs_are_refused(self, workshop, field, changes):
        name = field.rpartition(".")[2]
        assert refusals(workshop, **changes) == {field: f"{name} must be at least 0; -1 was given"}
