"""A preview is checked as creating is, measured part by part, and leaves nothing behind."""

import asyncio
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from fakes import ECHO_BASE
from pairs import pairs_of
from patience import PATIENCE_SECONDS
from spoken import refusing
from tuningfork.domain.answer_kind import AnswerKind
from tuningfork.domain.conversation import Conversation
from tuningfork.domain.errors import FailedPrecondition, InvalidArgument, NotFound, PermissionDenied, TuningforkError
from tuningfork.domain.hyperparameters import RequestedHyperparameters
from tuningfork.domain.tuning_job import JobId, Snapshot
from tuningfork.execution.base import StepTimes, WorkerDied
from tuningfork.service.tuning.previewing import MOST_PROBED, PART_CHARACTERS, PART_EXAMPLES
from tuningfork.service.tuning.speeds import Speeds
from tuningfork.wire.gemini.names import tuned_name
from workshop import ADA, BOB, number_request, previewing_of


@pytest.fixture
def preview(workshop):
    previewing = previewing_of(workshop)

    def look(request, shown=3, principal=ADA):
        return asyncio.run(previewing.preview(principal, request, shown))

    return look


def test_a_preview_tells_what_creating_would_begin(workshop, preview):
    seen = preview(number_request())
    created = workshop.tuning.create(ADA, number_request())

    assert (seen.base_model, seen.hyperparameters) == (created.model.base_model, created.job.hyperparameters)
    assert (seen.total_steps, seen.example_count) == (19, 15)


def test_a_price_gives_a_cost_of_all_epochs(workshop):
    seen = asyncio.run(previewing_of(workshop, price=2.0).preview(ADA, number_request(), 0))

    assert seen.cost == seen.dataset.total_tokens * seen.hyperparameters.epoch_count * 2.0 / 1_000_000
    assert asyncio.run(previewing_of(workshop).preview(ADA, number_request(), 0)).cost is None


def test_what_the_caller_leaves_open_is_resolved(preview):
    seen = preview(number_request(hyperparameters=RequestedHyperparameters(learning_rate_multiplier=0.5)))

    assert seen.hyperparameters.learning_rate == ECHO_BASE.default_learning_rate / 2
    assert (seen.hyperparameters.epoch_count, seen.hyperparameters.batch_size) == (5, 4)


def test_the_first_examples_are_shown_with_what_is_trained(preview):
    first, second = preview(number_request(), shown=2).dataset.shown

    assert [(part.text, part.trained) for part in first.segments] == [("1", False), ("2<end>", True)]
    assert (second.tokens, second.trained_tokens) == (3, 2)


def test_nothing_is_kept(workshop, preview, tmp_path):
    preview(number_request(tuned_model_id="mine"))

    assert workshop.tuning.list(ADA).items == ()
    assert workshop.running.claim() is None
    kept = [path for path in (tmp_path / "artifacts").rglob("*") if path.is_file()]
    assert {path.parent.name for path in kept} <= {"locks"}
    assert workshop.tuning.create(ADA, number_request(tuned_model_id="mine"))


def test_a_large_dataset_is_measured_in_parts_as_if_it_were_one(workshop, preview):
    texts = ["a " * (1 + number % 7) for number in range(3 * PART_EXAMPLES + 5)]
    texts[2 * PART_EXAMPLES + 1] = "b " * 100
    examples = tuple(Conversation.pair(text, "x y") for text in texts)

    seen = preview(number_request(examples=examples), shown=20).dataset

    assert [len(part) for part in workshop.executor.previews] == [PART_EXAMPLES, PART_EXAMPLES, PART_EXAMPLES, 5]
    assert sum(workshop.executor.previews, ()) == examples
    assert seen.total_tokens == sum(len(text.split()) + 3 for text in texts)
    assert seen.trained_tokens == 3 * len(texts)
    assert (seen.longest_example, seen.longest_tokens) == (2 * PART_EXAMPLES + 1, 103)
    assert [shown.segments[0].text for shown in seen.shown] == texts[:20]


