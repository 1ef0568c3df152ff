"""A stand-in for the API of a server, in memory, for tests of the Studio: people, sessions, models and their jobs."""

import json
from copy import deepcopy

import httpx

KEY = "tf_right-key"
OWN = "/tuningfork/v1"
GEMINI = "/v1beta"

READY = {
    "tunedModel": "tunedModels/roman",
    "displayName": "Roman numerals",
    "baseModel": "models/smollm2",
    "owner": "me@localhost",
    "role": "OWNER",
    "state": "SUCCEEDED",
    "callable": True,
    "step": 19,
    "totalSteps": 19,
    "epoch": 5,
    "epochCount": 5,
    "createTime": "2026-11-30T23:59:00Z",
    "startTime": "2026-12-01T00:00:00Z",
    "completeTime": "2026-12-01T00:00:03.100Z",
    "lastTrainingLoss": 0.18,
    "loss": 0.2134,
    "lossKind": "VALIDATION",
    "exampleCount": 15,
    "bestValidation": {"step": 16, "epoch": 4, "meanLoss": 0.2134},
    "settings": [{"name": "learningRate", "value": "0.001", "default": True}, {"name": "epochCount", "value": "5"}],
    "events": [{"time": "2026-12-01T00:00:00Z", "kind": "STARTED", "message": "Training started."}],
    "data": {"exampleCount": 15},
}
TRAINING = {
    "tunedModel": "tunedModels/tone",
    "displayName": "Tone",
    "role": "OWNER",
    "state": "RUNNING",
    "phase": "TRAINING",
    "step": 8,
    "totalSteps": 19,
    "epoch": 2,
    "epochCount": 5,
    "secondsLeft": 12.4,
}


class StandInApi(httpx.AsyncBaseTransport):
    """Answers like the server's API. `requests` are those that came, with their bodies."""

    def __init__(self, models=(), *, role="OWNER", open_server=False):
        self.models = {each["tunedModel"].partition("/")[2]: deepcopy(each) for each in models}
        self.sessions = set()
        self.made_sessions = 0
        self.requests = []
        self.permissions = [
            {
                "name": "tunedModels/roman/permissions/1",
                "granteeType": "USER",
                "emailAddress": "me@localhost",
                "role": "OWNER",
            }
        ]
        self.role = role
        self.open_server = open_server
        self.is_down = False
        # Answers of further methods, by verb and path below the server's own API.
        self.answers = {}
        self.probes = {}

    async def handle_async_request(self, request):
        body = await request.aread()
        if self.is_down:
            raise httpx.ConnectError("connection refused")
        self.requests.append((request.method, request.url.path, body, request))
        return self._answer(request, body)

    def calls(self, *methods):
        """The method and path of each request with one of these methods."""
        return [(method, path) for method, path, _, _ in self.requests if method in methods]

    def body(self, method, path):
        """The last body that was sent so."""
        return [json.loads(body or b"{}") for verb, place, body, _ in self.requests if (verb, place) == (method, path)][
            -1
        ]

    def _answer(self, request, body):
        credential = request.headers.get("authorization", "").removeprefix("Bearer ")
        path = request.url.path
        if path == f"{OWN}/sessions" and request.method == "POST":
            return self._new_session(credential)
        if not self.open_server and not credential:
            return _error(403, "PERMISSION_DENIED", "Method doesn't allow unregistered callers.")
        if not self.open_server and credential not in self.sessions:
            return _error(401, "UNAUTHENTICATED", "The credential is unknown.")
        parts = path.split("/")
        if path == f"{OWN}/tunedModels":
            return self._list(request.url.params)
        if "tunedModels" in parts:
            return self._one(request, parts[parts.index("tunedModels") + 1 :], body)
        return self._own(request.method, path.removeprefix(f"{OWN}/"), credential)

    def _own(self, method, path, credential):
        if (method, path) in self.answers:
            return _answer(200, self.answers[method, path])
        if path == "sessions/current":
            self.sessions.discard(credential)
            return _answer(200, {})
        if path == "caller":
            return _answer(200, {"email": "me@localhost", "credential": "NONE" if self.open_server else "SESSION"})
        return _error(404, "NOT_FOUND", f"There is nothing at {path}.")

    def _new_session(self, key):
        if key != KEY:
            details = [{"reason": "API_KEY_INVALID"}]
            return _error(400, "INVALID_ARGUMENT", "API key not valid.", details)
        session = f"tfs_{self.made_sessions}"
        self.made_sessions += 1
        self.sessions.add(session)
        return _answer(200, {"credential": session, "expireTime": "2036-12-15T00:00:00Z"})

    def _list(self, query):
        states = query.get("state", "").split(",")
        search = query.get("search", "")
        chosen = [each for each in self.models.values() if states == [""] or each["state"] in states]
        found = [each for each in chosen if search in each["displayName"]]
        everything = [each["state"] for each in self.models.values()]
        return _answer(
            200,
            {
                "tunedModels": found,
                "totalSize": len(found),
                "page": 1,
                "pageCount": 1,
                "states": [{"state": state, "count": everything.count(state)} for state in sorted(set(everything))],
                "bases": [
                    {"baseModel": base, "count": 1}
                    for base in sorted({each["baseModel"] for each in self.models.values() if "baseModel" in each})
                ],
            },
        )

    def _one(self, request, parts, body):
        name, _, verb = parts[0].partition(":")
        if name not in self.models:
            return _error(404, "NOT_FOUND", f"Tuned model tunedModels/{name} does not exist.")
        model = {**self.models[name], "role": self.role}
        if request.method == "GET":
            return self._read(parts[1] if len(parts) > 1 else "", model)
        if self.role == "READER":
            return _error(403, "PERMISSION_DENIED", "You do not have permission to change this model.")
        if request.method == "DELETE" and len(parts) == 1:
            del self.models[name]
        if request.method == "PATCH" and len(parts) == 1:
            self.models[name] |= json.loads(body)
        if verb == "cancel":
            self.models[name]["cancelRequested"] = True
        return _answer(200, {})

    def _read(self, part, model):
        answers = {
            "job": model,
            "checkpoints": {
                "checkpoints": [
                    {
                        "number": 1,
                        "step": 16,
                        "epoch": 4,
                        "meanLoss": 0.2,
                        "evaluation": {"step": 16, "meanLoss": 0.2134},
                    },
                    {"number": 2, "step": 19, "epoch": 5, "meanLoss": 0.18, "default": True},
                ]
            },
            "permissions": {"permissions": self.permissions},
            "probes": self.probes,
            "series": {
                "training": [{"step": 1, "meanLoss": 2.5, "seconds": 0.1}, {"step": 2, "epoch": 1, "meanLoss": "NaN"}],
                "validation": [{"step": 2, "epoch": 1, "meanLoss": 1.25, "seconds": 0.3}],
                "nextAfterStep": 2,
            },
        }
        return _answer(200, answers.get(part, model))


def _answer(status, message):
    """As a body that is read while it arrives."""
    body = json.dumps(message).encode()
    headers = {"content-type": "application/json; charset=UTF-8", "content-length": str(len(body))}
    return httpx.Response(status, headers=headers, stream=httpx.ByteStream(body))


def _error(status, code, message, details=()):
    error = {"code": status, "status": code, "message": message, "details": list(details)}
    return _answer(status, {"error": error})
