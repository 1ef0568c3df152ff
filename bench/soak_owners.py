"""The polite owners of a soak: each has one job at a time, asks now and then, and waits for every answer."""

import random
import threading
import time
from collections.abc import Callable
from datetime import datetime

import httpx

from soak_records import OK, Job, Records, Request

BASE = "models/gemini-1.0-pro-001"
_RETRY_SECONDS = 1.0
_CREATE_SECONDS = 180.0
_JOB_SECONDS = 900.0
_QUESTIONS = ("thirteen", "two hundred ninety nine", "XIX", "-42", "3,999")


class Owner:
    """One owner with a client of its own. Every request is recorded."""

    def __init__(self, name: str, url: str, key: str, records: Records, over: threading.Event, seed: int) -> None:
        self._name = name
        self._records = records
        self._over = over
        self._chance = random.Random(seed)
        self._client = httpx.Client(base_url=url, headers={"x-goog-api-key": key}, timeout=120)
        self._count = 0

    def live(self) -> None:
        """Tune, ask and delete until the run is over. A job that has begun is followed to its end."""
        with self._client:
            while not self._over.is_set():
                job = self._tune()
                if job is not None and job.end == "ACTIVE":
                    self._use(job)
                    self._delete(job)

    def _tune(self) -> Job | None:
        self._count += 1
        name = f"{self._name}-{self._count}"
        body = _job_body(self._chance, epochs=self._chance.choice([3, 5, 8]))
        began = self._records.now()
        if not self._created(name, body):
            return None
        job = Job(name=name, owner=self._name, began=began)
        self._records.jobs.append(job)
        deadline = began + _JOB_SECONDS
        while not job.end:
            self._pause(0.2, 0.8)
            self._look_at(job)
            self._ask_something(BASE)
            if self._records.now() > deadline:
                job.end = "UNFINISHED"
        if job.end == "ACTIVE":
            self._records.add(Request(began=began, seconds=job.seconds, owner=self._name, kind="tune", outcome=OK))
        return job

    def _created(self, name: str, body: dict) -> bool:
        """Create the model; after an answer that was lost, a name that is taken is ours."""
        deadline = self._records.now() + _CREATE_SECONDS
        lost = False
        while self._records.now() < deadline:
            outcome, _ = self._ask("create", "POST", f"/v1beta/tunedModels?tunedModelId={name}", body, lost_before=lost)
            if outcome in (OK, "409"):
                return True
            lost = lost or not outcome.isdigit()
            self._pause(_RETRY_SECONDS, _RETRY_SECONDS)
        self._records.notes.append(f"{name} could not be created within {_CREATE_SECONDS:g} s")
        return False

    def _look_at(self, job: Job) -> None:
        outcome, answer = self._ask("get", "GET", f"/v1beta/tunedModels/{job.name}")
        if outcome == "404":
            job.end = "LOST"
        elif outcome == OK:
            snapshots = answer["tuningTask"].get("snapshots", [])
            job.steps = max(job.steps, len(snapshots))
            if answer["state"] != "CREATING":
                job.end = answer["state"]
            if job.end == "ACTIVE":
                job.seconds = _seconds_between(answer["createTime"], answer["tuningTask"]["completeTime"])
            if job.end == "FAILED":
                job.error = self._reason(job)

    def _reason(self, job: Job) -> str:
        operations = self._client.get(f"/v1beta/tunedModels/{job.name}/operations").json().get("operations", [])
        return "; ".join(each.get("error", {}).get("message", "") for each in operations)

    def _use(self, job: Job) -> None:
        for _ in range(self._chance.randint(2, 5)):
            self._ask_something(f"tunedModels/{job.name}")
            self._pause(0.1, 0.6)

    def _ask_something(self, model: str) -> None:
        """One request of a kind that chance picks; always of a tuned model that is ready, or of the base."""
        body = {
            "contents": [{"parts": [{"text": self._chance.choice(_QUESTIONS)}]}],
            "generationConfig": {"maxOutputTokens": 16, "temperature": 0},
        }
        match self._chance.choice(["generate", "generate", "stream", "count", "list"]):
            case "generate":
                self._ask("generate", "POST", f"/v1beta/{model}:generateContent", body)
            case "stream":
                self._stream(f"/v1beta/{model}:streamGenerateContent?alt=sse", body)
            case "count":
                self._ask("count", "POST", f"/v1beta/{BASE}:countTokens", {"contents": body["contents"]})
            case _:
                self._ask("list", "GET", "/v1beta/tunedModels")

    def _delete(self, job: Job) -> None:
        for _ in range(60):
            outcome, _ = self._ask("delete", "DELETE", f"/v1beta/tunedModels/{job.name}")
            if outcome in (OK, "404"):
                return
            self._pause(_RETRY_SECONDS, _RETRY_SECONDS)

    def _ask(
        self, kind: str, verb: str, path: str, body: dict | None = None, *, lost_before: bool = False
    ) -> tuple[str, dict]:
        began = self._records.now()
        try:
            answer = self._client.request(verb, path, json=body)
        except httpx.TransportError as error:
            self._record(kind, began, type(error).__name__)
            return type(error).__name__, {}
        # A name that is taken is the answer to be expected after an earlier one was lost.
        expected = answer.is_success or (lost_before and answer.status_code == 409)
        self._record(kind, began, OK if expected else str(answer.status_code))
        return (OK, answer.json()) if answer.is_success else (str(answer.status_code), {})

    def _stream(self, path: str, body: dict) -> None:
        began = self._records.now()
        first = None
        try:
            with self._client.stream("POST", path, json=body) as answer:
                outcome = OK if answer.is_success else str(answer.status_code)
                for piece in answer.iter_text():
                    first = first or self._records.now()
                    if '"error"' in piece:
                        outcome = "error in the stream"
        except httpx.TransportError as error:
            outcome = type(error).__name__
        self._record("stream", began, outcome, ended=first if outcome == OK else None)

    def _record(self, kind: str, began: float, outcome: str = OK, *, ended: float | None = None) -> None:
        seconds = (ended or self._records.now()) - began
        self._records.add(Request(began=began, seconds=seconds, owner=self._name, kind=kind, outcome=outcome))

    def _pause(self, least: float, most: float) -> None:
        time.sleep(self._chance.uniform(least, most))


