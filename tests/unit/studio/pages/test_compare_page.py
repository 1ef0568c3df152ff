"""Several models side by side: what the page says of their results, settings and data."""

import pytest

from studio_stand_in import READY, TRAINING, StandInApi
from tuningfork.studio.texts.catalog import Texts
from tuningfork.studio.view.comparison import Comparison

SLOWER = {
    **READY,
    "tunedModel": "tunedModels/slower",
    "displayName": "Slower <b>numerals</b>",
    "settings": [{"name": "learningRate", "value": "0.0003"}, {"name": "epochCount", "value": "5"}],
    "data": {"exampleCount": 14, "validationExampleCount": 3},
}


@pytest.fixture
def api():
    return StandInApi([READY, TRAINING, SLOWER])


def test_the_settings_in_which_models_differ_stand_before_those_that_are_the_same(visit, api):
    page = visit(api).get("/studio/compare?models=roman&models=slower").text

    differing, alike = page.split('id="settings"')[1].split("<details")[:2]
    assert "Learning rate</th><td" in differing
    assert "0.0003" in differing
    assert "Epochs" not in differing
    assert "<dt>Epochs</dt><dd>5</dd>" in alike
    assert "Slower &lt;b&gt;numerals" in page
    assert "/studio/playground?models=roman,slower" in page


def test_a_model_that_is_not_there_is_told_and_the_others_are_compared(visit, api):
    page = visit(api).get("/studio/compare?models=roman,nowhere,slower").text

    assert "1 model is not here" in page
    assert "nowhere" in page
    assert "<loss-comparison" in page


@pytest.mark.parametrize("query", ["", "?models=roman", "?models=roman&models=&models=roman"])
def test_with_fewer_than_two_models_the_page_asks_for_them(visit, api, query):
    page = visit(api).get(f"/studio/compare{query}").text

    assert "Choose two to four models." in page
    assert "<loss-comparison" not in page


def test_a_running_job_is_followed(visit, api):
    part = visit(api).get("/studio/compare?models=roman,tone", headers={"studio-fragment": "comparison"})

    assert part.headers["studio-every"] == "1000"
    assert "Step 8 of 19" in part.text
    # Only what answers can be asked.
    assert 'models=roman"' in part.text


def test_the_library_lets_models_be_chosen_for_it(visit, api):
    page = visit(api).get("/studio/library").text

    assert 'action="/studio/compare"' in page
    assert '<input type="checkbox" name="models" value="roman" aria-label="Choose Roman numerals">' in page


def test_results_that_no_model_has_are_left_out_and_those_that_some_have_are_not():
    shown = Comparison.of([READY, TRAINING], Texts("en"))

    assert [(line.label, line.values) for line in shown.results] == [
        ("Best validation loss", ("0.213 at step 16", "")),
        ("Last training loss", ("0.180", "")),
        ("Steps", ("19 of 19", "8 of 19")),
        ("Time", ("3.1 seconds", "")),
    ]
    assert [line.label for line in shown.data if line.differs] == ["Examples"]