def test_long_examples_are_measured_alone(workshop, preview):
    half = "a" * (PART_CHARACTERS // 3)
    examples = (
        Conversation.pair(half, "x"),
        Conversation.pair(half, "x"),
        Conversation.pair("a", "x"),
        Conversation.pair(half, "x"),
        Conversation.pair(half, "x"),
    )

    preview(number_request(examples=examples, base_model="models/echo-001"))

    assert [len(part) for part in workshop.executor.previews] == [3, 2]
    assert all(
        sum(len(text_input) for text_input, _ in pairs_of(part)) <= PART_CHARACTERS
        for part in workshop.executor.previews
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"examples": ()},
        {"examples": (Conversation.pair("1", ""), Conversation.pair("x" * 40_001, "2"))},
        {"examples": (Conversation.pair("\ud800", "2"),)},
        {"base_model": "models/nobody"},
        {"base_model": "", "tuned_model_source": "tunedModels/nobody"},
        {"base_model": ""},
        {"display_name": "x" * 41, "tuned_model_id": "Not An Id", "temperature": 7.0},
        {"hyperparameters": RequestedHyperparameters(epoch_count=0, learning_rate=float("nan"))},
        {"hyperparameters": RequestedHyperparameters(batch_size=2_000, learning_rate_multiplier=0.0)},
    ],
)
def test_whatever_creating_refuses_is_refused_in_the_same_words(workshop, preview, changes):
    request = number_request(**changes)

    with pytest.raises(TuningforkError) as previewed:
        preview(request)
    with pytest.raises(TuningforkError) as created:
        workshop.tuning.create(ADA, request)

    assert type(previewed.value) is type(created.value)
    assert (previewed.value.message, previewed.value.violations) == (created.value.message, created.value.violations)
    assert isinstance(previewed.value, InvalidArgument | NotFound)


def test_going_on_from_a_tuned_model_needs_one_that_is_ready_and_may_be_used(workshop, preview):
    source = workshop.tuning.create(ADA, number_request(tuned_model_id="mine"))
    request = number_request(base_model="", tuned_model_source=tuned_name(source.model.id))

    with refusing(FailedPrecondition, match="must be ACTIVE"):
        preview(request)
    workshop.advance()
    with pytest.raises(PermissionDenied):
        preview(request, principal=BOB)
    assert preview(request).base_model == source.model.base_model


def test_a_generator_that_dies_is_asked_once_more(workshop, preview):
    workshop.executor.break_generation(0)

    assert preview(number_request()).dataset.shown
    assert len(workshop.executor.previews) == 2


def test_a_generator_that_dies_twice_is_told(workshop, preview):
    workshop.executor.close()

    with pytest.raises(WorkerDied):
        preview(number_request())

    assert len(workshop.executor.previews) == 2


def test_a_template_that_refuses_an_example_is_told_without_a_field(workshop, preview):
    workshop.executor.break_generation(0, InvalidArgument("the model's chat template does not take these turns"))

    with pytest.raises(InvalidArgument, match="does not take these turns") as caught:
        preview(number_request())

    assert caught.value.violations == ()


def test_how_fast_the_server_has_trained_on_the_base_is_told(workshop, preview):
    assert preview(number_request()).step_seconds is None
    speeds = Speeds(iter(range(100)).__next__)
    speeds.claimed(JobId("1"), ECHO_BASE.name)
    for _ in range(5):
        speeds.stepped(JobId("1"), 90)
    previewing = previewing_of(workshop, speeds)

    seen = asyncio.run(previewing.preview(ADA, number_request(), 3))

    tokens_of_a_step = seen.dataset.total_tokens / 15 * 4
    assert seen.tokens_per_second == 90
    assert seen.step_seconds == pytest.approx(tokens_of_a_step / 90)


PROBED = StepTimes(steps=4, tokens=80, seconds=2.0)


def test_a_probe_tells_how_fast_steps_are_before_there_were_any(workshop, preview):
    workshop.executor.probed = PROBED

    seen = preview(number_request(adapter_rank=2))

    assert seen.tokens_per_second == 40
    (probe,) = workshop.executor.probes
    assert (probe.base, probe.adapter.rank, probe.hyperparameters.batch_size) == (ECHO_BASE, 2, 4)
    assert probe.examples == number_request().examples


def test_a_probe_is_made_once_for_each_kind_of_step(workshop, preview):
    workshop.executor.probed = PROBED
    larger = RequestedHyperparameters(batch_size=8)

    for request in (number_request(), number_request(), number_request(hyperparameters=larger)):
        assert preview(request).tokens_per_second == 40

    assert [each.hyperparameters.batch_size for each in workshop.executor.probes] == [4, 8]


def test_a_probe_has_examples_from_all_of_a_large_dataset(workshop, preview):
    workshop.executor.probed = PROBED
    examples = tuple(Conversation.pair(str(number), "x") for number in range(3 * MOST_PROBED - 1))

    preview(number_request(examples=examples))

    assert workshop.executor.probes[0].examples == examples[::3]


