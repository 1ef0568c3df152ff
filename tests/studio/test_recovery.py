"""A server that is killed in the middle of a run, and one that reads a large file: pages go on, and nothing is lost."""

import json
import threading
import time

import pytest

import live_server
from patience import RUN_SECONDS, wait_until
from visitor import PAIRS, Visitor

# The window, whose browser the fixtures of this folder start.
from .conftest import SCREENSHOTS, browsing

pytestmark = pytest.mark.slow

STEPS = 75
ROWS = 100_000
CONNECTION_LOST = ("ERR_CONNECTION", "ERR_EMPTY_RESPONSE", "ERR_INCOMPLETE")


@pytest.fixture
def killed(tmp_path):
    """A server for one test to kill."""
    with live_server.running(tmp_path) as running:
        yield running


def begin(server):
    """The path of a model whose job takes 75 steps in twenty epochs, with a probe prompt."""
    examples = [{"textInput": text, "output": output} for text, output in PAIRS]
    task = {
        "hyperparameters": {"epochCount": 20, "batchSize": 4, "learningRate": 0.001},
        "trainingData": {"examples": {"examples": examples}},
        "probePrompts": ["3"],
    }
    body = {"displayName": "counting", "baseModel": "models/gemini-1.0-pro-001", "tuningTask": task}
    with server.client() as client:
        made = client.post("/tuningfork/v1/tunedModels", json=body)
    assert made.status_code == 200, made.text
    return made.json()["metadata"]["tunedModel"]


def probes(server, model):
    with server.client() as client:
        return client.get(f"/tuningfork/v1/{model}/probes").json()


def answers(server, model):
    return probes(server, model)["prompts"][0].get("answers", [])


def test_a_page_recovers_from_a_killed_server_with_a_whole_curve_and_no_answer_asked_twice(chromium, killed):
    model = begin(killed)
    with browsing(chromium, killed.url) as (context, watch):
        visitor = Visitor(context.new_page(), killed, watch, SCREENSHOTS).sign_in()
        page = visitor.open(f"/models/{model.removeprefix('tunedModels/')}").page
        page.evaluate("window.stayed = true")
        wait_until(lambda: len(answers(killed, model)) >= 2, what="an epoch was asked", seconds=RUN_SECONDS, every=0.5)
        page.wait_for_function(
            "() => Number(document.querySelector('.sentence').textContent.match(/Step (\\d+)/)?.[1]) >= 8",
            timeout=RUN_SECONDS * 1000,
        )
        before = answers(killed, model)

        killed.kill("server")
        page.locator("#offline").wait_for()
        killed.start()

        page.locator("#offline").wait_for(state="hidden")
        page.get_by_text("Ready", exact=True).first.wait_for(timeout=RUN_SECONDS * 1000)
        assert page.evaluate("window.stayed")
        with killed.client() as client:
            series = client.get(f"/tuningfork/v1/{model}/series").json()["training"]
        assert [each["step"] for each in series] == list(range(1, STEPS + 1))
        page.get_by_role("button", name="Table").click()
        rows = page.locator(".chart-table tbody tr")
        wait_until(lambda: rows.count() == STEPS, what="the table has every step once")
        shown = sorted(int(row.split()[0]) for row in rows.all_inner_texts())
        assert shown == list(range(1, STEPS + 1))
        wait_until(lambda: probes(killed, model).get("complete"), what="all is asked", seconds=RUN_SECONDS, every=0.5)
        after = answers(killed, model)
        assert after[: len(before)] == before
        assert [each["epoch"] for each in after] == list(range(21))
        page.locator("#answers").get_by_text("Epoch 20").wait_for()
        assert [each for each in watch.wrong if not any(sign in each for sign in CONNECTION_LOST)] == []


def test_a_file_of_a_hundred_thousand_rows_holds_no_other_request_up(server):
    lines = (json.dumps({"text_input": f"number {number}", "output": str(number)}) for number in range(ROWS))
    content = "\n".join(lines).encode()

    with server.client() as client:

        def wait():
            began = time.monotonic()
            assert client.get("/healthz").status_code == 200
            return time.monotonic() - began

        quiet = max(wait() for _ in range(50))
        answered = []
        reading = threading.Thread(target=lambda: answered.append(upload(server, content)))
        began, waits = time.monotonic(), []
        reading.start()
        while reading.is_alive():
            waits.append(wait())
            time.sleep(0.01)
        seconds = time.monotonic() - began

        assert answered[0]["rowCount"] == ROWS
        # On a quiet machine none waits for 200 ms. Reading in the event loop would let them wait for all of it.
        assert max(waits) < max(0.2, 10 * quiet, seconds / 4), (max(waits), quiet, seconds)
        client.delete(f"/tuningfork/v1/{answered[0]['name']}")


def upload(server, content):
    with server.client() as client:
        made = client.post(
            "/tuningfork/v1/datasets", params={"name": "many.jsonl"}, content=content, timeout=RUN_SECONDS
        )
    assert made.status_code == 200, made.text
    return made.json()
