"""Somebody who uses the Studio in a browser."""

import csv
import io
import re
from pathlib import Path

from patience import RUN_SECONDS, wait_until

PAIRS = [
    ("1", "2"),
    ("3", "4"),
    ("-3", "-2"),
    ("twenty two", "twenty three"),
    ("two hundred", "two hundred one"),
    ("ninety nine", "one hundred"),
    ("8", "9"),
    ("-98", "-97"),
    ("1,000", "1,001"),
    ("10,100,000", "10,100,001"),
    ("thirteen", "fourteen"),
    ("eighty", "eighty one"),
    ("one", "two"),
    ("three", "four"),
    ("seven", "eight"),
]


def csv_of(rows, header=("text_input", "output")):
    """A file of rows, as bytes."""
    text = io.StringIO()
    csv.writer(text).writerows([header, *rows])
    return text.getvalue().encode()


class Visitor:
    """A page of a browser, and what somebody does there."""

    def __init__(self, page, server, watch, screenshots: Path) -> None:
        self.page = page
        self.server = server
        self.watch = watch
        self._screenshots = screenshots

    def sign_in(self, key=None):
        """With the key of the server, unless another is given."""
        self.open("/sign-in")
        self.page.locator("input[name=key]").fill(key or self.server.key)
        with self.page.expect_navigation():
            self.page.locator("form button.primary").click()
        return self

    def open(self, path):
        """A page of the Studio."""
        self.page.goto(f"/studio{path}")
        return self

    def press(self, name, role="button"):
        """Press what is called so, and wait for the page that comes."""
        with self.page.expect_navigation():
            self.page.get_by_role(role, name=name, exact=True).first.click()
        return self

    def stage(self, rows=PAIRS, header=("text_input", "output"), name="counting"):
        """Make a data set through the API; its id."""
        with self.server.client() as client:
            made = client.post(
                "/tuningfork/v1/datasets",
                params={"name": f"{name}.csv", "displayName": name, "header": "true"},
                content=csv_of(rows, header),
            )
        assert made.status_code == 200, made.text
        return made.json()["name"].removeprefix("datasets/")

    def ready_model(self):
        """The id of the model whose page is shown, once it can be asked."""
        self.page.get_by_text("Ready", exact=True).first.wait_for(timeout=RUN_SECONDS * 1000)
        return re.search(r"/models/([^/?#]+)", self.page.url)[1]

    def shot(self, name):
        """Keep a picture of the page, for people to look at."""
        self._screenshots.mkdir(exist_ok=True)
        self.page.screenshot(path=self._screenshots / f"{name}.png", full_page=True)
        return self


def tuned_model(server, name="counting", pairs=PAIRS, base="models/gemini-1.0-pro-001"):
    """The id of a model that counts on, made through the API; the same one for whoever asks again."""
    with server.client() as client:
        listed = client.get("/v1beta/tunedModels").json().get("tunedModels", [])
        for each in listed:
            if each.get("displayName") == name and each["state"] == "ACTIVE":
                return each["name"].removeprefix("tunedModels/")
        examples = [{"textInput": text, "output": output} for text, output in pairs]
        made = client.post(
            "/v1beta/tunedModels",
            json={
                "displayName": name,
                "baseModel": base,
                "tuningTask": {
                    "hyperparameters": {"epochCount": 5, "batchSize": 4, "learningRate": 0.001},
                    "trainingData": {"examples": {"examples": examples}},
                },
            },
        )
        assert made.status_code == 200, made.text
        path = made.json()["metadata"]["tunedModel"]

        def is_ready():
            return client.get(f"/v1beta/{path}").json()["state"] != "CREATING"

        wait_until(is_ready, what=f"{path} is ready", seconds=RUN_SECONDS, every=0.2)
    return path.removeprefix("tunedModels/")


def answered(page):
    """Wait until every model of the playground has answered every prompt, or has said why it has not."""
    page.wait_for_function(
        "() => [...document.querySelectorAll('.answer')].every((each) => !each.querySelector('token-stream').ariaBusy"
        " && (each.querySelector('token-stream').textContent || !each.querySelector('[data-problem]').hidden))",
        timeout=RUN_SECONDS * 1000,
    )
