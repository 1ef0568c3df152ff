"""tunedModels.import over HTTP: an adapter from elsewhere becomes a tuned model like any other, or nothing at all."""

import asyncio
import io
import json
import tarfile
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

import peft_adapters
from fakes import ECHO_BASE
from patience import PATIENCE_SECONDS, paths_below
from tuningfork.domain.errors import ResourceExhausted
from tuningfork.domain.references import TunedRef
from tuningfork.execution.base import WorkerDied
from tuningfork.service.tuning import importing
from tuningfork.service.tuning.tidying import sweep
from tuningfork.store import imports
from workshop import ADA, BOB, ask

IMPORT = "/tuningfork/v1/tunedModels:import"
TAR = {"content-type": "application/x-tar"}


def import_(caller, query="baseModel=models/echo-001&tunedModelId=mine&displayName=My+own", body=None, **options):
    content = peft_adapters.archive() if body is None else body
    return caller.post(f"{IMPORT}?{query}", content, headers=TAR, **options)


def files(workshop):
    """Every file of any job."""
    root = workshop.artifacts.store.root
    rooms = ("datasets", "work", "adapters", "imports", "manifests/adapters", "manifests/imports", "manifests/datasets")
    return sorted(str(path.relative_to(root)) for room in rooms for path in paths_below(root / room) if path.is_file())


def exported(caller, name):
    answer = caller.get(f"/tuningfork/v1/{name}/adapter")
    assert answer.status_code == 200, answer.text
    with tarfile.open(fileobj=io.BytesIO(answer.content)) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar}


def test_the_answer_is_the_new_model(caller):
    answer = import_(caller)

    assert answer.status_code == 200, answer.text
    made = answer.json()
    assert (made["name"], made["displayName"], made["state"]) == ("tunedModels/mine", "My own", "ACTIVE")
    assert made["baseModel"] == "models/echo-001"
    assert caller.get("/v1beta/tunedModels/mine").json() == made


def test_its_task_has_times_and_nothing_that_nobody_knows(caller):
    task = import_(caller).json()["tuningTask"]

    assert sorted(task) == ["completeTime", "startTime"]
    assert task["startTime"] < task["completeTime"]


def test_its_operation_is_done_and_has_no_steps(caller):
    made = import_(caller).json()

    [operation] = caller.get("/v1beta/operations").json()["operations"]

    assert (operation["done"], operation["response"]["name"]) == (True, made["name"])
    assert operation["metadata"]["completedPercent"] == 100
    assert not {"totalSteps", "completedSteps", "snapshots"} & operation["metadata"].keys()
    assert caller.get(f"/v1beta/{operation['name']}").json() == operation
    assert caller.post(f"/v1beta/{operation['name']}:cancel").json() == {}
    assert caller.get("/v1beta/tunedModels/mine").json()["state"] == "ACTIVE"


def test_its_losses_give_no_reason_to_warn(caller):
    import_(caller)

    one = caller.get("/tuningfork/v1/tunedModels/mine/diagnosis").json()
    assert one == {"tunedModel": "tunedModels/mine", "completedSteps": 0}
    assert caller.get("/tuningfork/v1/diagnoses").json() == {}


def test_it_is_listed_called_shared_and_deleted_like_any_other(caller, workshop):
    import_(caller)

    assert [each["name"] for each in caller.get("/v1beta/tunedModels").json()["tunedModels"]] == ["tunedModels/mine"]
    body = {"contents": [{"parts": [{"text": "hello"}]}]}
    answer = caller.post("/v1beta/tunedModels/mine:generateContent", body).json()
    assert answer["candidates"][0]["content"]["parts"][0]["text"] == "hello"
    assert workshop.executor.generations[-1].adapter is not None
    # Nobody knows whether it was trained to write dialogues.
    assert not workshop.executor.generations[-1].stops_at_labels
    assert caller.get("/v1beta/tunedModels/mine", key=caller.bobs_key).status_code == 403
    shared = {"granteeType": "USER", "emailAddress": "bob@example.com", "role": "READER"}
    caller.post("/v1beta/tunedModels/mine/permissions", shared)
    assert caller.get("/v1beta/tunedModels/mine", key=caller.bobs_key).status_code == 200

    assert caller.call("DELETE", "/v1beta/tunedModels/mine").json() == {}
    assert files(workshop) == []


