"""Staged datasets over HTTP: from the upload to the tuning job."""

import json

import pytest

from caller import TUTORIAL_BODY
from tuningfork.domain.staged_dataset import LIFETIME

ROOT = "/tuningfork/v1"
BASE = "models/gemini-1.0-pro-001"
CSV = b"text_input,output\n" + b"".join(b"question %d,answer %d\n" % (n, n) for n in range(30))


def made(answer):
    assert answer.status_code == 200, answer.text
    return answer.json()


def refused(answer):
    """Status, message and the fields of the violations."""
    error = answer.json()["error"]
    assert answer.status_code == error["code"]
    fields = [each.get("field") for detail in error.get("details", []) for each in detail.get("fieldViolations", [])]
    return error["code"], error["message"], fields


def upload(caller, content=CSV, name="pairs.csv", **options):
    return made(caller.post(f"{ROOT}/datasets?name={name}", content, **options))


@pytest.fixture
def dataset(caller):
    """The path of a dataset of thirty rows."""
    return f"{ROOT}/{upload(caller)['name']}"


def rows(caller, path, query=""):
    return made(caller.get(f"{path}/rows{query}"))


def test_a_file_becomes_a_dataset_that_is_told_in_full(caller):
    told = upload(caller, b"text_input,output\nI,II\nII,III\n", "roman.csv")

    assert told == {
        "name": told["name"],
        "displayName": "roman",
        "sourceName": "roman.csv",
        "format": "CSV",
        "kind": "PAIRS",
        "rowCount": 2,
        "revision": 0,
        "columns": [{"name": "text_input", "role": "INPUT"}, {"name": "output", "role": "OUTPUT"}],
        "columnsSettled": True,
        "columnsReason": "'text_input' looks like the input and 'output' like the output: their names say so.",
        "sizeBytes": told["sizeBytes"],
        **{name: told[name] for name in ("createTime", "updateTime", "expireTime")},
    }
    assert made(caller.get(f"{ROOT}/{told['name']}")) == told
    assert made(caller.get(f"{ROOT}/datasets"))["datasets"] == [told]


def test_columns_whose_names_do_not_tell_are_left_to_the_person(caller, dataset):
    told = upload(caller, b"left,right,more\na,b,c\nd,e,f\n")
    assert "columnsSettled" not in told
    assert {column["role"] for column in told["columns"]} == {"IGNORE"}
    path = f"{ROOT}/{told['name']}"

    assert made(caller.post(f"{path}:check", {}))["findings"][0]["id"] == "no_columns"
    roles = [{"role": "INPUT", "prefix": "q: "}, {"role": "OUTPUT"}, {"role": "IGNORE"}]
    changed = made(caller.call("PATCH", path, {"columns": roles}))
    assert changed["columns"] == [
        {"name": "left", "role": "INPUT", "prefix": "q: "},
        {"name": "right", "role": "OUTPUT"},
        {"name": "more", "role": "IGNORE"},
    ]
    assert changed["columnsSettled"] is True
    assert [each["id"] for each in made(caller.post(f"{path}:check", {}))["findings"]] == ["few_rows"]


def test_what_is_wrong_with_a_change_is_told_field_by_field(caller, dataset):
    bad = {"displayName": " ", "draft": {"x": "y" * 70_000}, "columns": [{"role": "MAIN"}, {"role": "OUTPUT"}]}
    code, message, fields = refused(caller.call("PATCH", dataset, bad))
    assert code == 400
    assert fields == ["dataset.draft", "dataset.display_name", "dataset.columns[0].role"]
    assert "one of INPUT, OUTPUT, SYSTEM, IGNORE; 'MAIN' was given" in message
    assert refused(caller.call("PATCH", dataset, {"columns": [{"role": "INPUT"}]}))[2] == ["dataset.columns"]
    assert refused(caller.call("PATCH", dataset, {"draft": [1]}))[2] == ["dataset.draft"]


def test_a_draft_is_kept_as_it_is_and_other_fields_stay(caller, dataset):
    draft = {":x": 1, "__proto__": {"a.b": [None, "<b>"]}}
    assert made(caller.call("PATCH", dataset, {"draft": draft}))["draft"] == draft
    told = made(caller.call("PATCH", dataset, {"displayName": "New"}))
    assert (told["draft"], told["displayName"]) == (draft, "New")
    assert "draft" not in made(caller.get(f"{ROOT}/datasets"))["datasets"][0]
    assert "draft" not in made(caller.call("PATCH", dataset, {"draft": {}}))


