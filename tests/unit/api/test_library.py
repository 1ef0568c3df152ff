"""The library over HTTP: searched, filtered, sorted, jumped to, and quick where there are ten thousand models."""

import time
from datetime import timedelta

import pytest

from speed import slowness
from tuningfork.store import schema
from workshop import ADA, BOB

PATH = "/tuningfork/v1/tunedModels"
MANY = 10_000
PAGE_SECONDS = 0.5


def page(caller, query="", **options):
    answer = caller.get(f"{PATH}{query}", **options)
    assert answer.status_code == 200, answer.text
    return answer.json()


def named(found):
    return [each.get("displayName", "") for each in found.get("tunedModels", ())]


@pytest.fixture
def three(caller, workshop):
    """A model that is done, one in training and one that waits, in this order."""
    caller.create_active(displayName="Zebra", description="stripes")
    caller.create(displayName="apple")
    workshop.advance(steps=4)
    caller.create(displayName="Mango")
    return caller


def test_the_newest_comes_first_with_all_that_a_row_shows(three):
    found = page(three)

    assert named(found) == ["Mango", "apple", "Zebra"]
    assert (found["totalSize"], found["page"], found["pageCount"]) == (3, 1, 1)
    waiting, running, done = found["tunedModels"]
    assert waiting["queue"] == {"position": 1, "jobsAhead": 0, "waitingJobs": 1, "runningJobs": 1}
    assert (running["state"], running["phase"], running["step"], running["totalSteps"]) == (
        "RUNNING",
        "TRAINING",
        4,
        19,
    )
    assert (running["loss"], running["lossKind"]) == (2, "TRAINING")
    assert (done["state"], done["callable"], done["exampleCount"]) == ("SUCCEEDED", True, 15)
    assert (done["owner"], done["role"]) == (ADA.email, "OWNER")
    assert found["states"] == [
        {"state": "QUEUED", "count": 1},
        {"state": "RUNNING", "count": 1},
        {"state": "SUCCEEDED", "count": 1},
    ]
    assert found["bases"] == [{"baseModel": "models/gemini-1.0-pro-001", "count": 3}]


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("?orderBy=createTime", ["Zebra", "apple", "Mango"]),
        ("?orderBy=displayName", ["apple", "Mango", "Zebra"]),
        ("?orderBy=displayName%20desc", ["Zebra", "Mango", "apple"]),
        ("?orderBy=loss", ["Zebra", "apple", "Mango"]),
        ("?orderBy=loss%20desc", ["apple", "Zebra", "Mango"]),
        ("?search=ZEB", ["Zebra"]),
        ("?search=stripes%20zebra", ["Zebra"]),
        ("?search=100%25", []),
        ("?state=running,QUEUED", ["Mango", "apple"]),
        ("?state=FAILED", []),
        ("?base=models/echo-001", ["Mango", "apple", "Zebra"]),
        ("?base=models/other", []),
        ("?owner=me", ["Mango", "apple", "Zebra"]),
        ("?owner=bob@example.com", []),
        ("?pageSize=2", ["Mango", "apple"]),
        ("?pageSize=2&page=2", ["Zebra"]),
        ("?pageSize=2&page=3", []),
        ("?pageSize=1&page=2&orderBy=displayName&state=RUNNING,SUCCEEDED", ["Zebra"]),
    ],
)
def test_it_is_searched_filtered_sorted_and_paged_on_the_server(three, query, names):
    assert named(page(three, query)) == names


def test_counts_of_states_are_of_all_models_and_the_total_of_the_conditions(three):
    found = page(three, "?state=RUNNING&pageSize=1")
    assert found["totalSize"] == 1
    assert sum(each["count"] for each in found["states"]) == 3


def test_a_model_is_found_by_its_id(three):
    model_id = page(three, "?search=zebra")["tunedModels"][0]["tunedModel"].removeprefix("tunedModels/")
    assert named(page(three, f"?search={model_id.rpartition('-')[2]}")) == ["Zebra"]


