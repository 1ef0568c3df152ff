"""A stand-in for the server's API, as far as the pages that make a tuned model ask it: one data set, one model."""

import json

import httpx

FINDING = {
    "id": "empty_output",
    "severity": "ERROR",
    "title": "Empty output",
    "description": "1 row has no output.",
    "count": 1,
    "rows": [{"id": 2, "number": 3}],
    "fixes": [{"id": "remove_rows", "title": "Remove the row", "changes": 1}],
}
REFUSED = {"error": {"code": 400, "status": "INVALID_ARGUMENT", "message": "This is refused, for a test."}}


class StagedApi:
    """Answers from `answers`, which a test may change, and keeps what it was asked.

    The names of `answers` are verbs and paths, such as `GET /tuningfork/v1/datasets/x`. A value with "error" is a
    refusal.
    """

    def __init__(self, **dataset):
        self.asked = []
        columns = [{"name": "question", "role": "INPUT"}, {"name": "answer", "role": "OUTPUT", "prefix": "out: "}]
        whole = {"name": "datasets/x", "displayName": "roman", "rowCount": 3, "columns": columns, "format": "CSV"}
        self.dataset = {**whole, "createTime": TIME, "updateTime": TIME, "expireTime": TIME, "revision": 1, **dataset}
        rows = [{"id": n, "number": n + 1, "cells": [f"{n}", f"{n + 1}"]} for n in range(3)]
        segments = [{"text": "<start>1\n"}, {"text": "2<end>", "learned": True}]
        example = {"id": 0, "number": 1, "segments": segments, "tokenCount": 5, "learnedTokenCount": 2}
        base = {"name": "models/tiny", "displayName": "Tiny", "supportedGenerationMethods": ["createTunedModel"]}
        tuned = {"tunedModel": "tunedModels/t", "displayName": "counts", "baseModel": "models/tiny", "callable": True}
        own = "/tuningfork/v1"
        self.answers = {
            f"GET {own}/caller": {"email": "you@localhost", "credential": "NONE"},
            f"GET {own}/datasets": {"datasets": [self.dataset]},
            f"POST {own}/datasets": self.dataset,
            f"GET {own}/datasets/x": self.dataset,
            f"PATCH {own}/datasets/x": self.dataset,
            f"DELETE {own}/datasets/x": {},
            f"GET {own}/datasets/x/rows": {"rows": rows, "rowCount": 3},
            f"POST {own}/datasets/x:check": {"findings": [], "exampleCount": 3},
            f"POST {own}/datasets/x:fix": {"dataset": self.dataset, "changedRowCount": 1},
            f"POST {own}/datasets/x:undo": {"dataset": self.dataset},
            f"POST {own}/datasets/x:preview": {"examples": [{**example, "identicalToServing": True}]},
            f"POST {own}/datasets/x:estimate": {"totalSteps": 19, "hyperparameters": {"epochCount": 5}, "jobsAhead": 0},
            f"GET {own}/tunedModels": {"tunedModels": [tuned]},
            f"POST {own}/tunedModels": {"name": "o", "metadata": {"tunedModel": "tunedModels/new"}},
            f"GET {own}/tunedModels/t/job": {**tuned, "state": "SUCCEEDED"},
            f"GET {own}/models": {"models": [{"name": "models/tiny", "jsonMode": True, "systemInstruction": True}]},
            f"GET {own}/tunedModels/t/checkpoints": {"checkpoints": [{"number": 1, "step": 19, "default": True}]},
            "GET /v1beta/models": {"models": [base]},
        }

    def refuse(self, name, **details):
        """Answer so from now on with an error about what was sent."""
        self.answers[name] = {"error": {**REFUSED["error"], **details}}

    def sent(self, name):
        """The bodies of the requests for this verb and path, the last one last."""
        return [body for asked, _, body in self.asked if asked == name]

    def transport(self):
        """How a client reaches it."""
        return httpx.MockTransport(self._answer)

    def _answer(self, request):
        name = f"{request.method} {request.url.path}"
        content = request.read()
        is_json = request.headers.get("content-type", "").startswith("application/json")
        self.asked.append((name, dict(request.url.params), json.loads(content) if is_json and content else content))
        answer = self.answers.get(name, {"error": {"code": 404, "status": "NOT_FOUND", "message": f"No {name}."}})
        refusal = answer.get("error")
        return httpx.Response(refusal["code"] if isinstance(refusal, dict) else 200, json=answer)


TIME = "2026-01-02T03:04:05Z"
