"""Evaluation runs over HTTP, carried out by the server's loop over the models in memory.

A tuned model here knows its examples by heart and repeats everything else; the base repeats everything.
"""

import asyncio
import csv
import io
import json
from contextlib import asynccontextmanager

import pytest

from caller import TUTORIAL_BODY, caller_of
from fakes import ECHO_BASE
from patience import PATIENCE_SECONDS
from tuningfork.domain.permission import GranteeType, PermissionRequest, Role
from tuningfork.execution.base import WorkerDied
from tuningfork.service.quotas import Budget, Quotas
from tuningfork.store.leases import ServerId
from workshop import ADA, BOB, SERVER, build_workshop, evaluator_of

OWN = "/tuningfork/v1"
BASE = ECHO_BASE.name
PAIRS = (("1", "2"), ("3", "4"), ("x", "x"), ("y", "y"), ("never seen", "no answer to it"))


def dataset(caller, pairs=PAIRS, **options):
    """The name of a staged dataset of these pairs."""
    lines = "".join(json.dumps({"text_input": asked, "output": answer}) + "\n" for asked, answer in pairs)
    answer = caller.call("POST", f"{OWN}/datasets?name=held.jsonl&displayName=held", lines.encode(), **options)
    assert answer.status_code == 200, answer.text
    return answer.json()["name"]


def begin(caller, models, data=None, *, key=None, **fields):
    """The answer to a request for a run; `data` None: a new dataset of `PAIRS`."""
    data = {"dataset": dataset(caller, key=key)} if data is None else data
    return caller.post(f"{OWN}/evaluations", {"models": models, **data, **fields}, key=key)