def test_rows_are_shown_changed_added_removed_and_each_edit_is_undone(caller, dataset):
    first = rows(caller, dataset, "?start=1&count=2")
    assert first == {
        "rows": [
            {"id": n, "number": n + 1, "place": f"line {n + 2}", "cells": [f"question {n}", f"answer {n}"]}
            for n in (1, 2)
        ],
        "rowCount": 30,
        "revision": 0,
    }
    changed = made(caller.call("PATCH", f"{dataset}/rows/1", {"cells": ["Q", None]}))
    assert changed["row"] == {"id": 1, "number": 2, "place": "line 3", "cells": ["Q", None]}
    assert (changed["dataset"]["revision"], changed["dataset"]["lastEdit"]) == (1, "Changed row 2")
    added = made(caller.post(f"{dataset}:addRows", {"rows": [{"cells": ["a", "b"]}, {"cells": ["c", "d"]}]}))
    assert (added["ids"], added["dataset"]["rowCount"]) == ([30, 31], 32)
    removed = made(caller.post(f"{dataset}:removeRows", {"ids": [0, 31, 99]}))["dataset"]
    assert (removed["rowCount"], removed["lastEdit"], removed["undoableEdits"]) == (30, "Removed 2 rows", 3)
    assert [row["id"] for row in rows(caller, dataset, "?ids=30&ids=31&ids=1")["rows"]] == [30, 1]
    assert rows(caller, dataset, "?start=29")["rows"][0]["number"] == 30

    counts = [made(caller.post(f"{dataset}:undo", {}))["dataset"]["rowCount"] for _ in range(3)]
    assert counts == [32, 30, 30]
    assert rows(caller, dataset, "?start=1&count=2") == {**first, "revision": 6}
    code, message, _ = refused(caller.post(f"{dataset}:undo", {}))
    assert (code, message) == (400, "There is nothing to undo in this dataset.")


def test_long_cells_are_cut_in_windows_and_whole_one_by_one(caller):
    text = "x" * 5_000
    path = f"{ROOT}/{upload(caller, f'text_input,output{chr(10)}{text},b{chr(10)}'.encode())['name']}"
    (row,) = rows(caller, path)["rows"]
    assert (len(row["cells"][0]), row["cut"]) == (2_000, [0])
    assert made(caller.get(f"{path}/rows/0"))["cells"] == [text, "b"]
    assert rows(caller, path, "?cellCharacters=1")["rows"][0]["cells"] == ["x", "b"]


@pytest.mark.parametrize(
    ("row", "field"),
    [
        ({"cells": "a"}, "row.cells"),
        ({"cells": ["a", 1]}, "row.cells"),
        ({}, "row.cells"),
        ({"cells": ["a", "b"], "conversation": {}}, "row"),
        ({"conversation": {"turns": [{"role": "assistant", "text": "x"}]}}, "row.conversation.turns[0].role"),
    ],
)
def test_a_malformed_row_is_refused_with_its_field(caller, dataset, row, field):
    assert refused(caller.call("PATCH", f"{dataset}/rows/0", row))[2] == [field]
    assert rows(caller, dataset)["revision"] == 0


def test_a_row_must_fit_its_dataset(caller, dataset):
    code, message, _ = refused(caller.call("PATCH", f"{dataset}/rows/0", {"cells": ["a"]}))
    assert (code, message) == (
        400,
        "Each row of this dataset has 2 cells, one for each column: give as many in `cells`.",
    )
    assert refused(caller.call("PATCH", f"{dataset}/rows/77", {"cells": ["a", "b"]}))[0] == 404
    assert refused(caller.get(f"{dataset}/rows/first"))[0] == 404


def test_conversations_are_rows_too(caller):
    lines = [
        {
            "messages": [
                {"role": "system", "content": "s"},
                {"role": "user", "content": "a"},
                {"role": "assistant", "content": "b"},
            ]
        }
    ] * 2
    told = upload(caller, "\n".join(map(json.dumps, lines)).encode(), "c.jsonl")
    assert (told["kind"], told["conversationForm"], told["rowCount"]) == ("CONVERSATIONS", "messages", 2)
    path = f"{ROOT}/{told['name']}"
    said = {
        "systemInstruction": "s",
        "turns": [{"role": "user", "text": "a", "learned": False}, {"role": "model", "text": "b", "learned": True}],
    }
    assert rows(caller, path)["rows"][0]["conversation"] == said
    other = {"turns": [{"role": "user", "text": "x"}, {"role": "model", "text": ""}]}
    assert made(caller.call("PATCH", f"{path}/rows/0", {"conversation": other}))["row"]["conversation"]["turns"][1] == {
        "role": "model",
        "text": "",
        "learned": True,
    }
    found = {each["id"]: each["count"] for each in made(caller.post(f"{path}:check", {}))["findings"]}
    assert found == {"empty_output": 1, "few_rows": 2}


