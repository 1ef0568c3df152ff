"""Rating in a process of its own: beside generation, after a death, and from the first word of a server to its last."""

import asyncio
import os
import signal
from pathlib import Path

import httpx
import pytest

import holding
import live_server
from holding import Hold
from rating_models import save_classifier, save_guard
from tuningfork.domain.conversation import Conversation, Speaker, Turn
from tuningfork.domain.errors import InternalError
from tuningfork.domain.generation import FinishReason, Sampling
from tuningfork.domain.rater import Activation, ClassifierModel, GuardModel, Passage
from tuningfork.domain.safety import HARMLESS, Assessment, HarmCategory, HarmProbability
from tuningfork.execution.base import GenerationAssignment, RatingAssignment, WorkerDied
from tuningfork.execution.local import environment
from tuningfork.execution.local.engines import LocalEngines, WorkerThreads
from tuningfork.execution.local.generators import LocalGenerators

pytestmark = [pytest.mark.slow]

INSULT = Assessment.of({HarmCategory.HARASSMENT: HarmProbability.HIGH})
MEANING = (("insult", (HarmCategory.HARASSMENT,)),)


@pytest.fixture(scope="module")
def engines(tmp_path_factory):
    engines = LocalEngines.build(
        threads=WorkerThreads(trainer=1, generator=1), artifacts=tmp_path_factory.mktemp("artifacts")
    )
    yield engines
    engines.close()


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    directory = save_classifier("distilbert", tmp_path_factory.mktemp("distilbert"))
    return ClassifierModel(location=str(directory), labels=MEANING, activation=Activation.SIGMOID)


def assigned(model, *texts):
    return RatingAssignment(model=model, passages=tuple(Passage(text=each, speaker=Speaker.USER) for each in texts))


def rate(engines, model, *texts):
    return asyncio.run(engines.raters.rate(assigned(model, *texts)))


def test_a_classifier_and_a_guard_rate_in_the_same_process(engines, classifier, tmp_path):
    guard = GuardModel(
        location=str(save_guard(tmp_path)), codes=(("S1", (HarmCategory.HARASSMENT,)),), otherwise=(), window_tokens=64
    )

    assert rate(engines, classifier, "insulting", "fine") == (INSULT, HARMLESS)
    rater = engines.worker_pids["rater"]
    assert rate(engines, guard, "fine", "a bomb") == (HARMLESS, INSULT)
    assert engines.worker_pids == {"rater": rater}


def test_many_ask_at_once_and_each_gets_its_own_answer(engines, classifier):
    async def ask_all():
        texts = ["insulting" if number % 3 == 0 else "fine " * number for number in range(60)]
        answers = await asyncio.gather(*(engines.raters.rate(assigned(classifier, text)) for text in texts))
        return [
            answer == ((INSULT,) if "insult" in text else (HARMLESS,))
            for answer, text in zip(answers, texts, strict=True)
        ]

    assert all(asyncio.run(ask_all()))


def test_a_rater_that_is_killed_fails_what_it_was_asked_and_comes_back(engines, classifier):
    async def kill_while_asking():
        await engines.raters.rate(assigned(classifier, "warm"))
        rater = engines.worker_pids["rater"]
        # Stopped, it cannot have answered when it dies.
        os.kill(rater, signal.SIGSTOP)
        asking = asyncio.create_task(engines.raters.rate(assigned(classifier, "insulting")))
        # The task asks before it first waits.
        await asyncio.sleep(0)
        os.kill(rater, signal.SIGKILL)
        await asking

    with pytest.raises(WorkerDied, match="rater_process ended in the middle of its work"):
        asyncio.run(kill_while_asking())
    assert rate(engines, classifier, "insulting") == (INSULT,)


def test_a_model_that_cannot_be_used_is_refused_without_a_death(engines, tmp_path):
    nothing = ClassifierModel(location=str(tmp_path), labels=MEANING, activation=Activation.SIGMOID)

    with pytest.raises(InternalError, match="no weights in the safetensors format"):
        rate(engines, nothing, "x")


