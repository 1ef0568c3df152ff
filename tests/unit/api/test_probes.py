"""Probe prompts: asked before the training and after its epochs, recorded once, shown with the job."""

import asyncio
from contextlib import suppress

import pytest

from caller import TUTORIAL_BODY
from patience import PATIENCE_SECONDS
from tuningfork.domain.errors import InvalidArgument, Unavailable
from tuningfork.domain.probe_prompts import MOST_EPOCHS_ASKED
from tuningfork.prober import MOST_TRIES, Prober
from tuningfork.service.quotas import Budget, Quotas
from tuningfork.service.tuning.probing import Probing
from workshop import ADA

CREATE = "/tuningfork/v1/tunedModels"
TASK = TUTORIAL_BODY["tuningTask"]


@pytest.fixture(autouse=True)
def _checkpoints_on_schedule(workshop):
    workshop.executor.keeps_schedule = True


def create(caller, *prompts, **task):
    body = {**TUTORIAL_BODY, "tuningTask": {**TASK, "probePrompts": prompts, **task}}
    answer = caller.post(CREATE, body)
    assert answer.status_code == 200, answer.text
    return answer.json()["metadata"]["tunedModel"]


def shown(caller, name):
    return caller.get(f"/tuningfork/v1/{name}/probes").json()


def answers(caller, name, number=0):
    return [(each["step"], each["text"]) for each in shown(caller, name)["prompts"][number].get("answers", ())]


def prober_of(workshop, generation=None, quotas=None, **options):
    probing = Probing(workshop.database, workshop.artifacts, workshop.clock)
    options = {"poll_seconds": 0.01, "pause_seconds": 0.01, **options}
    return Prober(probing, generation or workshop.generation, quotas or workshop.quotas, str, **options)


def ask_until(workshop, is_done, prober=None):
    """Let the loop ask until something is the case."""
    prober = prober or prober_of(workshop)

    async def run():
        asking = asyncio.create_task(prober.run())
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while not await asyncio.to_thread(is_done):  # noqa: ASYNC110 - it looks at a database
                    await asyncio.sleep(0.01)
        finally:
            asking.cancel()
            with suppress(asyncio.CancelledError):
                await asking

    asyncio.run(run())


def complete(caller, name):
    return lambda: shown(caller, name).get("complete", False)


class Counted:
    """The generation of a workshop, which counts what it is asked, and may fail."""

    def __init__(self, generation, error=None):
        self.generation, self.error, self.asked = generation, error, []

    async def generate(self, principal, ref, request):
        self.asked.append((principal, ref))
        if self.error is not None:
            raise self.error
        return await self.generation.generate(principal, ref, request)


def test_prompts_are_asked_before_the_training_and_after_every_epoch(caller, workshop):
    name = create(caller, "1", "something else")
    workshop.advance()

    ask_until(workshop, complete(caller, name))

    found = shown(caller, name)
    assert [each["prompt"] for each in found["prompts"]] == ["1", "something else"]
    assert found["before"] == "models/gemini-1.0-pro-001"
    # Nineteen steps of four examples: an epoch of fifteen ends within steps 4, 8, 12, 15 and 19.
    assert answers(caller, name) == [(0, "1"), (4, "2"), (8, "2"), (12, "2"), (15, "2"), (19, "2")]
    assert [text for _, text in answers(caller, name, 1)] == ["something else"] * 6
    assert [each["epoch"] for each in found["prompts"][0]["answers"]] == [0, 1, 2, 3, 4, 5]


def test_answers_come_while_the_job_is_in_training(caller, workshop):
    name = create(caller, "1")
    workshop.advance(steps=5)

    ask_until(workshop, lambda: len(answers(caller, name)) == 2)

    assert answers(caller, name) == [(0, "1"), (4, "2")]
    assert "complete" not in shown(caller, name)
    assert caller.get(f"/tuningfork/v1/{name}/job").json()["state"] == "RUNNING"


def test_the_base_is_asked_while_the_job_still_waits(caller, workshop):
    name = create(caller, "1")

    ask_until(workshop, lambda: answers(caller, name) != [])

    assert answers(caller, name) == [(0, "1")]


def test_what_was_recorded_is_not_asked_again_after_a_restart(caller, workshop):
    name = create(caller, "1")
    workshop.advance(steps=5)
    ask_until(workshop, lambda: len(answers(caller, name)) == 2)
    counted = Counted(workshop.generation)

    ask_until(
        workshop,
        lambda: not Probing(workshop.database, workshop.artifacts, workshop.clock).questions(),
        prober_of(workshop, counted),
    )

    assert counted.asked == []
    assert len(answers(caller, name)) == 2


