"""The rater's process, without the process: who is rated with whom, and who hears of what went wrong."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from rating_models import save_classifier, save_guard
from tuningfork.domain.conversation import Speaker
from tuningfork.domain.errors import InternalError
from tuningfork.domain.rater import Activation, ClassifierModel, GuardModel, Passage
from tuningfork.domain.safety import HARMLESS, Assessment, HarmCategory, HarmProbability
from tuningfork.execution.base import RatingAssignment
from tuningfork.execution.local.messages import Abandon, Rate, Rated, Refused
from tuningfork.execution.local.rater_process import MOST_CHARACTERS, MOST_TOGETHER, Rater

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


def of_owner(owner, number, model, text="fine"):
    passage = Passage(text=text, speaker=Speaker.USER)
    return Rate(f"{owner}{number}", RatingAssignment(model=model, passages=(passage,), owner=owner))


def test_behind_any_number_of_anothers_texts_an_owners_is_rated_next(model):
    crowd = [of_owner("ada", number, model) for number in range(10 * MOST_TOGETHER)]
    steps = told(Rater(), *crowd, of_owner("bob", 0, model))

    assert "bob0" in [each.request_id for each in steps[0]]
    of_ada = [each.request_id for step in steps for each in step if each.request_id != "bob0"]
    assert of_ada == [each.request_id for each in crowd]


def test_long_texts_are_rated_in_smaller_batches(model):
    steps = told(Rater(), *(of_owner("ada", number, model, "fine " * 2_000) for number in range(5)))

    assert [len(step) for step in steps] == [2, 2, 1]
    assert 10_000 < MOST_CHARACTERS <= 20_000


def test_a_guard_which_rates_one_by_one_is_given_one_at_a_time(model, tmp_path):
    codes = (("S1", (HarmCategory.HARASSMENT,)),)
    guard = GuardModel(location=str(save_guard(tmp_path)), codes=codes, otherwise=(), window_tokens=64)
    rater = Rater()
    told(rater, of_owner("ada", 0, guard))
    steps = told(rater, *(of_owner("ada", number, guard) for number in range(3)), of_owner("bob", 0, guard))

    assert [[each.request_id for each in step] for step in steps] == [["ada0"], ["bob0"], ["ada1"], ["ada2"]]


def test_a_request_for_another_model_keeps_its_turn(model, tmp_path):
    other = ClassifierModel(
        location=str(save_classifier("bert", tmp_path)), labels=model.labels, activation=Activation.SIGMOID
    )
    steps = told(Rater(), of_owner("ada", 0, model), of_owner("bob", 0, other), of_owner("ada", 1, model))

    assert [[each.request_id for each in step] for step in steps] == [["ada0", "ada1"], ["bob0"]]


def test_whoever_left_is_out_of_the_queue_of_their_owner(model):
    assert told(Rater(), of_owner("ada", 0, model), Abandon("ada0"), Abandon("ada0")) == []