def test_a_candidate_that_nobody_wants_ends_and_the_others_go_on(tiny_llama, tmp_path):
    hold = Hold(tmp_path / "hold")
    variables = environment.of_worker(1, "warning") | environment.of_artifacts(tmp_path) | hold.variables
    generators = LocalGenerators(variables, holding.MODULE)
    sampling = Sampling(temperature=1.0, top_p=1.0, top_k=None, max_output_tokens=40, candidate_count=3, seed=1)
    prompt = Conversation(turns=(Turn.said(Speaker.USER, "hello"),))
    assignment = GenerationAssignment(base=tiny_llama, adapter=None, prompt=prompt, sampling=sampling)

    async def read_all():
        return [chunk async for chunk in generators.generate(assignment)]

    async def read_without(unwanted):
        chunks = generators.generate(assignment)
        # Held, the generator has not made the rest when it is told.
        with hold.held():
            seen = [await anext(chunks)]
            while seen[-1].candidate != unwanted:
                # A command, for which it takes a step.
                generators.forget([])
                seen.append(await anext(chunks))
            seen.append(await chunks.asend(unwanted))
            return seen + [chunk async for chunk in chunks]

    try:
        all_of_them, without_one = asyncio.run(read_all()), asyncio.run(read_without(1))
    finally:
        generators.close()

    def text(chunks, candidate):
        return "".join(chunk.text for chunk in chunks if chunk.candidate == candidate)

    def ended(chunks):
        return {chunk.candidate for chunk in chunks if chunk.finish_reason is not None}

    assert ended(all_of_them) == {0, 1, 2}
    assert ended(without_one) == {0, 2}
    assert all(text(without_one, each) == text(all_of_them, each) for each in (0, 2))
    assert len(text(without_one, 1)) < len(text(all_of_them, 1))
    assert without_one[-1].output_tokens < all_of_them[-1].output_tokens
    assert all_of_them[-1].finish_reason in (FinishReason.STOP, FinishReason.MAX_TOKENS)


SAFETY_FILE = """
kind = "classifier"
model = "{model}"
activation = "sigmoid"
[labels]
insult = "harassment"
threat = "dangerous_content"
"""


@pytest.mark.acceptance
def test_a_server_keeps_its_thresholds_also_when_its_rater_dies(tmp_path, classifier):
    file = tmp_path / "safety.toml"
    file.write_text(SAFETY_FILE.format(model=classifier.location))

    with live_server.running(tmp_path, "--safety", str(file)) as server, server.client() as client:

        def ask(text):
            body = {"contents": [{"parts": [{"text": text}]}], "generationConfig": {"maxOutputTokens": 4}}
            return client.post("/v1beta/models/tuningfork-mini-001:generateContent", json=body)

        assert ask("insulting").json()["promptFeedback"]["blockReason"] == "SAFETY"
        assert "safetyRatings" in ask("12").json()["candidates"][0]
        assert server.kill("rater")
        # A fresh one rates as the first did.
        assert ask("insulting").json()["promptFeedback"]["blockReason"] == "SAFETY"
        # Without its model none can, and then no text passes.
        (tmp_path / "gone").mkdir()
        weights = next(iter(Path(classifier.location).glob("*.safetensors")))
        weights.rename(tmp_path / "gone" / weights.name)
        try:
            assert server.kill("rater")
            refused = ask("12")
            assert (refused.status_code, "could not be rated" in refused.text) == (503, True)
        finally:
            (tmp_path / "gone" / weights.name).rename(weights)
        assert ask("12").status_code == httpx.codes.OK


@pytest.mark.acceptance
@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            'kind = "classifier"\nmodel = "/nowhere"\n[labels]\na = "harassment"',
            "neither a directory with a config.json",
        ),
        (SAFETY_FILE.replace("insult =", "rude ="), "has no label rude"),
        (SAFETY_FILE.replace("[labels]", "window_tokens = 16\n[labels]\nharmless = 'rudeness'"), "no category"),
        # Only its weights tell that this one cannot be used.
        (SAFETY_FILE, "no weights in the safetensors format"),
    ],
)
def test_a_server_whose_rater_cannot_be_used_does_not_start(tmp_path, classifier, text, said):
    copy = tmp_path / "model"
    copy.mkdir()
    config = Path(classifier.location) / "config.json"
    (copy / "config.json").write_text(config.read_text())
    (tmp_path / "safety.toml").write_text(text.replace("{model}", str(copy)))
    server = live_server.LiveServer(tmp_path, "--safety", str(tmp_path / "safety.toml"))

    with pytest.raises(AssertionError):
        server.start()

    assert server.stop() == 1
    assert said in server.log.read_text()