def test_it_is_tuned_further_from_its_own_shape(caller, workshop):
    import_(caller)

    body = {"tunedModelSource": {"tunedModel": "tunedModels/mine"}, "baseModel": None}
    caller.create_active(**body)

    assignment = workshop.executor.assignments[-1]
    assert (assignment.adapter.rank, assignment.adapter.alpha) == (4, 8.0)
    assert assignment.initial_adapter is not None


def test_what_is_exported_is_what_was_imported_in_plain_words(caller):
    import_(caller, body=peft_adapters.archive(use_rslora=True, inference_mode=False, auto_mapping={"x": "y"}))

    out = exported(caller, "tunedModels/mine")

    config = json.loads(out["adapter_config.json"])
    assert out["adapter_model.safetensors"] == peft_adapters.weights()
    assert (config["base_model_name_or_path"], config["r"], config["lora_alpha"]) == ("echo-001", 4, 16)
    assert not config["use_rslora"]
    assert "auto_mapping" not in config


def test_what_was_exported_comes_back_and_is_the_same(caller):
    import_(caller)
    out = exported(caller, "tunedModels/mine")

    import_(caller, "baseModel=echo-001&tunedModelId=again", body=peft_adapters.packed(out.items()))

    assert exported(caller, "tunedModels/again") == out


def test_the_adapter_is_tried_on_its_base_before_it_is_a_model(caller, workshop):
    answer = import_(caller, body=peft_adapters.packed([
        ("adapter_config.json", peft_adapters.config(r=2)),
        ("adapter_model.safetensors", peft_adapters.weights(peft_adapters.matrices(rank=2))),
    ]))  # fmt: skip

    assert answer.status_code == 400
    assert "does not fit the base" in answer.json()["error"]["message"]
    assert len(workshop.executor.tried) == 1
    assert (files(workshop), caller.get("/v1beta/tunedModels").json()) == ([], {})


def test_a_generator_that_dies_is_tried_once_more(caller, workshop):
    workshop.executor.break_generation(0)

    assert import_(caller).status_code == 200
    assert len(workshop.executor.tried) == 2


@pytest.mark.parametrize(
    ("query", "code", "said"),
    [
        ("", 400, "base_model"),
        ("baseModel=models/none", 404, "models/none"),
        ("baseModel=models/echo-001&tunedModelId=No!", 400, "tuned_model_id"),
        (f"baseModel=models/echo-001&displayName={'x' * 41}", 400, "display_name must be at most 40 characters"),
        ("baseModel=models/echo-001&learningRate=1", 400, "learningRate"),
    ],
)
def test_a_wrong_request_is_refused_in_the_words_of_its_fields(caller, workshop, query, code, said):
    answer = import_(caller, query)

    assert answer.status_code == code
    assert said in answer.json()["error"]["message"]
    assert (files(workshop), workshop.executor.tried) == ([], [])


@pytest.mark.parametrize(
    "body", [b"", b"x" * 4_000, peft_adapters.archive()[:1_200], peft_adapters.archive(use_dora=True)]
)
def test_nothing_is_left_of_what_is_no_adapter(caller, workshop, body):
    assert import_(caller, body=body).status_code == 400
    assert (files(workshop), workshop.executor.tried) == ([], [])


def test_a_taken_id_is_told_before_the_adapter_is_read(caller, workshop):
    import_(caller)
    before = files(workshop)

    answer = import_(caller, body=b"not even an archive")

    assert (answer.status_code, answer.json()["error"]["status"]) == (409, "ALREADY_EXISTS")
    assert files(workshop) == before


def test_two_with_one_display_name_get_two_names(caller):
    names = {import_(caller, "baseModel=echo-001&displayName=same").json()["name"] for _ in range(2)}

    assert len(names) == 2


def test_an_import_needs_the_scope_of_changing_models(caller):
    token = caller.token("https://www.googleapis.com/auth/generative-language.tuning.readonly")

    answer = import_(caller, key="", body=b"")
    assert answer.status_code == 403
    refused = caller.post(
        f"{IMPORT}?baseModel=echo-001", b"", headers={**TAR, "authorization": f"Bearer {token}"}, key=""
    )
    assert refused.status_code == 403


def test_a_disk_without_room_keeps_nothing(caller, workshop, monkeypatch):
    # Why: a test cannot fill the machine's disk.
    monkeypatch.setattr(imports, "SPARE_BYTES", 2**60)

    answer = import_(caller)

    assert (answer.status_code, answer.json()["error"]["status"]) == (429, "RESOURCE_EXHAUSTED")
    assert files(workshop) == []