def look_at_health(url: str, records: Records, over: threading.Event) -> None:
    """Ask for `/healthz` ten times a second, as a load balancer would if it were in a hurry."""
    with httpx.Client(base_url=url, timeout=60) as client:
        while not over.wait(0.1):
            began = records.now()
            try:
                status = client.get("/healthz").status_code
                outcome = OK if status == 200 else str(status)
            except httpx.TransportError as error:
                outcome = type(error).__name__
            records.add(
                Request(began=began, seconds=records.now() - began, owner="nobody", kind="health", outcome=outcome)
            )


def start(work: Callable[[], None], name: str) -> threading.Thread:
    """Run it on a thread of its own."""
    thread = threading.Thread(target=work, name=name, daemon=True)
    thread.start()
    return thread


def _seconds_between(first: str, last: str) -> float:
    """The seconds between two of the server's times, as RFC 3339 writes them."""
    return (datetime.fromisoformat(last) - datetime.fromisoformat(first)).total_seconds()


def _job_body(chance: random.Random, *, epochs: int) -> dict:
    first = chance.randint(1, 500)
    rows = [{"textInput": str(first + place), "output": str(first + place + 1)} for place in range(16)]
    return {
        "displayName": "polite",
        "baseModel": BASE,
        "tuningTask": {
            "hyperparameters": {"batchSize": 4, "learningRate": 0.001, "epochCount": epochs},
            "trainingData": {"examples": {"examples": rows}},
        },
    }