def test_a_check_names_rows_and_a_fix_mends_them_in_one_edit(caller, dataset):
    made(caller.call("PATCH", f"{dataset}/rows/4", {"cells": ["a", " "]}))
    made(caller.call("PATCH", f"{dataset}/rows/6", {"cells": ["b", " x"]}))
    checked = made(caller.post(f"{dataset}:check", {"baseModel": BASE}))
    assert [(each["id"], each["severity"], each["rows"]) for each in checked["findings"]] == [
        ("empty_output", "ERROR", [{"id": 4, "number": 5}]),
        ("stray_spaces", "WARNING", [{"id": 6, "number": 7}]),
    ]
    assert checked["findings"][0]["fixes"] == [{"id": "remove_rows", "title": "Remove 1 row", "changes": 1}]
    assert (checked["rowCount"], checked["exampleCount"], checked["revision"]) == (30, 29, 2)
    assert checked["tokenCount"] > 0

    trimmed = made(caller.post(f"{dataset}:fix", {"finding": "stray_spaces", "fix": "trim_spaces"}))
    assert (trimmed["changedRowCount"], trimmed["dataset"]["lastEdit"]) == (
        1,
        "Changed 1 row (white space around texts)",
    )
    removed = made(caller.post(f"{dataset}:fix", {"finding": "empty_output", "fix": "remove_rows"}))
    assert (removed["changedRowCount"], removed["dataset"]["rowCount"]) == (1, 29)
    assert "findings" not in made(caller.post(f"{dataset}:check", {"baseModel": BASE}))
    made(caller.post(f"{dataset}:undo", {}))
    assert [each["id"] for each in made(caller.post(f"{dataset}:check", {}))["findings"]] == ["empty_output"]


def test_a_fix_of_what_is_not_found_says_what_is(caller, dataset):
    made(caller.call("PATCH", f"{dataset}/rows/4", {"cells": ["a", ""]}))
    code, message, fields = refused(caller.post(f"{dataset}:fix", {"finding": "duplicates", "fix": "remove_rows"}))
    assert (code, fields) == (400, ["finding"])
    assert "one that the data has (empty_output); 'duplicates' was given" in message
    assert refused(caller.post(f"{dataset}:fix", {"finding": "empty_output", "fix": "trim_spaces"}))[2] == ["fix"]


def test_lines_that_became_no_row_are_told_and_accepted(caller):
    lines = [*(json.dumps({"text_input": f"{n}", "output": f"{n} x"}) for n in range(25)), '{"text_input": ']
    told = upload(caller, "\n".join(lines).encode(), "p.jsonl")
    assert (told["rowCount"], told["unreadRowCount"], told["unreadRows"][0]["place"]) == (25, 1, "line 26")
    path = f"{ROOT}/{told['name']}"
    assert [each["id"] for each in made(caller.post(f"{path}:check", {}))["findings"]] == ["unreadable_rows"]
    made(caller.post(f"{path}:fix", {"finding": "unreadable_rows", "fix": "acknowledge_unreadable"}))
    assert "findings" not in made(caller.post(f"{path}:check", {}))


def test_a_preview_shows_what_is_learned(caller, dataset):
    told = made(caller.post(f"{dataset}:preview", {"baseModel": BASE, "ids": [3]}))
    (example,) = told["examples"]
    assert (example["id"], example["number"]) == (3, 4)
    assert [(each["text"], each["learned"]) for each in example["segments"]] == [
        ("question 3", False),
        ("answer 3<end>", True),
    ]
    assert len(made(caller.post(f"{dataset}:preview", {"baseModel": BASE}))["examples"]) == 3
    made(caller.call("PATCH", f"{dataset}/rows/3", {"cells": ["a", ""]}))
    code, message, fields = refused(caller.post(f"{dataset}:preview", {"baseModel": BASE, "ids": [3]}))
    assert (code, fields) == (400, ["ids"])
    assert "row 4 is no example yet: empty output" in message


def test_an_estimate_tells_what_the_job_will_have_and_invents_nothing(caller, dataset):
    body = {"baseModel": BASE, "tuningTask": {"hyperparameters": {"epochCount": 2, "batchSize": 4}}}
    told = made(caller.post(f"{dataset}:estimate", body))
    assert (told["exampleCount"], told["totalSteps"], told["jobsAhead"], told["waitSeconds"]) == (30, 15, 0, 0)
    assert told["hyperparameters"]["epochCount"] == 2
    for _ in range(2):
        made(caller.post("/v1beta/tunedModels", TUTORIAL_BODY))
    told = made(caller.post(f"{dataset}:estimate", body))
    # Two places are free, and two jobs wait: nobody knows when one of them ends.
    assert told["jobsAhead"] == 2
    assert "waitSeconds" not in told


