"""The rater's process, without the process: who is rated with whom, and who hears of what went wrong."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from rating_models import save_classifier
from tuningfork.domain.errors import InternalError
from tuningfork.domain.generation import Speaker
from tuningfork.domain.rater import Activation, ClassifierModel, Passage
from tuningfork.domain.safety import HARMLESS, Assessment, HarmCategory, HarmProbability
from tuningfork.execution.base import RatingAssignment
from tuningfork.execution.messages import Abandon, Rate, Rated, Refused
from tuningfork.execution.rater_process import MOST_TOGETHER, Rater

INSULT = Assessment.of({HarmCategory.HARASSMENT: HarmProbability.HIGH})


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    directory = save_classifier("bert", tmp_path_factory.mktemp("bert"))
    return ClassifierModel(
        location=str(directory), labels=(("insult", (HarmCategory.HARASSMENT,)),), activation=Activation.SIGMOID
    )


def rate(request_id, model, *texts):
    passages = tuple(Passage(text=text, speaker=Speaker.USER) for text in texts)
    return Rate(request_id, RatingAssignment(model=model, passages=passages))


def told(rater, *commands):
    """What a rater says after these commands, step by step until nobody waits."""
    for command in commands:
        assert list(rater.obey(command)) == []
    steps = []
    while not rater.idle:
        steps.append(list(rater.advance()))
    return steps


def test_those_who_wait_together_are_rated_together(model):
    assert told(Rater(), rate("1", model, "insulting", "fine"), rate("2", model), rate("3", model, "insulting")) == [
        [Rated("1", (INSULT, HARMLESS)), Rated("2", ()), Rated("3", (INSULT,))]
    ]


def test_no_more_than_some_are_rated_together(model):
    steps = told(Rater(), *(rate(str(number), model, "fine") for number in range(MOST_TOGETHER + 1)))
    assert [len(step) for step in steps] == [MOST_TOGETHER, 1]


def test_who_left_is_not_rated(model):
    assert told(Rater(), rate("1", model, "fine"), rate("2", model, "insulting"), Abandon("1")) == [
        [Rated("2", (INSULT,))]
    ]


def test_a_rater_without_requests_does_nothing():
    rater = Rater()
    assert rater.idle
    assert list(rater.advance()) == []


def test_a_model_that_cannot_be_used_is_told_to_everyone_who_waits(model, tmp_path):
    gone = ClassifierModel(location=str(tmp_path), labels=model.labels, activation=Activation.SIGMOID)
    ((first, second),) = told(Rater(), rate("1", gone, "x"), rate("2", gone, "y"))

    assert (first.request_id, second.request_id) == ("1", "2")
    assert isinstance(first, Refused)
    assert "no weights in the safetensors format" in first.error.message
    # A class of the domain: one of the engines would bring torch into the server.
    assert type(second.error) is InternalError


def test_a_model_changes_place_with_the_next(model, tmp_path):
    broken = save_classifier("bert", tmp_path)
    weights = load_file(broken / "model.safetensors")
    weights["classifier.bias"] = torch.full_like(weights["classifier.bias"], float("nan"))
    save_file(weights, broken / "model.safetensors", {"format": "pt"})
    other = ClassifierModel(location=str(broken), labels=model.labels, activation=Activation.SIGMOID)

    rater = Rater()
    assert told(rater, rate("1", model, "insulting")) == [[Rated("1", (INSULT,))]]
    ((refused,),) = told(rater, rate("2", other, "x"))
    assert "not finite" in refused.error.message
    assert told(rater, rate("3", model, "fine")) == [[Rated("3", (HARMLESS,))]]