def test_shared_models_are_there_with_the_callers_role(three):
    name = page(three, "?search=zebra")["tunedModels"][0]["tunedModel"]
    assert page(three, key=three.bobs_key) == {"totalSize": 0, "page": 1, "pageCount": 1}
    granted = {"granteeType": "USER", "emailAddress": BOB.email, "role": "READER"}
    assert three.post(f"/v1beta/{name}/permissions", granted).status_code == 200

    [row] = page(three, key=three.bobs_key)["tunedModels"]

    assert (row["tunedModel"], row["role"], row["owner"]) == (name, "READER", ADA.email)
    assert named(page(three, "?owner=me", key=three.bobs_key)) == []


def test_the_best_validation_loss_is_shown_and_sorted_by(caller, workshop):
    caller.create_active(displayName="without")
    with_validation = {
        "displayName": "with",
        "baseModel": "models/echo-001",
        "tuningTask": {
            "trainingData": {"examples": {"examples": [{"textInput": "1", "output": "2"}]}},
            "validation": {"examples": {"examples": [{"textInput": "1", "output": "2"}]}},
        },
    }
    assert caller.post(PATH, with_validation).status_code == 200
    workshop.advance()

    row = page(caller, "?orderBy=loss")["tunedModels"][0]

    assert (row["displayName"], row["bestValidationLoss"], row["loss"], row["lossKind"]) == ("with", 0, 0, "VALIDATION")


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("?pageSize=201", "page_size must be a whole number from 1 to 200; 201 was given"),
        ("?page=-1", "page must be a whole number from 1 to 1000000; -1 was given"),
        ("?state=DONE", "state must be some of PREPARING, QUEUED, RUNNING, SUCCEEDED, FAILED, CANCELLED"),
        ("?orderBy=size", "order_by must be one of createTime, createTime desc, displayName, displayName desc, loss"),
        (f"?search={'x' * 1001}", "search must be at most 1000 printable characters; it has 1001"),
        ("?sort=name", "sort"),
    ],
)
def test_a_parameter_that_makes_no_sense_is_refused_with_what_is_allowed(caller, query, said):
    answer = caller.get(f"{PATH}{query}")
    assert answer.status_code == 400
    assert said in answer.text


def test_an_unchanged_page_is_answered_with_nothing_more(three):
    tag = three.get(f"{PATH}?state=SUCCEEDED").headers["etag"]
    assert three.get(f"{PATH}?state=SUCCEEDED", headers={"if-none-match": tag}).status_code == 304


def copies(database, name, many):
    """So many models like this one, with their jobs and permissions."""

    def rows(connection, table, column):
        [row] = connection.execute(table.select().where(column == name)).mappings()
        return [dict(row) for _ in range(many)]

    with database.write() as connection:
        models = rows(connection, schema.tuned_models, schema.tuned_models.c.id)
        jobs = rows(connection, schema.tuning_jobs, schema.tuning_jobs.c.model_id)
        owners = rows(connection, schema.permissions, schema.permissions.c.model_id)
        for number, (model, job, owner) in enumerate(zip(models, jobs, owners, strict=True)):
            made = model["create_time"] + timedelta(seconds=number)
            model |= {"id": f"m{number}", "number": number + 1, "registry_model": number + 1, "create_time": made}
            model |= {"display_name": f"model {number * 7919 % many}", "search_text": f"model {number * 7919 % many}"}
            job |= {"id": f"j{number}", "model_id": model["id"], "last_loss": (number * 31 % many) / many}
            owner |= {"model_id": model["id"], "model_create_time": made}
        for table, made_rows in (
            (schema.tuned_models, models),
            (schema.tuning_jobs, jobs),
            (schema.permissions, owners),
        ):
            for start in range(0, many, 500):
                connection.execute(table.insert(), made_rows[start : start + 500])


@pytest.mark.slow
@pytest.mark.parametrize(
    "query", ["", "?page=150", "?orderBy=displayName", "?orderBy=loss", "?search=model%2077", "?state=SUCCEEDED"]
)
def test_ten_thousand_models_stay_quick(caller, database, query):
    name = caller.create_active().removeprefix("tunedModels/")
    copies(database, name, MANY)
    page(caller, query)

    times = []
    for _ in range(5):
        began = time.perf_counter()
        found = page(caller, query)
        times.append(time.perf_counter() - began)

    assert found["totalSize"] > 0
    assert min(times) < PAGE_SECONDS * slowness(), times