def test_an_estimate_tells_when_a_place_becomes_free(caller, dataset, workshop):
    body = {"baseModel": BASE, "tuningTask": {"hyperparameters": {"epochCount": 2, "batchSize": 4}}}
    made(caller.post("/v1beta/tunedModels", TUTORIAL_BODY))
    told = made(caller.post(f"{dataset}:estimate", body))
    # One waits, and there are two places.
    assert (told["jobsAhead"], told["waitSeconds"]) == (1, 0)
    workshop.advance(steps=5)
    made(caller.post("/v1beta/tunedModels", TUTORIAL_BODY))
    workshop.advance(steps=5)
    told = made(caller.post(f"{dataset}:estimate", body))
    assert told["jobsAhead"] == 0
    assert told["waitSeconds"] > 0


def body_of(path, **changes):
    return {"baseModel": BASE, "tuningTask": {"dataset": path.removeprefix(f"{ROOT}/"), **changes}}


def test_a_job_is_created_from_a_dataset_once_for_each_request_id(caller, dataset, workshop):
    first = made(caller.post(f"{ROOT}/tunedModels?requestId=abc-1", body_of(dataset)))
    again = made(caller.post(f"{ROOT}/tunedModels?requestId=abc-1", body_of(dataset)))
    assert again["name"] == first["name"]
    other = made(caller.post(f"{ROOT}/tunedModels?requestId=abc-2", body_of(dataset)))
    assert other["name"] != first["name"]
    assert len(made(caller.get("/v1beta/tunedModels"))["tunedModels"]) == 2
    # The id is the caller's own.
    bobs = upload(caller, key=caller.bobs_key)["name"]
    asked = {"baseModel": BASE, "tuningTask": {"dataset": bobs}}
    theirs = made(caller.post(f"{ROOT}/tunedModels?requestId=abc-1", asked, key=caller.bobs_key))
    assert theirs["name"] != first["name"]
    # What is trained on are the dataset's rows, also after it is gone.
    made(caller.call("DELETE", dataset))
    job_id = workshop.advance().job_id
    assert workshop.artifacts.dataset_path(job_id).read_bytes().count(b"\n") == 30


def test_a_share_of_a_dataset_is_held_out(caller, dataset):
    told = made(caller.post(f"{ROOT}/tunedModels", body_of(dataset, validation={"heldOutPercent": 10})))
    assert (told["metadata"]["exampleCount"], told["metadata"]["validationExampleCount"]) == ("27", "3")


def test_no_job_is_created_over_data_with_errors(caller, dataset):
    made(caller.call("PATCH", f"{dataset}/rows/4", {"cells": ["a", " "]}))
    code, message, _ = refused(caller.post(f"{ROOT}/tunedModels", body_of(dataset)))
    assert code == 400
    assert "Empty output: 1 row without an output: there is nothing to learn." in message
    assert made(caller.get("/v1beta/tunedModels")) == {}


@pytest.mark.parametrize(
    ("query", "task", "field"),
    [
        ("", {"dataset": "tunedModels/x"}, "tuned_model.tuning_task.dataset"),
        ("?requestId=a%20b", {}, "request_id"),
        (
            "",
            {"dataset": "datasets/x", "trainingData": {"examples": {"examples": [{"textInput": "1", "output": "2"}]}}},
            "tuned_model.tuning_task.dataset",
        ),
    ],
)
def test_a_malformed_name_or_id_is_refused(caller, query, task, field):
    asked = {"baseModel": BASE, "tuningTask": task}
    assert refused(caller.post(f"{ROOT}/tunedModels{query}", asked))[2] == [field]