def test_a_caller_who_leaves_while_the_base_is_loaded_leaves_nothing(caller, workshop):
    gate = workshop.executor.hold_generation(0)

    async def leave():
        sending = asyncio.create_task(
            caller.send("POST", f"{IMPORT}?baseModel=echo-001", peft_adapters.archive(), headers=TAR)
        )
        while not gate.reached.is_set():  # noqa: ASYNC110 - set in this loop
            await asyncio.sleep(0)
        sending.cancel()
        await asyncio.wait({sending})

    asyncio.run(leave())

    assert files(workshop) == []


def test_of_each_owner_two_arrive_at_a_time(caller, workshop):
    waiting, opened, usual = [], asyncio.Event(), workshop.executor.try_adapter

    async def wait(*tried, owner):
        waiting.append(owner)
        await opened.wait()
        await usual(*tried, owner=owner)

    async def send():
        sent = partial(caller.send, "POST", f"{IMPORT}?baseModel=echo-001", peft_adapters.archive(), headers=TAR)
        async with asyncio.timeout(PATIENCE_SECONDS):
            held = [asyncio.create_task(sent(key=key)) for key in (caller.key, caller.key, caller.bobs_key)]
            while len(waiting) < len(held):  # noqa: ASYNC110 - filled in this loop
                await asyncio.sleep(0)
            refused = await sent()
            opened.set()
            return refused, await asyncio.gather(*held), await sent()

    workshop.executor.try_adapter = wait
    refused, held, after = asyncio.run(send())

    assert (refused.status_code, refused.json()["error"]["status"]) == (503, "UNAVAILABLE")
    assert refused.headers["retry-after"] == "30"
    assert "2 of your imports" in refused.json()["error"]["message"]
    assert [answer.status_code for answer in (*held, after)] == [200] * 4
    assert sorted(waiting) == [ADA.email] * 3 + [BOB.email]


def test_an_import_takes_none_of_the_threads_that_answers_need(caller):
    released, others = threading.Event(), ThreadPoolExecutor(1)

    async def send():
        asyncio.get_running_loop().set_default_executor(others)
        others.submit(released.wait)
        sent = caller.send("POST", f"{IMPORT}?baseModel=echo-001", peft_adapters.archive(), headers=TAR)
        answer = asyncio.create_task(sent)
        await asyncio.wait({answer}, timeout=PATIENCE_SECONDS)
        was_done = answer.done()
        released.set()
        return was_done, (await answer).status_code

    assert asyncio.run(send()) == (True, 200)


def test_rows_that_cannot_be_written_leave_no_files(caller, workshop, monkeypatch):
    def refuse(*_arguments):
        raise ResourceExhausted("the disk is full")

    # Why: the last row has to fail after all others were written.
    monkeypatch.setattr(importing.access, "grant", refuse)

    assert import_(caller).status_code == 429
    assert (files(workshop), caller.get("/v1beta/tunedModels").json()) == ([], {})


def test_a_model_whose_weights_are_lost_says_so(caller, workshop):
    import_(caller)
    job = workshop.tuning.get(ADA, "mine").job
    workshop.artifacts.discard_adapter(job.id)

    answer = caller.get("/v1beta/tunedModels/mine")

    assert (answer.status_code, answer.json()["error"]["status"]) == (400, "FAILED_PRECONDITION")


def test_a_new_start_finds_nothing_to_tidy(caller, workshop):
    import_(caller)
    before = files(workshop)

    assert sweep(workshop.database, workshop.artifacts) == []
    assert files(workshop) == before
    assert asyncio.run(_said(workshop)) == "hello"


async def _said(workshop):
    chunks = (await workshop.generation.generate(ADA, TunedRef("mine"), ask("hello"))).chunks
    return "".join([chunk.text async for chunk in chunks])


def test_the_worker_that_dies_twice_is_told(caller, workshop):
    async def die(*_arguments, **_options):
        raise WorkerDied("The generator ended unexpectedly (signal 9).")

    workshop.executor.try_adapter = die

    assert import_(caller).status_code == 503
    assert files(workshop) == []


def test_the_base_has_the_shape_that_the_tests_say():
    assert ECHO_BASE.adapter.rank == 4
