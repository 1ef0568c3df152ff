"""Base models, as they are shown."""

import pytest

from fakes import ECHO_CATALOG
from tuningfork.domain.errors import InvalidArgument
from tuningfork.wire.gemini.models import MAX_PAGE_SIZE, METHODS, render_models_page
from tuningfork.wire.google.proto_json.encode import encode

MODELS = tuple(ECHO_CATALOG.public_models())


def page(**query):
    typed = render_models_page(MODELS, query)
    return encode(typed.message, typed.fields)


def names(shown):
    return [model["name"] for model in shown.get("models", [])]


def test_every_model_can_be_tuned_as_clients_look_for_it():
    assert "createTunedModel" in METHODS
    assert all(set(METHODS) <= set(model["supportedGenerationMethods"]) for model in page()["models"])


def test_generate_text_is_named_where_the_limits_of_a_name_allow_it():
    assert {model["name"]: "generateText" in model["supportedGenerationMethods"] for model in page()["models"]} == {
        face.name: face.limits.completion for face in MODELS
    }


@pytest.mark.parametrize("size", ["0", "50", str(MAX_PAGE_SIZE + 1)])
def test_a_usual_page_holds_them_all(size):
    assert names(page(pageSize=size)) == [model.name for model in MODELS]
    assert "nextPageToken" not in page(pageSize=size)


@pytest.mark.parametrize("size", [1, 2])
def test_pages_follow_each_other_to_the_end(size):
    seen, token = [], ""
    while True:
        shown = page(pageSize=str(size), pageToken=token)
        seen += names(shown)
        token = shown.get("nextPageToken", "")
        if not token:
            break

    assert seen == [model.name for model in MODELS]


def test_no_models_are_an_empty_message():
    typed = render_models_page((), {})

    assert encode(typed.message, typed.fields) == {}


@pytest.mark.parametrize(("query", "field"), [({"pageSize": "-1"}, "page_size"), ({"pageToken": "x"}, "page_token")])
def test_a_bad_page_is_named(query, field):
    with pytest.raises(InvalidArgument) as caught:
        page(**query)

    assert caught.value.violations[0].field == field
    assert caught.value.message.startswith(f"* ListModelsRequest.{field}: {field} ")