def test_nobody_else_sees_a_dataset_and_it_looks_to_them_as_if_it_were_not_there(caller, dataset):
    name = dataset.removeprefix(f"{ROOT}/")
    requests = [
        ("GET", dataset, None),
        ("PATCH", dataset, {"displayName": "b"}),
        ("DELETE", dataset, None),
        ("GET", f"{dataset}/rows", None),
        ("GET", f"{dataset}/rows/0", None),
        ("PATCH", f"{dataset}/rows/0", {"cells": ["a", "b"]}),
        ("POST", f"{dataset}:addRows", {"rows": [{"cells": ["a", "b"]}]}),
        ("POST", f"{dataset}:removeRows", {"ids": [0]}),
        ("POST", f"{dataset}:undo", {}),
        ("POST", f"{dataset}:check", {}),
        ("POST", f"{dataset}:fix", {"finding": "duplicates", "fix": "remove_rows"}),
        ("POST", f"{dataset}:preview", {"baseModel": BASE}),
        ("POST", f"{dataset}:estimate", {"baseModel": BASE}),
        ("POST", f"{ROOT}/tunedModels", {"baseModel": BASE, "tuningTask": {"dataset": name}}),
    ]
    for verb, path, body in requests:
        answer = caller.call(verb, path, body, key=caller.bobs_key)
        missing = caller.call(
            verb,
            path.replace(name, "datasets/nosuchdataset"),
            body and json.loads(json.dumps(body).replace(name, "datasets/nosuchdataset")),
            key=caller.bobs_key,
        )
        assert refused(answer)[0] == 404, (verb, path)
        assert answer.text.replace(name, "datasets/nosuchdataset") == missing.text
    assert made(caller.get(f"{ROOT}/datasets", key=caller.bobs_key)) == {}
    assert rows(caller, dataset)["revision"] == 0


def test_a_dataset_expires_a_week_after_its_last_use(caller, dataset, workshop):
    workshop.clock.advance(seconds=LIFETIME.total_seconds() - 60)
    assert made(caller.get(dataset))["rowCount"] == 30
    workshop.clock.advance(seconds=LIFETIME.total_seconds() - 60)
    assert made(caller.get(dataset))["rowCount"] == 30
    workshop.clock.advance(seconds=LIFETIME.total_seconds() + 60)
    assert refused(caller.get(dataset))[0] == 404
    assert made(caller.get(f"{ROOT}/datasets")) == {}


@pytest.mark.parametrize(
    ("content", "name", "said"),
    [
        (b"", "a.csv", "The file is empty."),
        (b"%PDF-1.7", "a.csv", "PDF document"),
        (b"a,b\n\xff,2\n", "a.csv", "not UTF-8 text"),
        (b"PK\x03\x04broken", "a.xlsx", "The file cannot be read."),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_in_words_and_leaves_nothing(caller, content, name, said, workshop):
    code, message, _ = refused(caller.post(f"{ROOT}/datasets?name={name}", content))
    assert code == 400
    assert said in message
    assert made(caller.get(f"{ROOT}/datasets")) == {}
    left = [path for path in (workshop.artifacts.store.root / "staged").rglob("*") if path.is_file()]
    assert left == []


def test_lists_come_in_pages_the_newest_first(caller, workshop):
    names = []
    for number in range(5):
        workshop.clock.advance(seconds=1)
        names.append(upload(caller, name=f"n{number}.csv")["name"])
    first = made(caller.get(f"{ROOT}/datasets?pageSize=3"))
    second = made(caller.get(f"{ROOT}/datasets?pageSize=3&pageToken={first['nextPageToken']}"))
    assert [each["name"] for page in (first, second) for each in page["datasets"]] == names[::-1]
    assert "nextPageToken" not in second
    assert refused(caller.get(f"{ROOT}/datasets?pageToken=x"))[2] == ["page_token"]


def test_hostile_names_headers_and_cells_are_only_ever_text(caller):
    content = b':x,a.b,__proto__,output\n<script>alert(1)</script>,{{7*7}},"=HYPERLINK(""x"")",ok\n'
    told = upload(caller, content, "..%2F..%2Fetc%2Fpasswd%00<b>.csv")
    assert told["sourceName"] == "passwd<b>.csv"
    assert [column["name"] for column in told["columns"]] == [":x", "a.b", "__proto__", "output"]
    (row,) = rows(caller, f"{ROOT}/{told['name']}")["rows"]
    assert row["cells"] == ["<script>alert(1)</script>", "{{7*7}}", '=HYPERLINK("x")', "ok"]


def test_half_characters_are_refused_where_they_cannot_be_shown_and_shown_as_lost_elsewhere(caller, dataset):
    for field in (b'"displayName": "\\ud800"', b'"draft": {"a": ["\\ud800"]}'):
        assert refused(caller.call("PATCH", dataset, b"{" + field + b"}"))[0] == 400
    told = upload(caller, b'[{"text_input": "a\\ud800", "output": "b", "\\udc00": 1}]', "a.json")
    assert [column["name"] for column in told["columns"]] == ["text_input", "output", "\ufffd"]
    path = f"{ROOT}/{told['name']}"
    assert rows(caller, path)["rows"][0]["cells"] == ["a\ufffd", "b", "1"]
    assert made(caller.post(f"{path}:check", {}))["findings"][0]["id"] == "bad_characters"
