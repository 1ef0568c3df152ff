"""What is typed is kept as it is, and becomes the request that it means."""

import pytest

from tuningfork.studio.view.tuning_settings import TypedSettings, field_of, form_values, typed_settings


def settings(**values):
    return TypedSettings({"source": "models/tiny", **values})


def test_empty_fields_are_left_to_the_server():
    assert settings().body("datasets/x") == {"baseModel": "models/tiny", "tuningTask": {"dataset": "datasets/x"}}
    assert settings().query() == {}


def test_everything_that_is_typed_is_in_the_request():
    typed = settings(
        displayName="roman",
        description="Counts.",
        epochCount="5",
        batchSize="4",
        learningRate="1e-3",
        adapterRank="8",
        heldOutPercent="10",
        patience="2",
    )

    assert typed.body("datasets/x") == {
        "displayName": "roman",
        "description": "Counts.",
        "baseModel": "models/tiny",
        "tuningTask": {
            "dataset": "datasets/x",
            "hyperparameters": {"epochCount": 5, "batchSize": 4, "learningRate": 0.001},
            "validation": {"heldOutPercent": 10.0, "earlyStopping": {"patience": 2}},
        },
    }
    assert typed.query() == {"adapterRank": "8"}
    assert typed.not_numbers() == ()


def test_a_tuned_model_learns_further():
    typed = settings(source="tunedModels/a")

    assert typed.body("datasets/x")["tunedModelSource"] == {"tunedModel": "tunedModels/a"}
    assert typed.start_of() == {"tunedModel": "tunedModels/a"}
    assert "baseModel" not in typed.body("datasets/x")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("epochCount", "five"),
        ("batchSize", "2.5"),
        ("learningRate", "nan"),
        ("learningRate", "1,2,3"),
        ("patience", ""),
    ],
)
def test_what_is_no_number_is_told_and_not_sent(name, text):
    typed = settings(**{name: text})

    assert typed.not_numbers() == ((name,) if text else ())
    assert typed.body("datasets/x")["tuningTask"] == {"dataset": "datasets/x"}


def test_a_decimal_comma_is_one():
    assert settings(learningRate="0,001").body("x")["tuningTask"]["hyperparameters"] == {"learningRate": 0.001}


def test_early_stopping_without_held_out_examples_is_told_at_their_field():
    assert settings(patience="2").not_numbers() == ("heldOutPercent",)


@pytest.mark.parametrize(
    "draft", [None, [], "text", {"settings": 3}, {"settings": {"source": 7, "": "x", "__proto__": "y"}}]
)
def test_a_draft_that_a_script_has_written_does_no_harm(draft):
    typed = typed_settings(draft, source="models/tiny", display_name="name")

    assert typed.values == {"source": "models/tiny", "displayName": "name"}


def test_of_a_form_the_known_fields_are_kept():
    assert form_values({"epochCount": " 5 ", "evil": "1", "displayName": ""}) == {"epochCount": "5", "displayName": ""}


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("tuned_model.tuning_task.hyperparameters.epoch_count", "epochCount"),
        ("tuned_model.tuning_task.validation.held_out_percent", "heldOutPercent"),
        ("adapter_rank", "adapterRank"),
        ("tuned_model.nothing", ""),
    ],
)
def test_the_field_of_the_form_that_an_error_means_is_found(path, field):
    assert field_of(path) == field


def test_probe_prompts_that_were_typed_are_sent_in_their_order():
    typed = TypedSettings({"probe1": "", "probe2": "MCM", "probe4": "LXIII"})
    assert typed.body("datasets/x")["tuningTask"]["probePrompts"] == ["MCM", "LXIII"]
    assert "probePrompts" not in TypedSettings({}).body("datasets/x")["tuningTask"]


@pytest.mark.parametrize(("path", "field"), [("[2]", "probe3"), ("", "probe1"), ("[99]", "probe5")])
def test_a_fault_of_a_probe_prompt_is_told_at_its_field(path, field):
    assert field_of(f"tuned_model.tuning_task.probe_prompts{path}") == field
