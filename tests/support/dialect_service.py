"""A small server that speaks the dialect as its published reference prints it, written apart from our own API.

Clients and commands are tested against it over real HTTP. Its one base model echoes; a tuned model knows its examples
by heart and echoes the rest; a tuning run takes one step each time it is looked at, so that polling shows it grow.
"""

import asyncio
import csv
import io
import json
import math
import socket
import tarfile
import threading
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import uvicorn
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from patience import wait_until

KEY = "the-key"
BASES = ("models/tuningfork-mini-001", "models/gemini-1.0-pro-001")


class DialectService:
    """The state behind the routes; tests may look into it and change it."""

    def __init__(self):
        self.url = ""
        self.is_quiet = lambda: True
        self.forget()

    def forget(self):
        """Begin again as if nothing had ever been asked, once no earlier caller's request is under way."""
        wait_until(self.is_quiet, what="earlier callers have left", every=0.005)
        self.tuned = {}
        self.bodies = []
        self.asked_by = []
        self.ranks = []
        self.fail_with = None
        self.findings = {}
        self.base_names = []
        self.imported = []
        self.stages = {}
        self.knows_stages = True
        self.knows_findings = True
        self.losses = [round(2 / step, 6) for step in range(1, 1_000)]
        self.frozen = False
        self.looks = 0
        self.still_looks = 0
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.diagnoses_asked = 0
        self.may_diagnose = threading.Event()
        self.may_diagnose.set()
        self.validation_losses = lambda _body: [1.0, 0.5, 0.75, 0.875]
        self.most_runs = math.inf
        self.refuse_with = []
        self.private = set()
        self.tokens_made = 0
        self.token_lifetime = timedelta(hours=1)
        self.key_project = "local"
        self.refresh_tokens = {}
        self.service_accounts = {}
        self.datasets = {}
        self.evaluated = {}
        self.leaked = 0
        self.deleted_datasets = []

    def create(self, body, model_id):
        task = body["tuningTask"]
        examples = pairs_in(task)
        chosen = {"epochCount": 5, "batchSize": 4, "learningRate": 0.001} | task["hyperparameters"]
        name = f"tunedModels/{model_id or f'm-{len(self.tuned) + 1}'}"
        self.tuned[name] = {
            "examples": {example["textInput"]: example["output"] for example in examples},
            "displayName": body.get("displayName", ""),
            "baseModel": body.get("baseModel") or self.tuned[body["tunedModelSource"]["tunedModel"]]["baseModel"],
            "total": math.ceil(len(examples) * chosen["epochCount"] / chosen["batchSize"]),
            "batch": chosen["batchSize"],
            "step": 0,
            "error": None,
        }
        operation = self.operation(name)
        if "validation" in task:
            self.tuned[name]["losses"] = self.validation_losses({**body, "rank": self.ranks[-1]})
            operation["metadata"] |= {"exampleCount": str(len(examples)), "validationExampleCount": "2"}
        return operation

    def evaluations(self, name):
        """An evaluation after each step of a run with a validation set, with losses in the order given."""
        run = self.tuned[name]
        return [
            {
                "step": step,
                "epoch": 0,
                "meanLoss": run["losses"][min(step, len(run["losses"])) - 1],
                "targetCount": "10",
                "rightTargetCount": "5",
                "computeTime": "2024-03-14T15:11:23Z",
            }
            for step in range(1, run["step"] + 1 if "losses" in run else 1)
        ]

    def checkpoints(self, name):
        """The one with the lowest validation loss, and the last; of a run without a validation set the last."""
        shown = self.evaluations(name)
        if not shown:
            return [{"number": 1, "step": self.tuned[name]["step"], "epoch": 0, "meanLoss": 0.25, "default": True}]
        best = min(shown, key=lambda each: each["meanLoss"])
        kept = [best, shown[-1]] if best is not shown[-1] else [best]
        default = self.tuned[name].get("default", 1)
        return [
            {"number": number, "step": each["step"], "epoch": 0, "meanLoss": 0.25, "evaluation": each}
            | ({"default": True} if number == default else {})
            for number, each in enumerate(kept, 1)
        ]

    def evaluation(self, name, body, *, ended):
        """An evaluation of the examples of a data set by exact match, whose intervals are half as wide as can be."""
        pairs = list(csv.reader(io.StringIO(self.datasets[body["dataset"]])))[1:]
        right = {model: [self.answer(model, asked) == wanted for asked, wanted in pairs] for model in body["models"]}
        means = {model: sum(found) / len(pairs) for model, found in right.items()}
        bounds = {model: {"mean": mean, "low": mean / 2, "high": (1 + mean) / 2} for model, mean in means.items()}
        first, *others = body["models"]
        shown = [{"model": model, "measure": "EXACT_MATCH", **found} for model, found in bounds.items()]
        differences = [
            {"firstModel": first, "secondModel": each, "measure": "EXACT_MATCH", "mean": means[first] - means[each]}
            for each in others
        ]
        return {
            "name": name,
            "state": ended or "RUNNING",
            "models": [{"name": model, "leakedExampleCount": self.leaked} for model in body["models"]],
            "measures": ["EXACT_MATCH"],
            "exampleCount": len(pairs),
            "answerCount": len(pairs) * len(means) if ended else 0,
            "totalAnswerCount": len(pairs) * len(means),
            **({"scores": shown, "differences": differences} if ended else {}),
            **({"error": "The model is gone."} if ended == "FAILED" else {}),
        }

    def entry(self, name):
        run = self.tuned[name]
        entry = {"name": name, "displayName": run["displayName"], "baseModel": run["baseModel"], "state": "ACTIVE"}
        temperature = {"temperature": run["temperature"]} if run.get("temperature") not in (None, "") else {}
        return entry | {"createTime": "2024-03-14T15:09:04.511322Z"} | temperature

    def operation(self, name):
        run = self.tuned[name]
        metadata = {"totalSteps": run["total"], "tunedModel": name}
        if run["step"]:
            metadata["snapshots"] = [
                {
                    "step": step,
                    "epoch": step * run["batch"] // len(run["examples"]),
                    "meanLoss": self.losses[step - 1],
                    "computeTime": "2024-03-14T15:11:23.766989274Z",
                }
                for step in range(1, run["step"] + 1)
            ]
        answer = {"name": f"{name}/operations/op1", "metadata": metadata}
        if run["error"]:
            return answer | {"done": True, "error": {"code": 13, "message": run["error"]}}
        return answer | ({"done": True, "response": {"name": name}} if run["step"] == run["total"] else {})

    def look(self, name):
        self.looks += 1
        run = self.tuned[name]
        run["step"] += not self.frozen and self.looks > self.still_looks and run["step"] < run["total"]
        if self.fail_with:
            run["error"] = self.fail_with
        return self.operation(name)

    def answer(self, name, prompt):
        return self.tuned.get(name, {"examples": {}})["examples"].get(prompt, prompt)


