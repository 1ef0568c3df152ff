"""Partial responses: every way to write a mask, and what it leaves of an answer."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuningfork.domain.errors import InvalidArgument
from tuningfork.wire.gemini.tuning_messages import LIST_TUNED_MODELS_RESPONSE, OPERATION
from tuningfork.wire.google.proto_json.field_masks import MAX_MASK_CHARACTERS, parse_field_mask

PAGE = {
    "tunedModels": [
        {
            "name": "tunedModels/a",
            "state": "ACTIVE",
            "tuningTask": {"startTime": "s", "hyperparameters": {"batchSize": 4}},
        },
        {"name": "tunedModels/b", "tuningTask": {"hyperparameters": {}}},
    ],
    "nextPageToken": "more",
}
ANSWER = {
    "name": "tunedModels/a/operations/b",
    "metadata": {"@type": "type.googleapis.com/x", "totalSteps": 38, "tunedModel": "tunedModels/a"},
}


def select(mask, message=LIST_TUNED_MODELS_RESPONSE, value=PAGE):
    return parse_field_mask(mask).select(message, value)


@pytest.mark.parametrize(
    "mask",
    [
        "tunedModels(name,state),nextPageToken",
        "tuned_models(name,state),next_page_token",
        "nextPageToken,tunedModels/name,tunedModels/state",
        "tunedModels.name,tunedModels.state,nextPageToken",
        " tunedModels ( name , state ) , nextPageToken ",
        "tunedModels(name),tunedModels(state),nextPageToken",
    ],
)
def test_every_way_to_write_a_mask_means_the_same(mask):
    assert select(mask) == {
        "tunedModels": [{"name": "tunedModels/a", "state": "ACTIVE"}, {"name": "tunedModels/b"}],
        "nextPageToken": "more",
    }


def test_the_order_of_the_answer_stays():
    assert list(select("nextPageToken,tunedModels")) == ["tunedModels", "nextPageToken"]


def test_a_mask_reaches_deep():
    assert select("tunedModels/tuningTask(hyperparameters/batchSize)") == {
        "tunedModels": [
            {"tuningTask": {"hyperparameters": {"batchSize": 4}}},
            {"tuningTask": {"hyperparameters": {}}},
        ]
    }


@pytest.mark.parametrize("mask", ["*", "tunedModels/*,nextPageToken", "tunedModels,nextPageToken"])
def test_a_star_or_a_bare_name_is_everything(mask):
    assert select(mask) == PAGE


def test_a_field_that_is_not_set_is_not_there():
    assert select("nextPageToken", value={"tunedModels": []}) == {}


def test_an_any_keeps_its_type():
    assert select("metadata.tuned_model", OPERATION, ANSWER) == {
        "metadata": {"@type": "type.googleapis.com/x", "tunedModel": "tunedModels/a"}
    }
    assert select("metadata(*)", OPERATION, ANSWER) == {"metadata": ANSWER["metadata"]}


@pytest.mark.parametrize(
    ("mask", "path"),
    [
        ("foo", "foo"),
        ("tunedModels(name,foo)", "tuned_models.foo"),
        ("tunedModels/name/foo", "tuned_models.name.foo"),
        ("tunedModels/trainingData", "tuned_models.trainingData"),
    ],
)
@pytest.mark.parametrize("value", [PAGE, {}])
def test_a_field_that_does_not_exist_is_refused_whatever_the_answer_holds(mask, path, value):
    with pytest.raises(InvalidArgument) as caught:
        select(mask, value=value)

    assert caught.value.message == (
        f"Error expanding 'fields' parameter. Cannot find matching fields for path '{path}'."
    )
    assert caught.value.violations[0].field == "fields"


@pytest.mark.parametrize(
    "mask",
    ["", ",", "a,", ",a", "a,,b", "a(", "a()", "a(b", "a)", "a(b))", "(a)", "a(b)c", "a b", "a/", "/a", "a;b", "é"],
)
def test_what_is_no_mask_is_refused_with_an_example(mask):
    with pytest.raises(InvalidArgument, match=r"^Invalid field mask .*: .*\. Write it as name,state or as"):
        parse_field_mask(mask)


def test_a_mask_is_bounded():
    with pytest.raises(InvalidArgument, match=f"longer than {MAX_MASK_CHARACTERS} characters"):
        parse_field_mask("a" * (MAX_MASK_CHARACTERS + 1))
    parse_field_mask("a(" * 1_000 + "b" + ")" * 1_000)


@given(st.text(alphabet="ab(),/.* ", max_size=20))
def test_any_text_is_a_mask_or_is_refused(text):
    with suppress(InvalidArgument):
        select(text)
