"""Whoever runs the server watches jobs, stops one, makes a key and revokes it."""

import re

import httpx
import pytest

from patience import RUN_SECONDS
from visitor import PAIRS

pytestmark = pytest.mark.slow


def long_job(server, name):
    """The id of a model whose job takes far longer than a test."""
    examples = [{"textInput": text, "output": output} for text, output in PAIRS]
    body = {
        "displayName": name,
        "baseModel": "models/gemini-1.0-pro-001",
        "tuningTask": {
            "hyperparameters": {"epochCount": 1_000, "batchSize": 4, "learningRate": 0.001},
            "trainingData": {"examples": {"examples": examples}},
        },
    }
    with server.client() as client:
        made = client.post("/v1beta/tunedModels", json=body)
    assert made.status_code == 200, made.text
    return made.json()["metadata"]["tunedModel"].removeprefix("tunedModels/")


def test_a_job_is_watched_in_the_queue_and_in_the_frame_and_stopped(visitor, server):
    model = long_job(server, "long one")
    page = visitor.open("/operations").page
    row = page.locator(".queue li", has_text="long one")
    row.get_by_text(re.compile(r"Step \d+ of")).wait_for(timeout=RUN_SECONDS * 1000)
    chip = page.locator(".at-work summary")
    chip.wait_for()

    chip.click()
    assert page.locator(".at-work .sheet").get_by_role("link", name="long one").is_visible()
    page.keyboard.press("Escape")
    with page.expect_navigation():
        row.get_by_role("button", name="Cancel long one").click()
    page.get_by_text("The job is being stopped.").wait_for()
    row.wait_for(state="detached", timeout=RUN_SECONDS * 1000)

    with server.client() as client:
        assert client.get(f"/tuningfork/v1/tunedModels/{model}/job").json()["state"] == "CANCELLED"


def test_a_key_is_made_shown_once_used_and_revoked_by_its_name(window, server):
    visitor = window().sign_in()
    page = visitor.open("/operations").page
    page.get_by_role("link", name="New key").click()
    page.get_by_label("Name").fill("for a test")
    page.locator("input[name=key]").fill(server.key)
    visitor.press("Make the key")
    secret = page.locator(".code code").text_content()
    visitor.shot("operations-new-key")
    visitor.press("I have saved it", role="link")

    asked = httpx.get(f"{server.url}/tuningfork/v1/caller", headers={"x-goog-api-key": secret})
    assert asked.json()["email"] == "me@localhost"
    assert secret not in page.content()

    with page.expect_navigation():
        page.get_by_role("link", name="Revoke for a test").first.click()
    page.get_by_label("Type its name").fill("for a test")
    visitor.press("Revoke")
    page.get_by_text("for a test is revoked.").wait_for()

    asked = httpx.get(f"{server.url}/tuningfork/v1/caller", headers={"x-goog-api-key": secret})
    assert asked.status_code == 400


def test_the_numbers_of_the_page_are_those_of_the_metrics(visitor, server):
    with server.client() as client:
        client.get("/tuningfork/v1/tunedModels/none/job")
        page = visitor.open("/operations").page
        row = page.locator("#errors tr", has=page.get_by_text("job", exact=True)).filter(has_text="404")
        shown = int(row.locator("td").nth(1).text_content().replace(",", ""))
        metrics = client.get("/metrics").text
        disk = client.get("/tuningfork/v1/engines").json()["disk"]

    counted = re.search(r'tuningfork_http_request_seconds_count\{endpoint="job",status="404"\} ([\d.]+)', metrics)
    assert shown == float(counted[1])
    for each in disk["kept"]:
        measured = re.search(rf'tuningfork_disk_bytes\{{kind="{each["kind"]}"\}} (\S+)', metrics)
        assert float(measured[1]) == each["sizeBytes"]