def error(http_status, status, message, **details):
    body = {"code": http_status, "message": message, "status": status, "details": [details] if details else []}
    return JSONResponse({"error": body}, http_status)


def missing(name):
    return error(404, "NOT_FOUND", f"Tuned model {name} does not exist.")


def candidate(text):
    return {"candidates": [{"content": {"parts": [{"text": text}], "role": "model"}, "index": 0}]}


def pairs_in(task):
    """The examples of a task; a conversation as what was said before its last turn, and that turn."""
    examples = task["trainingData"]["examples"]
    chats = [
        [content["parts"][0]["text"] for content in chat["contents"]] for chat in examples.get("multiturnExamples", [])
    ]
    pairs = [{"textInput": "\n".join(before), "output": last} for *before, last in chats]
    return examples.get("examples", []) + pairs


class Routes:
    """HTTP around the service: one method a route."""

    def __init__(self, service):
        self.service = service

    async def health(self, _request):
        return JSONResponse({})

    async def models(self, _request):
        methods = ["generateContent", "countTokens", "createTunedModel"]
        limits = {"inputTokenLimit": 16384, "outputTokenLimit": 8192, "supportedGenerationMethods": methods}
        return JSONResponse({"models": [{"name": name, "displayName": name.upper()} | limits for name in BASES]})

    async def tuned_models(self, _request):
        entries = [self.service.entry(name) for name in self.service.tuned]
        return JSONResponse({"tunedModels": entries} if entries else {})

    async def cancel(self, request):
        self.service.tuned[f"tunedModels/{request.path_params['id']}"]["error"] = "cancelled"
        return JSONResponse({})

    async def operations(self, request):
        """The runs of all models, or of one, as they are; asking for them makes no step."""
        of = request.path_params.get("id")
        if of and f"tunedModels/{of}" not in self.service.tuned:
            return missing(f"tunedModels/{of}")
        if f"tunedModels/{of}" in self.service.private:
            return error(403, "PERMISSION_DENIED", f"You do not have permission to access tunedModels/{of}")
        runs = [self.service.operation(name) for name in self.service.tuned if not of or name == f"tunedModels/{of}"]
        if "fields" in request.query_params:
            for run in runs:
                run["metadata"]["completedSteps"] = len(run["metadata"].pop("snapshots", ()))
        return JSONResponse({"operations": runs} if runs else {})

    async def create(self, request):
        body = await request.json()
        self.service.bodies.append(body)
        self.service.ranks.append(request.query_params.get("adapterRank"))
        kind = (
            "multiturn_examples"
            if "multiturnExamples" in body["tuningTask"]["trainingData"]["examples"]
            else "examples"
        )
        path = f"tuned_model.tuning_task.training_data.examples.{kind}"
        violations = [
            {"field": f"{path}[{index}].output", "description": "output must be at most 20 characters"}
            for index, example in enumerate(pairs_in(body["tuningTask"]))
            if len(example["output"]) > 20
        ]
        violations += self.service.refuse_with
        if violations:
            lines = "".join(f"* CreateTunedModelRequest.{v['field']}: {v['description']}\n" for v in violations)
            return error(400, "INVALID_ARGUMENT", lines, fieldViolations=violations)
        model_id = request.query_params.get("tunedModelId")
        if f"tunedModels/{model_id}" in self.service.tuned:
            return error(409, "ALREADY_EXISTS", f"Tuned model tunedModels/{model_id} already exists.")
        if sum(run["step"] < run["total"] for run in self.service.tuned.values()) >= self.service.most_runs:
            return error(429, "RESOURCE_EXHAUSTED", "Too many jobs.")
        operation = self.service.create(body, model_id)
        await asyncio.to_thread(self.service.may_answer.wait)
        return JSONResponse(operation)

    async def preview(self, request):
        """The input in five tokens, the output in as many as it has characters, and its end."""
        body = await request.json()
        self.service.bodies.append(body)
        examples = pairs_in(body["tuningTask"])
        trained = [len(example["output"]) + 1 for example in examples]
        chosen = {"epochCount": 5, "batchSize": 4, "learningRate": 0.001} | body["tuningTask"]["hyperparameters"]
        shown = [
            {
                "segments": [
                    {"text": f"User:\n{example['textInput']}\nAssistant:\n", "trained": False, "tokenCount": 5},
                    {"text": f"{example['output']}</s>", "trained": True, "tokenCount": count},
                ],
                "tokenCount": count + 5,
                "trainedTokenCount": count,
            }
            for example, count in zip(examples, trained, strict=True)
        ]
        return JSONResponse(
            {
                "baseModel": body.get("baseModel", BASES[0]),
                "totalSteps": math.ceil(len(examples) * chosen["epochCount"] / chosen["batchSize"]),
                "hyperparameters": chosen,
                "exampleCount": len(examples),
                "totalTokenCount": 5 * len(examples) + sum(trained),
                "trainedTokenCount": sum(trained),
                "longestExampleTokenCount": 5 + max(trained),
                "longestExample": trained.index(max(trained)),
                "contextTokenCount": 64,
                "examples": shown[: int(request.query_params.get("examples", 3))],
            }
        )

    async def one(self, request):
        name, _, verb = request.path_params["name"].partition(":")
        tuned_model = name.partition("/operations/")[0]
        if tuned_model.startswith("tunedModels/") and tuned_model not in self.service.tuned:
            return missing(tuned_model)
        if request.method == "DELETE":
            del self.service.tuned[name]
            return JSONResponse({})
        if "/operations/" in name:
            run = self.service.look(tuned_model)
            if "fields" in request.query_params:
                run["metadata"]["completedSteps"] = len(run["metadata"].pop("snapshots", ()))
            return JSONResponse(run)
        if request.method == "GET":
            return JSONResponse(self.service.entry(name))
        if request.method == "PATCH":
            return self.patch(name, request.query_params["updateMask"].split(","), await request.json())
        return self.generate(name, verb, await request.json())

    def patch(self, name, mask, body):
        if len(body.get("displayName", "")) > 40:
            line = "* UpdateTunedModelRequest.tuned_model.display_name: display_name must be at most 40 characters\n"
            return error(400, "INVALID_ARGUMENT", line)
        self.service.tuned[name] |= {field: body.get(field, "") for field in mask}
        return JSONResponse(self.service.entry(name))

    def generate(self, name, verb, body):
        self.service.bodies.append(body)
        self.service.asked_by.append(verb)
        text = self.service.answer(name, body["contents"][0]["parts"][0]["text"])
        if verb == "generateContent":
            return JSONResponse(candidate(text))
        events = [f"data: {json.dumps(candidate(letter), ensure_ascii=False)}\r\n\r\n" for letter in text]
        return StreamingResponse(iter(events), media_type="text/event-stream")

    async def access_token(self, request):
        scopes = (await request.json())["scopes"]
        self.service.tokens_made += 1
        expire_time = datetime.now(UTC) + self.service.token_lifetime
        token = {"accessToken": f"token-{self.service.tokens_made}", "scopes": scopes, "tokenType": "Bearer"}
        return JSONResponse(token | {"expireTime": expire_time.isoformat()})

    async def create_refresh_token(self, request):
        made = {"id": f"r{len(self.service.refresh_tokens) + 1}", "keyId": "k1", **await request.json()}
        made["createTime"] = "2024-03-14T15:09:04.511322Z"
        self.service.refresh_tokens[made["id"]] = made
        secrets = {"clientId": "tuningfork", "clientSecret": "a-secret", "refreshToken": "tf_refresh_1"}
        return JSONResponse({**made, **secrets, "project": self.service.key_project})

    async def list_refresh_tokens(self, _request):
        tokens = list(self.service.refresh_tokens.values())
        return JSONResponse({"refreshTokens": tokens} if tokens else {})

    async def revoke_refresh_token(self, request):
        if request.path_params["id"] not in self.service.refresh_tokens:
            return error(404, "NOT_FOUND", f"Refresh token {request.path_params['id']} does not exist.")
        token = self.service.refresh_tokens[request.path_params["id"]]
        token["revokeTime"] = "2024-03-15T15:09:04.511322Z"
        return JSONResponse(token)

    async def create_service_account(self, request):
        made = {"id": f"a{len(self.service.service_accounts) + 1}", "keyId": "k1", **await request.json()}
        made |= {"email": f"{made['id']}@service-accounts.tuningfork", "createTime": "2024-03-14T15:09:04.511322Z"}
        self.service.service_accounts[made["id"]] = made
        return JSONResponse({**made, "privateKey": "-----a\nprivate-key-----\n", "project": self.service.key_project})

    async def list_service_accounts(self, _request):
        accounts = list(self.service.service_accounts.values())
        return JSONResponse({"serviceAccounts": accounts} if accounts else {})

    async def revoke_service_account(self, request):
        if request.path_params["id"] not in self.service.service_accounts:
            return error(404, "NOT_FOUND", f"Service account {request.path_params['id']} does not exist.")
        account = self.service.service_accounts[request.path_params["id"]]
        account["revokeTime"] = "2024-03-15T15:09:04.511322Z"
        return JSONResponse(account)

    async def diagnosis(self, request):
        name = f"tunedModels/{request.path_params['id']}"
        self.service.diagnoses_asked += 1
        await asyncio.to_thread(self.service.may_diagnose.wait)
        if not self.service.knows_findings:
            return error(404, "NOT_FOUND", "Method not found.")
        return JSONResponse({"tunedModel": name, "findings": self.service.findings.get(name, [])})

    async def diagnoses(self, _request):
        if not self.service.knows_findings:
            return error(404, "NOT_FOUND", "Method not found.")
        return JSONResponse(
            {"diagnoses": [{"tunedModel": name, "findings": found} for name, found in self.service.findings.items()]}
        )

    async def adapter(self, request):
        name = f"tunedModels/{request.path_params['id']}"
        if name not in self.service.tuned:
            return missing(name)
        self.service.base_names += request.query_params.getlist("baseName")
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            member = tarfile.TarInfo("adapter_config.json")
            member.size = 2
            tar.addfile(member, io.BytesIO(b"{}"))
        return Response(archive.getvalue(), media_type="application/x-tar")

    async def stage(self, request):
        name = f"tunedModels/{request.path_params['id']}"
        if not self.service.knows_stages or name not in self.service.tuned:
            return missing(name)
        return JSONResponse({"tunedModel": name, "stage": "TRAINING"} | self.service.stages.get(name, {}))

    async def evaluations(self, request):
        name = f"tunedModels/{request.path_params['id']}"
        if name not in self.service.tuned:
            return missing(name)
        found = self.service.evaluations(name)
        counts = {"tunedModel": name, "exampleCount": "3", "validationExampleCount": "2", "evaluateEvery": 1}
        best = {"best": min(found, key=lambda each: each["meanLoss"])} if found else {}
        return JSONResponse({"evaluations": found, **best, **(counts if "losses" in self.service.tuned[name] else {})})

    async def checkpoints(self, request):
        name = f"tunedModels/{request.path_params['id']}"
        return JSONResponse({"tunedModel": name, "checkpoints": self.service.checkpoints(name)})

    async def use_checkpoint(self, request):
        name, number = f"tunedModels/{request.path_params['id']}", (await request.json())["checkpoint"]
        if number not in [each["number"] for each in self.service.checkpoints(name)]:
            return error(400, "INVALID_ARGUMENT", f"checkpoint must be one of 1, 2; {number} was given")
        self.service.tuned[name]["default"] = number
        return await self.checkpoints(request)

    async def create_dataset(self, request):
        name, text = f"datasets/d{len(self.service.datasets) + 1}", (await request.body()).decode()
        self.service.datasets[name] = text
        return JSONResponse({"name": name, "columnsSettled": text.startswith("text_input,output")})

    async def delete_dataset(self, request):
        # An evaluation has its own copy; here it needs the rows again.
        self.service.deleted_datasets.append(f"datasets/{request.path_params['id']}")
        return JSONResponse({})

    async def create_evaluation(self, request):
        body, name = await request.json(), f"evaluations/e{len(self.service.evaluated) + 1}"
        self.service.bodies.append(body)
        self.service.evaluated[name] = body
        return JSONResponse(self.service.evaluation(name, body, ended=""))

    async def one_evaluation(self, request):
        name, _, verb = f"evaluations/{request.path_params['id']}".partition(":")
        ended = "STOPPED" if verb == "stop" else "FAILED" if self.service.fail_with else "SUCCEEDED"
        return JSONResponse(self.service.evaluation(name, self.service.evaluated[name], ended=ended))

    async def every_stage(self, _request):
        if not self.service.knows_stages:
            return error(404, "NOT_FOUND", "Not found.")
        return JSONResponse({"stages": [{"tunedModel": name, **told} for name, told in self.service.stages.items()]})

    async def import_(self, request):
        """The parameters and the files of what was sent are kept, and a run of no steps."""
        query = dict(request.query_params)
        with tarfile.open(fileobj=io.BytesIO(await request.body())) as tar:
            self.service.imported.append((query, {member.name: tar.extractfile(member).read() for member in tar}))
        name = f"tunedModels/{query.get('tunedModelId', 'imported')}"
        self.service.tuned[name] = {
            "examples": {},
            "displayName": query.get("displayName", ""),
            "baseModel": query["baseModel"],
            "total": 0,
            "batch": 1,
            "step": 0,
            "error": None,
        }
        return JSONResponse(self.service.entry(name))