def test_a_model_that_goes_on_from_another_is_asked_as_it_begins(caller, workshop):
    source = caller.create_active()
    body = {**TUTORIAL_BODY, "tunedModelSource": {"tunedModel": source}, "tuningTask": {**TASK, "probePrompts": ["1"]}}
    del body["baseModel"]
    name = caller.post(CREATE, body).json()["metadata"]["tunedModel"]

    ask_until(workshop, lambda: answers(caller, name) != [])

    assert shown(caller, name)["before"] == source
    assert answers(caller, name) == [(0, "2")]


def test_a_chosen_schedule_of_checkpoints_is_kept_and_many_epochs_are_thinned(workshop, caller):
    name = create(caller, "1", hyperparameters={"epochCount": 100, "batchSize": 15})
    workshop.advance()
    kept = caller.get(f"/tuningfork/v1/{name}/checkpoints").json()["checkpoints"]
    assert len(kept) == MOST_EPOCHS_ASKED

    without = caller.create_active()
    assert len(caller.get(f"/tuningfork/v1/{without}/checkpoints").json()["checkpoints"]) == 1


def test_a_job_without_prompts_has_none_to_show(caller):
    assert shown(caller, caller.create()) == {}


def test_a_failed_job_is_asked_no_more(caller, workshop):
    name = create(caller, "1")
    caller.post(f"/v1beta/{name}:cancel", {})

    ask_until(workshop, complete(caller, name))

    assert answers(caller, name) == [(0, "1")]


def test_prompts_and_answers_go_with_their_model(caller, workshop):
    name = create(caller, "1")
    ask_until(workshop, lambda: answers(caller, name) != [])

    assert caller.call("DELETE", f"/v1beta/{name}").status_code == 200

    assert Probing(workshop.database, workshop.artifacts, workshop.clock).questions() == ()
    assert caller.get(f"/tuningfork/v1/{name}/probes").status_code == 404


def test_prompts_are_asked_on_behalf_of_whoever_owns_the_model(caller, workshop):
    counted = Counted(workshop.generation)
    name = create(caller, "1")

    ask_until(workshop, lambda: answers(caller, name) != [], prober_of(workshop, counted))

    [(principal, _)] = counted.asked
    key = workshop.access.authenticate(caller.key)
    assert (principal.email, principal.credential) == (ADA.email, key.credential)


def test_a_generator_that_is_away_is_asked_again_and_at_last_that_is_recorded(caller, workshop):
    counted = Counted(workshop.generation, Unavailable("the generator is away"))
    name = create(caller, "1")

    ask_until(workshop, lambda: answers(caller, name) != [], prober_of(workshop, counted))

    [answer] = shown(caller, name)["prompts"][0]["answers"]
    assert len(counted.asked) == MOST_TRIES
    assert answer["problem"].endswith("the generator is away")
    assert answer["text"] == ""


def test_a_budget_is_waited_for_and_not_overdrawn(caller, workshop):
    quotas = Quotas(Budget(requests_per_minute=1))
    counted = Counted(workshop.generation)
    name = create(caller, "1", "3")

    ask_until(workshop, lambda: answers(caller, name) != [], prober_of(workshop, counted, quotas))

    assert len(counted.asked) == 1
    assert answers(caller, name, 1) == []


def test_a_prompt_that_is_none_for_the_model_is_asked_once_and_says_why(caller, workshop):
    counted = Counted(workshop.generation, InvalidArgument("the prompt is longer than the model's context"))
    name = create(caller, "1")

    ask_until(workshop, lambda: answers(caller, name) != [], prober_of(workshop, counted))

    assert len(counted.asked) == 1
    assert "longer than the model's context" in shown(caller, name)["prompts"][0]["answers"][0]["problem"]


@pytest.mark.parametrize(
    ("prompts", "path", "said"),
    [
        (["1"] * 6, "probe_prompts", "at most 5 texts; 6 were given"),
        (["1", " "], "probe_prompts[1]", "is empty"),
        (["x" * 2_001], "probe_prompts[0]", "at most 2,000 characters; it has 2,001"),
    ],
)
def test_prompts_that_cannot_be_asked_are_refused_by_their_place(caller, prompts, path, said):
    body = {**TUTORIAL_BODY, "tuningTask": {**TASK, "probePrompts": prompts}}

    error = caller.post(CREATE, body).json()["error"]

    assert f"tuned_model.tuning_task.{path}: " in error["message"]
    assert said in error["message"]


def test_only_readers_of_the_model_see_its_prompts(caller):
    name = create(caller, "1")
    assert caller.get(f"/tuningfork/v1/{name}/probes", key=caller.bobs_key).status_code == 403