async def seen(caller, path, condition, **options):
    """The run at this path, once the condition holds for it."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not condition(run := (await caller.send("GET", path, **options)).json()):  # noqa: ASYNC110 - of the API
            await asyncio.sleep(0.01)
    return run


@asynccontextmanager
async def evaluating(evaluator):
    """The loop goes on within the `async with` block."""
    loop = asyncio.create_task(evaluator.run())
    try:
        yield
    finally:
        loop.cancel()
        await asyncio.gather(loop, return_exceptions=True)


def carried_out(caller, answer, *, server=SERVER, key=None, **options):
    """The run of an answer, after the loop has brought it to its end."""
    assert answer.status_code == 200, answer.text
    path = f"{OWN}/{answer.json()['name']}"

    async def wait():
        async with evaluating(evaluator_of(caller.workshop, server, **options)):
            return await seen(caller, path, lambda run: "completeTime" in run, key=key)

    return asyncio.run(wait())


def score(run, model, measure="EXACT_MATCH"):
    """The mean score of a model."""
    [found] = [each for each in run["scores"] if (each["model"], each["measure"]) == (model, measure)]
    return found["mean"]


def rows_of(caller, run, query=""):
    answer = caller.get(f"{OWN}/{run['name']}/rows{query}")
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_run_tells_which_model_is_right_more_often(caller):
    tuned = caller.create_active()
    run = carried_out(caller, begin(caller, [BASE, tuned]))

    assert run["state"] == "SUCCEEDED"
    assert run["displayName"] == "held"
    assert run["answerCount"] == run["totalAnswerCount"] == 10
    assert run["scoredExampleCount"] == 5
    assert score(run, BASE) == 0.4
    assert score(run, tuned) == 0.8
    assert [each["displayName"] for each in run["models"]] == ["Echo", "number generator"]
    [difference] = [each for each in run["differences"] if each["measure"] == "EXACT_MATCH"]
    assert difference["mean"] == -0.4
    assert (difference["differingExampleCount"], difference["clear"]) == (2, False)


def test_answers_are_greedy_and_otherwise_as_the_model_gives_them(caller):
    tuned = caller.create_active()
    carried_out(caller, begin(caller, [tuned]))
    carried_out(caller, begin(caller, [tuned], ownTemperature=True, maxOutputTokens=7))
    greedy, own = caller.workshop.executor.generations[0].sampling, caller.workshop.executor.generations[-1].sampling
    assert (greedy.temperature, greedy.top_k) == (0, 64)
    assert own.temperature > 0
    assert own.max_output_tokens == 7


def test_losses_come_first_with_both_answers(caller):
    tuned = caller.create_active()
    found = rows_of(caller, carried_out(caller, begin(caller, [BASE, tuned])))

    assert found["model"] == tuned
    assert {each["verdict"]: each["count"] for each in found["verdicts"]} == {"LOST": 1, "TIED": 2, "WON": 2}
    assert [row["verdict"] for row in found["rows"]] == ["LOST", "TIED", "TIED", "WON", "WON"]
    first, last = found["rows"][0], found["rows"][-1]
    assert (first["number"], first["input"], first["expected"]) == (5, "never seen", "no answer to it")
    assert [(each["model"], each["text"]) for each in last["answers"]] == [(BASE, "3"), (tuned, "4")]


def test_rows_are_filtered_searched_and_cut(caller):
    tuned = caller.create_active()
    run = carried_out(caller, begin(caller, [BASE, tuned]))

    won = rows_of(caller, run, "?verdict=WON")
    assert [row["number"] for row in won["rows"]] == [1, 2]
    assert rows_of(caller, run, "?search=NEVER")["totalSize"] == 1
    lost_by_base = rows_of(caller, run, f"?verdict=LOST&model={BASE}")
    assert [row["number"] for row in lost_by_base["rows"]] == [1, 2, 5]
    second = rows_of(caller, run, "?start=1&count=2")
    assert [row["number"] for row in second["rows"]] == [3, 4]
    assert second["totalSize"] == 5
    [cut] = rows_of(caller, run, "?verdict=LOST&cellCharacters=5")["rows"]
    assert (cut["input"], cut["answers"][0]["text"], cut["answers"][0]["cut"]) == ("never", "never", True)


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("model=models/other", "model must be one of models/echo-001"),
        ("measure=VALID_JSON", "measure must be one of the evaluation's"),
        ("measure=LUCK", "measure must be one of EXACT_MATCH"),
        ("verdict=DRAWN", "verdict must be one of LOST, TIED, WON"),
        ("start=-1", "start must be from 0"),
        ("count=201", "count must be from 0 to 200"),
        ("search=" + "a" * 201, "search must have at most 200 characters"),
    ],
)
def test_what_cannot_be_asked_of_rows_is_refused(caller, query, said):
    run = begin(caller, [BASE]).json()
    answer = caller.get(f"{OWN}/{run['name']}/rows?{query}")
    assert answer.status_code == 400
    assert said in answer.json()["error"]["message"]


def test_all_rows_are_a_csv_that_a_spreadsheet_does_not_compute(caller):
    pairs = [("=1+1", "-5"), ("zwei\nZeilen", '"q", ü')]
    run = carried_out(caller, begin(caller, [BASE], {"dataset": dataset(caller, pairs)}))
    answer = caller.get(f"{OWN}/{run['name']}/csv")

    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert "attachment" in answer.headers["content-disposition"]
    first, second = csv.DictReader(io.StringIO(answer.content.decode("utf-8"), newline=""))
    assert (first["number"], first["input"], first["expected"]) == ("1", "'=1+1", "-5")
    assert first[f"{BASE} answer"] == "'=1+1"
    assert (second["input"], second["expected"]) == ("zwei\nZeilen", '"q", ü')
    assert second[f"{BASE} EXACT_MATCH"] == "0"


def test_the_examples_that_a_job_kept_back_are_asked(caller):
    pairs = [{"textInput": str(n), "output": str(n + 1)} for n in range(20)]
    task = {**TUTORIAL_BODY["tuningTask"], "trainingData": {"examples": {"examples": pairs}}}
    body = {**TUTORIAL_BODY, "tuningTask": {**task, "validation": {"heldOutPercent": 20}}}
    tuned = caller.post(f"{OWN}/tunedModels", body).json()["metadata"]["tunedModel"]
    caller.workshop.advance()

    run = carried_out(caller, begin(caller, [tuned], {"keptBackBy": tuned}))

    assert run["exampleCount"] == 4
    assert run["source"] == {"keptBackBy": tuned, "displayName": "number generator", "rowCount": 4}
    assert score(run, tuned) == 0
    assert run["models"][0]["leakCheck"] == "DONE"
    assert run["models"][0]["leakedExampleCount"] == 0


def test_a_model_that_kept_nothing_back_has_nothing_to_be_asked(caller):
    answer = begin(caller, [BASE], {"keptBackBy": caller.create_active()})
    assert answer.status_code == 400
    assert "tuned without a validation set" in answer.json()["error"]["message"]


def test_examples_that_a_model_was_trained_on_are_told(caller):
    tuned = caller.create_active()
    run = carried_out(caller, begin(caller, [BASE, tuned]))

    assert [(each["leakCheck"], each["leakedExampleCount"]) for each in run["models"]] == [
        ("NOT_TUNED", 0),
        ("DONE", 2),
    ]
    known = {row["number"]: row.get("trainedOnBy", []) for row in rows_of(caller, run)["rows"]}
    assert known == {1: [tuned], 2: [tuned], 3: [], 4: [], 5: []}


def test_what_the_source_of_a_model_was_trained_on_counts_too(caller):
    source = caller.create_active()
    task = {
        **TUTORIAL_BODY["tuningTask"],
        "trainingData": {"examples": {"examples": [{"textInput": "x", "output": "z"}]}},
    }
    body = {"tunedModelSource": {"tunedModel": source}, "tuningTask": task}
    further = caller.post("/v1beta/tunedModels", body).json()["metadata"]["tunedModel"]
    caller.workshop.advance()

    run = carried_out(caller, begin(caller, [further]))

    assert run["models"][0]["leakedExampleCount"] == 3


def test_whoever_may_only_read_a_model_is_not_told_what_is_in_its_data(caller):
    tuned = caller.create_active()
    reader = PermissionRequest(grantee_type=GranteeType.USER, email_address=BOB.email, role=Role.READER)
    caller.workshop.sharing.create(ADA, tuned.removeprefix("tunedModels/"), reader)
    answer = begin(caller, [tuned], key=caller.bobs_key)

    run = carried_out(caller, answer, key=caller.bobs_key)

    assert run["state"] == "SUCCEEDED"
    assert run["models"][0]["leakCheck"] == "NOT_ALLOWED"
    assert run["models"][0]["leakedExampleCount"] == 0
    assert begin(caller, [tuned], {"keptBackBy": tuned}, key=caller.bobs_key).status_code == 403


def test_a_run_and_its_data_are_their_owners_alone(caller):
    run = begin(caller, [BASE]).json()
    path = f"{OWN}/{run['name']}"
    for verb, asked in (("GET", path), ("GET", f"{path}/rows"), ("GET", f"{path}/csv"), ("DELETE", path)):
        assert caller.call(verb, asked, key=caller.bobs_key).status_code == 404, asked
    assert caller.post(f"{path}:stop", {}, key=caller.bobs_key).status_code == 404
    assert caller.get(f"{OWN}/evaluations", key=caller.bobs_key).json() == {}
    assert begin(caller, [BASE], {"dataset": run["source"]["dataset"]}, key=caller.bobs_key).status_code == 404


def test_a_model_that_may_not_be_asked_is_refused(caller):
    tuned = caller.create_active()
    assert begin(caller, [BASE, tuned], key=caller.bobs_key).status_code == 403


def test_a_model_that_may_not_be_asked_any_more_ends_the_run(caller):
    tuned = caller.create_active()
    answer = begin(caller, [tuned])
    caller.call("DELETE", f"/v1beta/{tuned}")

    run = carried_out(caller, answer)

    assert run["state"] == "FAILED"
    assert "does not exist" in run["error"]


def test_checkpoints_are_asked_too(caller):
    tuned = caller.create_active()
    run = carried_out(caller, begin(caller, [tuned, f"{tuned}/checkpoints/1"]))
    assert score(run, tuned) == score(run, f"{tuned}/checkpoints/1") == 0.8
    assert begin(caller, [f"{tuned}/checkpoints/9"]).status_code == 404


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"models": []}, "models must have 1 to 4 entries; 0 were given"),
        ({"models": [BASE] * 2}, "models must differ"),
        ({"models": [f"{BASE}", "a", "b", "c", "d"]}, "models[1] must be the name of a model"),
        ({"models": ["tunedModels/UPPER"]}, "must be the name of a model"),
        ({"measures": ["BEAUTY"]}, "measures[0] must be one of EXACT_MATCH"),
        ({"measures": ["ROUGE_L", "ROUGE_L"]}, "measures must differ"),
        ({"maxExamples": 0}, "max_examples must be from 1 to 2000"),
        ({"maxExamples": 2001}, "max_examples must be from 1 to 2000"),
        ({"temperature": 3}, "temperature must be from 0 to 2"),
        ({"temperature": 1, "ownTemperature": True}, "give either temperature or own_temperature"),
        ({"maxOutputTokens": 0}, "max_output_tokens must be at least 1"),
        ({"displayName": "n" * 201}, "display_name must have at most 200 characters"),
        ({"requestId": "a b"}, "request_id must have 1 to 64 letters"),
        ({"keptBackBy": "tunedModels/a"}, "give either dataset or kept_back_by"),
        ({"dataset": ""}, "give either dataset or kept_back_by"),
        ({"dataset": "tunedModels/a"}, "dataset must be the name of a dataset"),
        ({"dataset": "", "keptBackBy": "models/a"}, "kept_back_by must be the name of a tuned model"),
        ({"colour": "red"}, "Cannot find field"),
    ],
)
def test_what_is_wrong_with_a_request_is_said(caller, fields, said):
    answer = caller.post(f"{OWN}/evaluations", {"models": [BASE], "dataset": "datasets/a", **fields})
    assert answer.status_code == 400
    assert said in answer.json()["error"]["message"]


def test_rows_without_a_question_or_an_answer_are_left_out(caller):
    body = b"text_input,output\n1,2\n,3\n4,\n5,6\n"
    data = caller.call("POST", f"{OWN}/datasets?name=a.csv", body).json()["name"]
    run = carried_out(caller, begin(caller, [BASE], {"dataset": data}))
    assert [row["number"] for row in rows_of(caller, run)["rows"]] == [1, 4]
    assert run["source"]["rowCount"] == 4


def test_data_without_any_example_are_refused(caller):
    data = caller.call("POST", f"{OWN}/datasets?name=a.csv", b"text_input,output\n1,\n,3\n").json()["name"]
    answer = begin(caller, [BASE], {"dataset": data})
    assert answer.status_code == 400
    assert "no row with a question of the user and an answer of the model" in answer.json()["error"]["message"]


def test_so_many_examples_as_are_wanted_are_taken_from_all_of_the_data(caller):
    data = {"dataset": dataset(caller, [(f"q{n}", f"a{n}") for n in range(100)])}
    run = carried_out(caller, begin(caller, [BASE], data, maxExamples=5))
    assert run["exampleCount"] == 5
    assert sorted(row["number"] for row in rows_of(caller, run)["rows"]) == [1, 21, 41, 61, 81]


def test_the_last_learned_turn_of_a_conversation_is_asked_for(caller):
    turns = [("user", "a"), ("assistant", "b"), ("user", "c"), ("assistant", "c")]
    messages = [{"role": "system", "content": "s"}, *({"role": role, "content": text} for role, text in turns)]
    line = json.dumps({"messages": messages}).encode()
    data = caller.call("POST", f"{OWN}/datasets?name=chats.jsonl", line).json()["name"]

    run = carried_out(caller, begin(caller, [BASE], {"dataset": data}))

    [row] = rows_of(caller, run)["rows"]
    assert (row["systemInstruction"], row["input"], row["expected"]) == ("s", "c", "c")
    assert row["earlierTurns"] == [{"role": "user", "text": "a"}, {"role": "model", "text": "b"}]
    assert score(run, BASE) == 1


def test_a_question_that_a_model_cannot_take_is_a_wrong_answer_with_its_reason(caller):
    data = {"dataset": dataset(caller, [("w " * 20_000, "a"), ("b", "b")])}
    run = carried_out(caller, begin(caller, [BASE], data))
    assert run["state"] == "SUCCEEDED"
    assert score(run, BASE) == 0.5
    assert score(run, BASE, "STOP_RATE") == 0.5
    [lost] = rows_of(caller, run, "?verdict=LOST")["rows"]
    assert "tokens" in lost["answers"][0]["problem"]


def test_valid_json_is_measured_where_all_expected_answers_are(caller):
    data = {"dataset": dataset(caller, [("q", '{"a": 1}'), ('{"b": 2}', '{"b": 2}')])}
    run = carried_out(caller, begin(caller, [BASE], data))
    assert score(run, BASE, "VALID_JSON") == 0.5
    assert "VALID_JSON" not in begin(caller, [BASE]).json()["measures"]


def test_two_requests_with_the_same_id_begin_one_run(caller):
    data = {"dataset": dataset(caller)}
    first, second = (begin(caller, [BASE], data, requestId="click").json() for _ in range(2))
    other = begin(caller, [BASE], data, requestId="another").json()
    assert first["name"] == second["name"] != other["name"]


def test_a_run_that_waits_is_stopped_at_once(caller):
    run = begin(caller, [BASE]).json()
    stopped = caller.post(f"{OWN}/{run['name']}:stop", {}).json()
    assert stopped["state"] == "STOPPED"
    assert "completeTime" in stopped


def test_a_run_that_is_stopped_keeps_what_was_answered(caller):
    answer = begin(caller, [BASE], {"dataset": dataset(caller, [(str(n), "a") for n in range(60)])})
    path = f"{OWN}/{answer.json()['name']}"
    gate = caller.workshop.executor.hold_generation(0)

    async def stop():
        async with evaluating(evaluator_of(caller.workshop)):
            # One asker is held, so the run cannot end by itself.
            await seen(caller, path, lambda run: run["answerCount"] == 59)
            assert (await caller.send("POST", f"{path}:stop", {})).json()["stopRequested"]
            return await seen(caller, path, lambda run: run["state"] != "RUNNING")

    run = asyncio.run(stop())
    gate.open()
    assert run["state"] == "STOPPED"
    assert run["answerCount"] == run["scoredExampleCount"] == 59


def test_a_run_goes_on_where_it_was_when_the_server_starts_again(caller):
    answer = begin(caller, [BASE], {"dataset": dataset(caller, [(str(n), "a") for n in range(30)])})
    path = f"{OWN}/{answer.json()['name']}"
    gate = caller.workshop.executor.hold_generation(0)

    async def until_held():
        async with evaluating(evaluator_of(caller.workshop)):
            await seen(caller, path, lambda run: run["answerCount"] == 29)

    asyncio.run(until_held())
    gate.open()
    assert caller.get(path).json()["state"] == "QUEUED"
    asked = len(caller.workshop.executor.generations)

    run = carried_out(caller, answer)

    assert run["state"] == "SUCCEEDED"
    assert run["answerCount"] == 30
    assert len(caller.workshop.executor.generations) == asked + 1


def test_an_answer_that_takes_long_is_not_lost(caller):
    """It was begun before others were written, and comes after that."""
    answer = begin(caller, [BASE], {"dataset": dataset(caller, [(str(n), "a") for n in range(30)])})
    path = f"{OWN}/{answer.json()['name']}"
    gate = caller.workshop.executor.hold_generation(0)

    async def wait():
        async with evaluating(evaluator_of(caller.workshop)):
            await seen(caller, path, lambda run: run["answerCount"] == 29)
            gate.open()
            return await seen(caller, path, lambda run: "completeTime" in run)

    run = asyncio.run(wait())
    assert (run["state"], run["answerCount"]) == ("SUCCEEDED", 30)


def test_a_generator_that_dies_is_asked_again(caller):
    caller.workshop.executor.break_generation(0, WorkerDied("gone"))
    run = carried_out(caller, begin(caller, [BASE]), retry_seconds=(0.0, 0.0))
    assert run["state"] == "SUCCEEDED"
    assert run["answerCount"] == 5


def test_a_generator_that_stays_away_ends_the_run_and_says_so(caller):
    caller.workshop.executor.closed.set()
    run = carried_out(caller, begin(caller, [BASE]), retry_seconds=(0.0,))
    assert run["state"] == "FAILED"
    assert "The generator was closed." in run["error"]


def test_an_owners_budget_is_waited_for(database, artifacts, clock, executor):
    seconds = [0.0]
    quotas = Quotas(Budget(requests_per_minute=9), lambda: seconds[0])
    caller = caller_of(build_workshop(database, artifacts, clock, executor, quotas))
    answer = begin(caller, [BASE])

    # The upload and the request for the run were two requests, so there is room for all five answers.
    assert carried_out(caller, answer)["answerCount"] == 5
    # Seven of nine are used: two more requests, and the third is one too many.
    assert [begin(caller, [BASE], {"dataset": "datasets/a"}).status_code for _ in range(3)] == [404, 404, 429]


def test_of_one_owner_one_run_goes_on_at_a_time_and_others_need_not_wait(caller):
    tuned = caller.create_active()
    first, second = begin(caller, [tuned]), begin(caller, [tuned])
    bobs = begin(caller, [BASE], key=caller.bobs_key)
    gate = caller.workshop.executor.hold_generation(0)

    async def look():
        async with evaluating(evaluator_of(caller.workshop)):
            await asyncio.to_thread(gate.wait_until_reached)
            path = f"{OWN}/{bobs.json()['name']}"
            await seen(caller, path, lambda run: run["state"] != "QUEUED", key=caller.bobs_key)
            adas = [(await caller.send("GET", f"{OWN}/{each.json()['name']}")).json() for each in (first, second)]
            gate.open()
            return [run["state"] for run in adas]

    first_state, second_state = asyncio.run(look())
    assert second_state == "QUEUED" or first_state == "SUCCEEDED"
    assert first_state != "QUEUED"


def test_a_run_of_a_server_that_is_gone_is_taken_over(caller):
    answer = begin(caller, [BASE])
    gate = caller.workshop.executor.hold_generation(0)
    run_id = answer.json()["name"]

    async def die():
        async with evaluating(evaluator := evaluator_of(caller.workshop, ServerId("dead"))):
            await asyncio.to_thread(gate.wait_until_reached)
            # Killed: nothing is given back.
            evaluator._running.give_back = lambda _claim: True

    asyncio.run(die())
    gate.open()
    assert caller.get(f"{OWN}/{run_id}").json()["state"] == "RUNNING"
    run = carried_out(caller, answer, server=ServerId("dead"))
    assert run["state"] == "SUCCEEDED"


def test_too_many_runs_that_wait_are_refused(caller):
    data = {"dataset": dataset(caller)}
    answers = [begin(caller, [BASE], data) for _ in range(6)]
    assert [answer.status_code for answer in answers] == [200] * 5 + [429]
    assert "5 of your evaluations wait or run" in answers[-1].json()["error"]["message"]


def test_runs_are_listed_the_newest_first_and_by_model(caller, clock):
    tuned = caller.create_active()
    older = begin(caller, [BASE]).json()["name"]
    clock.advance(seconds=1)
    newer = begin(caller, [BASE, f"{tuned}/checkpoints/1"]).json()["name"]

    def names(query=""):
        return [each["name"] for each in caller.get(f"{OWN}/evaluations{query}").json().get("evaluations", [])]

    assert names() == [newer, older]
    assert names(f"?model={tuned}") == [newer]
    assert caller.get(f"{OWN}/evaluations?model={BASE}").status_code == 400


def test_a_deleted_run_is_gone_with_its_rows(caller):
    run = carried_out(caller, begin(caller, [BASE]))
    assert caller.call("DELETE", f"{OWN}/{run['name']}").json() == {}
    assert caller.get(f"{OWN}/{run['name']}").status_code == 404
    assert caller.get(f"{OWN}/{run['name']}/rows").status_code == 404


def test_a_run_does_not_need_its_dataset_any_more(caller):
    answer = begin(caller, [BASE])
    caller.call("DELETE", f"{OWN}/{answer.json()['source']['dataset']}")
    assert carried_out(caller, answer)["state"] == "SUCCEEDED"


def test_who_polls_with_the_last_tag_gets_an_empty_answer(caller):
    run = begin(caller, [BASE]).json()
    tag = caller.get(f"{OWN}/{run['name']}").headers["etag"]
    assert caller.get(f"{OWN}/{run['name']}", headers={"if-none-match": tag}).status_code == 304