def test_steps_of_another_size_tell_it_only_where_no_probe_can(workshop):
    speeds = Speeds(iter(range(100)).__next__)
    speeds.claimed(JobId("1"), ECHO_BASE.name)
    for _ in range(5):
        speeds.stepped(JobId("1"), 9_000)
    preview = previewing_of(workshop, speeds).preview

    busy = asyncio.run(preview(ADA, number_request(), 3))
    workshop.executor.probed = PROBED
    free = asyncio.run(preview(ADA, number_request(), 3))

    assert (busy.tokens_per_second, free.tokens_per_second) == (9_000, 40)


def test_a_trainer_that_dies_of_a_probe_leaves_the_preview_as_it_is(workshop, preview):
    workshop.executor.probed = WorkerDied("the trainer ended")

    assert preview(number_request()).tokens_per_second is None
    deaths = workshop.metrics.registry.get_sample_value("tuningfork_worker_deaths_total", {"role": "trainer"})
    assert deaths == 1


def pending():
    """The result of a probe that is being made, which nothing cancels."""
    result = Future()
    result.set_running_or_notify_cancel()
    return result


def test_previews_wait_for_one_probe_and_not_on_threads_that_others_need(workshop):
    workshop.executor.probed = result = pending()
    previewing = previewing_of(workshop)
    larger = number_request(hyperparameters=RequestedHyperparameters(batch_size=8))

    async def look():
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
        waiting = [asyncio.create_task(previewing.preview(ADA, number_request(), 3)) for _ in range(6)]
        # Answered although six wait, without the time of steps.
        other = await asyncio.wait_for(previewing.preview(ADA, larger, 3), PATIENCE_SECONDS)
        waiting[0].cancel()
        # A result that comes from another thread, as that of a trainer does.
        await asyncio.to_thread(result.set_result, PROBED)
        seen = await asyncio.gather(*waiting, return_exceptions=True)
        return other, seen

    other, (cancelled, *seen) = asyncio.run(look())

    assert other.tokens_per_second is None
    assert isinstance(cancelled, asyncio.CancelledError)
    assert [each.tokens_per_second for each in seen] == [40] * 5
    assert len(workshop.executor.probes) == 1


def test_a_preview_waits_for_a_probe_only_so_long_and_the_next_one_knows_its_result(workshop):
    workshop.executor.probed = result = pending()
    previewing = previewing_of(workshop, patience_seconds=0.01)

    late = asyncio.run(previewing.preview(ADA, number_request(), 3))
    result.set_result(PROBED)
    known = asyncio.run(previewing.preview(ADA, number_request(), 3))

    assert (late.tokens_per_second, known.tokens_per_second) == (None, 40)
    assert len(workshop.executor.probes) == 1


def test_a_probe_that_was_not_made_is_tried_again_and_one_that_cannot_be_is_not(workshop, preview):
    assert preview(number_request()).tokens_per_second is None
    workshop.executor.probed = StepTimes()
    for _ in range(2):
        assert preview(number_request()).tokens_per_second is None

    assert len(workshop.executor.probes) == 2


def test_examples_of_another_size_are_probed_anew(workshop, preview):
    workshop.executor.probed = PROBED
    long = tuple(Conversation.pair("word " * 50 + str(number), "x") for number in range(15))

    for examples in (number_request().examples, long):
        preview(number_request(examples=examples))

    assert len(workshop.executor.probes) == 2


def test_steps_of_jobs_are_measured(workshop):
    created = workshop.tuning.create(ADA, number_request())
    assert workshop.running.claim() is not None
    for step in range(1, 6):
        taken = Snapshot(step=step, epoch=0, mean_loss=1.0, compute_time=workshop.clock())
        workshop.running.record(created.job.id, taken, tokens=12)

    assert workshop.running.speeds.tokens_per_second(ECHO_BASE.name) > 0


def test_the_temperature_of_the_new_model_is_told_with_its_reason(workshop, preview):
    labels = tuple(Conversation.pair(f"message {number}", f"label {number % 2}") for number in range(20))
    asked = number_request(base_model="models/echo-001", examples=labels)

    seen = preview(asked)

    assert (seen.temperature, seen.answers) == (0.0, AnswerKind.LABELS)
    assert workshop.tuning.create(ADA, asked).model.temperature == seen.temperature
    assert preview(number_request()).answers is AnswerKind.FREE