def keyed(endpoint):
    """The endpoint for callers with the key; others get the documented refusals."""

    async def guarded(request):
        key = request.headers.get("x-goog-api-key")
        if key is None:
            return error(403, "PERMISSION_DENIED", "Method doesn't allow unregistered callers (callers …).")
        if key != KEY:
            return error(400, "INVALID_ARGUMENT", "API key not valid.", reason="API_KEY_INVALID")
        return await endpoint(request)

    return guarded


def application(service):
    routes = Routes(service)
    return Starlette(
        routes=[
            Route("/healthz", routes.health),
            Route("/v1beta/models", keyed(routes.models)),
            Route("/v1beta/tunedModels", keyed(routes.tuned_models)),
            Route("/v1beta/tunedModels", keyed(routes.create), methods=["POST"]),
            Route("/v1alpha/tunedModels", keyed(routes.create), methods=["POST"]),
            Route("/tuningfork/v1/accessTokens", keyed(routes.access_token), methods=["POST"]),
            Route("/tuningfork/v1/refreshTokens", keyed(routes.create_refresh_token), methods=["POST"]),
            Route("/tuningfork/v1/refreshTokens", keyed(routes.list_refresh_tokens)),
            Route("/tuningfork/v1/refreshTokens/{id}:revoke", keyed(routes.revoke_refresh_token), methods=["POST"]),
            Route("/tuningfork/v1/serviceAccounts", keyed(routes.create_service_account), methods=["POST"]),
            Route("/tuningfork/v1/serviceAccounts", keyed(routes.list_service_accounts)),
            Route("/tuningfork/v1/serviceAccounts/{id}:revoke", keyed(routes.revoke_service_account), methods=["POST"]),
            Route("/tuningfork/v1/tunedModels", keyed(routes.create), methods=["POST"]),
            Route("/tuningfork/v1/tunedModels:preview", keyed(routes.preview), methods=["POST"]),
            Route("/tuningfork/v1/tunedModels:import", keyed(routes.import_), methods=["POST"]),
            Route("/tuningfork/v1/tunedModels/{id}/adapter", keyed(routes.adapter)),
            Route("/tuningfork/v1/tunedModels/{id}/diagnosis", keyed(routes.diagnosis)),
            Route("/tuningfork/v1/tunedModels/{id}/stage", keyed(routes.stage)),
            Route("/tuningfork/v1/tunedModels/{id}/evaluations", keyed(routes.evaluations)),
            Route("/tuningfork/v1/tunedModels/{id}/checkpoints", keyed(routes.checkpoints)),
            Route("/tuningfork/v1/tunedModels/{id}:useCheckpoint", keyed(routes.use_checkpoint), methods=["POST"]),
            Route("/tuningfork/v1/datasets", keyed(routes.create_dataset), methods=["POST"]),
            Route("/tuningfork/v1/datasets/{id}", keyed(routes.delete_dataset), methods=["DELETE"]),
            Route("/tuningfork/v1/evaluations", keyed(routes.create_evaluation), methods=["POST"]),
            Route("/tuningfork/v1/evaluations/{id}", keyed(routes.one_evaluation), methods=["GET", "POST"]),
            Route("/tuningfork/v1/stages", keyed(routes.every_stage)),
            Route("/tuningfork/v1/diagnoses", keyed(routes.diagnoses)),
            Route("/v1beta/operations", keyed(routes.operations)),
            Route("/v1beta/tunedModels/{id}/operations", keyed(routes.operations)),
            Route("/v1beta/tunedModels/{id}/operations/op1:cancel", keyed(routes.cancel), methods=["POST"]),
            Route("/v1beta/{name:path}", keyed(routes.one), methods=["GET", "POST", "PATCH", "DELETE"]),
        ]
    )


@contextmanager
def running():
    """A service on a free loopback port, for as long as the context lasts."""
    service = DialectService()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        service.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        server = uvicorn.Server(uvicorn.Config(application(service), log_level="warning", lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            wait_until(lambda: server.started, what="the service listens", every=0.005)
            service.is_quiet = lambda: not (server.server_state.connections or server.server_state.tasks)
            yield service
        finally:
            server.should_exit = True
            thread.join()
