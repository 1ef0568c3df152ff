"""The page of a model shows the API's answers about it, and changes it as its forms say."""

import csv
import io

import pytest

from studio_stand_in import GEMINI, OWN, READY, StandInApi


def test_a_model_is_shown_with_its_sentence_its_lists_and_its_curve(visit, api):
    page = visit(api).get("/studio/models/roman").text

    assert "Ready after 3.1 seconds. Best validation loss 0.213 at step 16." in page
    assert '<loss-chart data-keep data-model="roman" data-steps="19" data-epochs="5" data-live="no"' in page
    assert 'data-checkpoints="1:16,2:19"' in page
    assert "Learning rate</dt><dd>0.001 <span" in page
    assert "Training started" in page
    assert "answers now" in page


def test_a_running_job_can_be_stopped_and_is_asked_for_often(visit, api):
    browser = visit(api)

    part = browser.get("/studio/models/tone", headers={"studio-fragment": "model"})
    stopped = browser.post("/studio/models/tone/stop")
    after = browser.get(stopped.headers["location"]).text

    assert part.headers["studio-every"] == "1000"
    assert "Stop and keep" in part.text
    assert ("POST", f"{GEMINI}/tunedModels/tone:cancel") in api.calls("POST")
    assert "The job stops after its step." in after
    assert "Stopping after step 8" in after
    # A notice is told once.
    assert "The job stops after its step." not in browser.get("/studio/models/tone").text


def test_a_failed_job_says_why_and_what_to_do(visit):
    failure = {"message": "The loss became NaN.", "cause": "The learning rate is 0.1.", "fix": "Tune with 0.001."}
    api = StandInApi([{**READY, "state": "FAILED", "step": 5, "failure": failure, "callable": False}])

    page = visit(api).get("/studio/models/roman").text

    assert "Failed after step 5." in page
    assert all(text in page for text in failure.values())
    assert "Export" not in page


def test_a_model_is_deleted_when_its_name_was_typed_and_not_before(visit, api):
    browser = visit(api)

    refused = browser.post("/studio/models/roman/delete", data={"typed": "roman numerals"})
    kept = "roman" in api.models
    deleted = browser.post("/studio/models/roman/delete", data={"typed": " Roman numerals"})
    library = browser.get(deleted.headers["location"]).text

    assert (refused.status_code, kept) == (400, True)
    assert "This is not its name. Type: Roman numerals" in refused.text
    assert "roman" not in api.models
    assert "Roman numerals is deleted." in library


def test_who_may_only_use_a_model_sees_no_button_that_changes_it_and_is_refused_in_words(visit):
    api = StandInApi([READY], role="READER")
    browser = visit(api)

    page = browser.get("/studio/models/roman").text
    refused = browser.post("/studio/models/roman/delete", data={"typed": "Roman numerals"})

    assert not [each for each in ("/delete", "/rename", "/share", "/transfer", "/use-checkpoint") if each in page]
    assert refused.status_code == 403
    assert "You may not do this" in refused.text
    assert "You do not have permission to change this model." in refused.text


def test_a_model_that_is_not_there_has_a_page_that_says_so(visit, api):
    browser = visit(api)

    page = browser.get("/studio/models/nobody")
    part = browser.get("/studio/models/nobody", headers={"studio-fragment": "model"})

    assert page.status_code == part.status_code == 404
    assert "This is not here" in page.text


@pytest.mark.parametrize(
    ("form", "body"),
    [
        (
            {"kind": "USER", "email": " ada@example.com ", "role": "WRITER"},
            {"granteeType": "USER", "role": "WRITER", "emailAddress": "ada@example.com"},
        ),
        ({"kind": "EVERYONE", "email": "ignored", "role": "READER"}, {"granteeType": "EVERYONE", "role": "READER"}),
        (
            {"kind": "nonsense", "email": "a@b", "role": "OWNER"},
            {"granteeType": "USER", "role": "READER", "emailAddress": "a@b"},
        ),
    ],
)
def test_sharing_asks_the_api_for_a_permission(visit, api, form, body):
    answer = visit(api).post("/studio/models/roman/share", data=form)

    assert answer.headers["location"] == "/studio/models/roman#sharing"
    assert api.body("POST", f"{GEMINI}/tunedModels/roman/permissions") == body


def test_a_name_and_a_description_are_changed_together(visit, api):
    visit(api).post("/studio/models/roman/rename", data={"name": " Numerals ", "description": "x"})

    assert api.models["roman"]["displayName"] == "Numerals"
    assert api.body("PATCH", f"{GEMINI}/tunedModels/roman") == {"displayName": "Numerals", "description": "x"}


@pytest.mark.parametrize("number", ["2", "x", "99999999999999999999"])
def test_the_choice_of_a_checkpoint_is_the_apis_to_judge(visit, api, number):
    answer = visit(api).post("/studio/models/roman/use-checkpoint", data={"checkpoint": number})

    assert answer.status_code == 303
    assert api.body("POST", f"{OWN}/tunedModels/roman:useCheckpoint") == {"checkpoint": 2 if number == "2" else 0}


def test_losses_come_as_a_table_for_spreadsheets_exactly_as_the_api_has_them(visit, api):
    answer = visit(api).get("/studio/models/roman/losses.csv")

    assert answer.headers["content-disposition"] == 'attachment; filename="roman-losses.csv"'
    assert list(csv.reader(io.StringIO(answer.text))) == [
        ["step", "epoch", "training_loss", "validation_loss", "seconds"],
        ["1", "", "2.5", "", "0.1"],
        ["2", "1", "NaN", "1.25", "0.3"],
    ]


def test_a_form_that_is_larger_than_any_is_refused(visit, api):
    answer = visit(api).post("/studio/models/roman/rename", data={"description": "x" * 2**21})

    assert answer.status_code == 413
    assert api.calls("PATCH") == []


def test_answers_to_probe_prompts_are_shown_over_the_epochs(visit, api):
    answers = [
        {"step": 0, "epoch": 0, "text": "64 <is>"},
        {"step": 4, "epoch": 1, "text": "64 <is>"},
        {"step": 8, "epoch": 2, "text": "LXIV", "cut": True},
        {"step": 12, "epoch": 3, "text": ""},
        {"step": 19, "epoch": 5, "text": "", "problem": "It took too long."},
    ]
    api.probes = {"prompts": [{"prompt": "LXIII", "answers": answers}, {"prompt": "MCM"}], "before": "models/x"}

    page = visit(api).get("/studio/models/roman").text

    assert "Answers over time" in page
    assert page.index("64 &lt;is&gt;") < page.index("the same") < page.index("LXIV …") < page.index("Not asked yet.")
    assert page.count("64 &lt;is&gt;") == 1
    assert "(an empty answer)" in page
    assert "It took too long." in page


def test_a_model_without_probe_prompts_has_no_such_part(visit, api):
    assert "Answers over time" not in visit(api).get("/studio/models/roman").text
