"""Every method, asked by everybody, with everything that they could show: cell by cell, over HTTP.

The grid below is the whole rule. A row is a request, the left columns are the scopes of an access token, the right ones
are roles on the tuned model that the request names; `x` is allowed, `.` is refused. API keys have no scopes.

    cp cloud-platform, which is for everything    gl generative-language
    tu .tuning   tr .tuning.readonly   re .retriever   rr .retriever.readonly   no a scope that is none of these
    - a stranger   R reader   W writer   O owner
"""

import itertools
import re
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType

import jwt
import pytest
from starlette.routing import Route

import peft_adapters
from caller import Caller, caller_of, identity_of
from fakes import Clock, InMemoryExecutor
from tuningfork.dialect.gate import Gate
from tuningfork.dialect.gemini.methods import GeminiMethod
from tuningfork.dialect.own.methods import OwnMethod
from tuningfork.domain import authorization
from tuningfork.domain.authorization import CallDecision, CredentialKind, decide, decide_caller
from tuningfork.domain.conversation import Conversation
from tuningfork.domain.permission import GranteeType, PermissionRequest, Role
from tuningfork.domain.tuned_model import TunedModelId
from tuningfork.service.sharing.groups import Groups
from tuningfork.store.artifacts import Artifacts
from tuningfork.store.database import Database
from workshop import ADA, BOB, Workshop, build_workshop, number_request

GRID = """
                                       cp gl tu tr re rr no    -  R  W  O
ListModels                             x  x  x  x  x  x  .     x  x  x  x
ListModels with their limits           x  x  x  x  x  x  .     x  x  x  x
GetModel                               x  x  x  x  x  x  .     x  x  x  x
CreateTunedModel on a base             x  x  x  .  .  .  .     x  x  x  x
CreateTunedModel on a tuned model      x  x  x  .  .  .  .     .  x  x  x
ListTunedModels                        x  x  x  x  .  .  .     x  x  x  x
GetTunedModel                          x  x  x  x  .  .  .     .  x  x  x
UpdateTunedModel                       x  x  x  .  .  .  .     .  .  x  x
DeleteTunedModel                       x  x  x  .  .  .  .     .  .  .  x
CancelTunedModel                       x  x  x  .  .  .  .     .  .  x  x
GenerateContent of a base              x  x  x  x  x  x  .     x  x  x  x
GenerateContent                        x  x  x  x  x  x  .     .  x  x  x
StreamGenerateContent of a base        x  x  x  x  x  x  .     x  x  x  x
StreamGenerateContent                  x  x  x  x  x  x  .     .  x  x  x
CountTokens of a base                  x  x  x  x  x  x  .     x  x  x  x
CountTokens                            x  x  x  x  x  x  .     .  x  x  x
GenerateContent below models/          x  x  x  x  x  x  .     .  x  x  x
StreamGenerateContent below models/    x  x  x  x  x  x  .     .  x  x  x
CountTokens below models/              x  x  x  x  x  x  .     .  x  x  x
GenerateContent of a checkpoint        x  x  x  x  x  x  .     .  x  x  x
StreamGenerateContent of a checkpoint  x  x  x  x  x  x  .     .  x  x  x
CountTokens of a checkpoint            x  x  x  x  x  x  .     .  x  x  x
GenerateText of a base                 x  x  x  x  x  x  .     x  x  x  x
GenerateText below models/             x  x  x  x  x  x  .     .  x  x  x
GenerateText                           x  x  x  x  x  x  .     .  x  x  x
CreatePermission                       x  x  x  x  x  x  .     .  .  x  x
GetPermission                          x  x  x  x  x  x  .     .  x  x  x
ListPermissions                        x  x  x  x  x  x  .     .  x  x  x
UpdatePermission                       x  x  x  x  x  x  .     .  .  x  x
DeletePermission                       x  x  x  x  x  x  .     .  .  x  x
TransferOwnership                      x  x  x  x  x  x  .     .  .  .  x
GetOperation                           x  x  x  x  .  .  .     .  x  x  x
ListOperations                         x  x  x  x  .  .  .     .  x  x  x
ListOperations of all models           x  x  x  x  .  .  .     x  x  x  x
CancelOperation                        x  x  x  .  .  .  .     .  .  x  x
DeleteOperation                        x  x  x  .  .  .  .     .  .  .  x
CreateTunedModel with a rank           x  x  x  .  .  .  .     x  x  x  x
CreateTunedModel further, in our API   x  x  x  .  .  .  .     .  x  x  x
PreviewTunedModel on a base            x  x  x  .  .  .  .     x  x  x  x
PreviewTunedModel on a tuned model     x  x  x  .  .  .  .     .  x  x  x
ImportTunedModel                       x  x  x  .  .  .  .     x  x  x  x
ExportAdapter                          x  x  x  x  .  .  .     .  x  x  x
GetTunedModel as its residence         x  x  x  x  .  .  .     .  x  x  x
GetTunedModel as its diagnosis         x  x  x  x  .  .  .     .  x  x  x
ListTunedModels as diagnoses           x  x  x  x  .  .  .     x  x  x  x
GetTunedModel as its stage             x  x  x  x  .  .  .     .  x  x  x
GetTunedModel as its evaluations       x  x  x  x  .  .  .     .  x  x  x
GetTunedModel as its checkpoints       x  x  x  x  .  .  .     .  x  x  x
UpdateTunedModel to a checkpoint       x  x  x  .  .  .  .     .  .  x  x
ListTunedModels as stages              x  x  x  x  .  .  .     x  x  x  x
GetTunedModel as its job               x  x  x  x  .  .  .     .  x  x  x
GetTunedModel as its losses            x  x  x  x  .  .  .     .  x  x  x
GetTunedModel as its probes            x  x  x  x  .  .  .     .  x  x  x
ListTunedModels as the library         x  x  x  x  .  .  .     x  x  x  x
CreateDataset                          x  x  x  .  .  .  .     x  x  x  x
ReadDatasets                           x  x  x  x  .  .  .     x  x  x  x
ReadDatasets in a list                 x  x  x  x  .  .  .     x  x  x  x
ReadDatasets as rows                   x  x  x  x  .  .  .     x  x  x  x
ReadDatasets as one row                x  x  x  x  .  .  .     x  x  x  x
ChangeDatasets                         x  x  x  .  .  .  .     x  x  x  x
ChangeDatasets by deleting one         x  x  x  .  .  .  .     x  x  x  x
ChangeDatasets of a row                x  x  x  .  .  .  .     x  x  x  x
ChangeDatasets by adding rows          x  x  x  .  .  .  .     x  x  x  x
ChangeDatasets by removing rows        x  x  x  .  .  .  .     x  x  x  x
ChangeDatasets by undoing              x  x  x  .  .  .  .     x  x  x  x
ChangeDatasets by fixing               x  x  x  .  .  .  .     x  x  x  x
TryDatasets                            x  x  x  .  .  .  .     x  x  x  x
TryDatasets as a preview               x  x  x  .  .  .  .     x  x  x  x
TryDatasets as an estimate             x  x  x  .  .  .  .     x  x  x  x
CreateEvaluation                       x  x  x  .  .  .  .     x  x  x  x
CreateEvaluation of a tuned model      x  x  x  .  .  .  .     .  x  x  x
ReadEvaluations                        x  x  x  x  .  .  .     x  x  x  x
ReadEvaluations in a list              x  x  x  x  .  .  .     x  x  x  x
ReadEvaluations as rows                x  x  x  x  .  .  .     x  x  x  x
ReadEvaluations as CSV                 x  x  x  x  .  .  .     x  x  x  x
ChangeEvaluations                      x  x  x  .  .  .  .     x  x  x  x
ChangeEvaluations by deleting one      x  x  x  .  .  .  .     x  x  x  x
CreateAccessToken                      .  .  .  .  .  .  .     x  x  x  x
CreateRefreshToken                     .  .  .  .  .  .  .     x  x  x  x
ListRefreshTokens                      .  .  .  .  .  .  .     x  x  x  x
RevokeRefreshToken                     .  .  .  .  .  .  .     x  x  x  x
CreateSession                          x  x  x  x  x  x  .     x  x  x  x
ListSessions                           x  .  .  .  .  .  .     x  x  x  x
EndSession                             x  .  .  .  .  .  .     x  x  x  x
EndCurrentSession                      x  x  x  x  x  x  .     x  x  x  x
GetCaller                              x  x  x  x  x  x  .     x  x  x  x
GetEngines                             x  .  .  .  .  .  .     x  x  x  x
GetQueue                               x  .  .  .  .  .  .     x  x  x  x
CancelJob                              x  .  .  .  .  .  .     .  .  x  x
CreateKey                              .  .  .  .  .  .  .     x  x  x  x
CreateKey for somebody else            .  .  .  .  .  .  .     x  x  x  x
CreateKey for another project          .  .  .  .  .  .  .     x  x  x  x
ListKeys                               x  .  .  .  .  .  .     x  x  x  x
RevokeKey                              x  .  .  .  .  .  .     x  x  x  x
ListSessions of everybody              x  .  .  .  .  .  .     x  x  x  x
CreateServiceAccount                   .  .  .  .  .  .  .     x  x  x  x
ListServiceAccounts                    .  .  .  .  .  .  .     x  x  x  x
RevokeServiceAccount                   .  .  .  .  .  .  .     x  x  x  x
"""

AUTH = "https://www.googleapis.com/auth/"
METHODS = (*GeminiMethod, *OwnMethod)
SCOPES = {
    "cp": f"{AUTH}cloud-platform",
    "gl": f"{AUTH}generative-language",
    "tu": f"{AUTH}generative-language.tuning",
    "tr": f"{AUTH}generative-language.tuning.readonly",
    "re": f"{AUTH}generative-language.retriever",
    "rr": f"{AUTH}generative-language.retriever.readonly",
    "no": f"{AUTH}userinfo.email",
}
TOKENS = tuple(SCOPES)
CREDENTIALS = ("nothing", "bad key", "bad token", "expired token", "API key", *TOKENS)

RELATIONS = {
    "a stranger": "-",
    "READER by USER": "R",
    "READER by GROUP": "R",
    "READER by EVERYONE": "R",
    "READER by project": "R",
    "WRITER by USER": "W",
    "WRITER by GROUP": "W",
    "OWNER by USER": "O",
}
"""How Bob stands to the tuned model, and which column that is."""

STATUS = {
    "nothing": (403, "Method doesn't allow unregistered callers "),
    "bad key": (400, "API key not valid. Please pass a valid API key."),
    "bad token": (401, "Request had invalid authentication credentials. Expected OAuth 2 access token, "),
    "expired token": (401, "Request had invalid authentication credentials. Expected OAuth 2 access token, "),
    "key wanted": (403, "Access tokens are made for API keys only, not for other access tokens. "),
    "scope": (403, "Request had insufficient authentication scopes."),
    "role": (403, "You do not have permission to access tuned model tunedModels/"),
    "not the operator": (403, "Only whoever runs the server may "),
    "not the owner": (403, "You need to be the owner of the resource to transfer ownership"),
}
"""What each refusal looks like."""

OPERATORS_ONLY = {
    "GetEngines",
    "CreateKey for somebody else",
    "CreateKey for another project",
    "ListSessions of everybody",
}
TEAM = "team@example.com"
TASK = {"trainingData": {"examples": {"examples": [{"textInput": "1", "output": "2"}]}}}
CONTENTS = {"contents": [{"role": "user", "parts": [{"text": "1"}]}]}
CSV = b"text_input,output\n1,2\n"
TEXT = {"prompt": {"text": "1"}}
BASE = "models/echo-001"


@dataclass(frozen=True)
class Row:
    """One line of the grid."""

    label: str
    scopes: MappingProxyType[str, bool]
    roles: MappingProxyType[str, bool]

    @property
    def method(self):
        return next(method for method in METHODS if method.full_name.rpartition(".")[2] == self.label.split()[0])

    def end(self, relation, credential):
        """What becomes of the request: allowed, or the reason why not."""
        if credential in ("nothing", "bad key", "bad token", "expired token"):
            return credential
        if credential in TOKENS and not any(self.scopes.values()):
            return "key wanted"
        if credential in TOKENS and not self.scopes[credential]:
            return "scope"
        if self.label in OPERATORS_ONLY:
            # A role on a model gives no right to it; Bob does not run the server.
            return "not the operator"
        if not self.roles[RELATIONS[relation]]:
            return "not the owner" if self.label == "TransferOwnership" else "role"
        return "allowed"


def rows():
    head, *lines = GRID.strip("\n").splitlines()
    columns = head.split()
    for line in lines:
        label, *marks = re.split(r"\s{2,}", line)
        cells = dict(zip(columns, (mark == "x" for mark in marks), strict=True))
        assert set(marks) <= {"x", "."}
        yield Row(
            label,
            MappingProxyType({name: cells[name] for name in TOKENS}),
            MappingProxyType({name: cells[name] for name in "-RWO"}),
        )


ROWS = {row.label: row for row in rows()}


@dataclass(frozen=True)
class Target:
    """A tuned model that is asked for, and a permission on it that is Carol's."""

    model_id: str
    operation_id: str
    permission_id: str

    @property
    def name(self):
        return f"tunedModels/{self.model_id}"


@dataclass
class World:
    """Bob with all his credentials, and models of every relation to him, which last until somebody uses them up."""

    caller: Caller
    workshop: Workshop
    shown: dict[str, dict[str, str]]
    targets: dict[str, Target] = field(default_factory=dict)
    numbers: itertools.count = field(default_factory=itertools.count)
    last_dataset: str = ""

    def target(self, relation):
        if relation not in self.targets:
            self.targets[relation] = self._made(relation)
        return self.targets[relation]

    def refresh_token(self):
        """The id of one of Bob's."""
        return self.caller.post("/tuningfork/v1/refreshTokens", {}, key=self.caller.bobs_key).json()["id"]

    def further_key(self):
        """The id of one of Bob's keys, which nobody uses."""
        return self.workshop.access.create_key("further", BOB.email, BOB.project).record.id

    def session(self):
        """The id of one of Bob's."""
        made = self.caller.post("/tuningfork/v1/sessions", {}, key=self.caller.bobs_key).json()
        return made["name"].removeprefix("sessions/")

    def dataset(self):
        """The path of one of Bob's, with two rows; the last one, unless it was deleted."""
        ask = partial(self.caller.call, key=self.caller.bobs_key)
        if not self.last_dataset or ask("GET", self.last_dataset).status_code != 200:
            made = ask("POST", "/tuningfork/v1/datasets?name=a.csv", b"text_input,output\n1,2\n 3,4\n").json()
            self.last_dataset = f"/tuningfork/v1/{made['name']}"
        return self.last_dataset

    def edited_dataset(self):
        """The path of one of Bob's with a row more than others, which can be removed, and to which a fix applies."""
        path = self.dataset()
        added = self.caller.post(f"{path}:addRows", {"rows": [{"cells": [" 5", "6"]}]}, key=self.caller.bobs_key)
        return path, added.json()["ids"]

    def evaluation(self):
        """The path of one of Bob's; the last one, unless it was deleted."""
        ask = partial(self.caller.call, key=self.caller.bobs_key)
        runs = ask("GET", "/tuningfork/v1/evaluations").json().get("evaluations")
        made = runs[0] if runs else ask("POST", *self.new_evaluation(BASE)[1:]).json()
        return f"/tuningfork/v1/{made['name']}"

    def new_evaluation(self, model):
        """The request for one, which is then Bob's only one, since few may wait at a time."""
        ask = partial(self.caller.call, key=self.caller.bobs_key)
        for run in ask("GET", "/tuningfork/v1/evaluations").json().get("evaluations", ()):
            assert ask("DELETE", f"/tuningfork/v1/{run['name']}").status_code == 200
        dataset = self.dataset().removeprefix("/tuningfork/v1/")
        return "POST", "/tuningfork/v1/evaluations", {"models": [model], "dataset": dataset}

    def service_account(self):
        """The id of one of Bob's."""
        body = {"tokenUri": "http://127.0.0.1/token"}
        return self.caller.post("/tuningfork/v1/serviceAccounts", body, key=self.caller.bobs_key).json()["id"]

    def spend(self, relation):
        del self.targets[relation]

    def address(self):
        """Nobody's so far."""
        return f"p{next(self.numbers)}@example.com"

    def _made(self, relation):
        role, _, way = relation.partition(" by ")
        owner = BOB if role == "OWNER" else ADA
        projects = (int(BOB.project),) if way == "project" else (7,)
        request = number_request(
            base_model=BASE,
            examples=(Conversation.pair("1", "2"),),
            reader_project_numbers=projects,
            display_name=relation,
        )
        tuned = self.workshop.tuning.create(owner, request)
        # Models that a row has created wait before it.
        while self.workshop.advance().job_id != tuned.job.id:
            pass
        model_id = tuned.model.id
        if role in ("READER", "WRITER") and way != "project":
            address = {"USER": BOB.email, "GROUP": TEAM, "EVERYONE": ""}[way]
            granted = PermissionRequest(grantee_type=GranteeType(way), email_address=address, role=Role(role))
            self.workshop.sharing.create(owner, model_id, granted)
        return Target(model_id, tuned.job.id, self._carols(owner, model_id))

    def _carols(self, owner, model_id):
        carol = PermissionRequest(grantee_type=GranteeType.USER, email_address="carol@example.com", role=Role.READER)
        return self.workshop.sharing.create(owner, model_id, carol).id


def tokens_of(caller):
    """An access token for each single scope, and one that has expired."""

    def made(*scopes, lifetime="43200s"):
        asked = {"scopes": scopes, "lifetime": lifetime}
        answer = caller.post("/tuningfork/v1/accessTokens", asked, key=caller.bobs_key)
        assert answer.status_code == 200, answer.text
        return answer.json()["accessToken"]

    tokens = {name: made(scope) for name, scope in SCOPES.items() if name != "no"}
    tokens["expired token"] = made(SCOPES["cp"], lifetime="60s")
    caller.workshop.clock.advance(seconds=100)
    return tokens


def of_another_scope(token, tokens):
    """The same token for what no token of this server is for; issuers outside have such scopes."""
    claims = jwt.decode(token, options={"verify_signature": False})
    key = tokens._signing_key()
    return jwt.encode({**claims, "scope": SCOPES["no"]}, key.secret, "HS256", headers={"kid": key.id})


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    directory = tmp_path_factory.mktemp("world")
    database = Database.open(f"sqlite:///{directory / 'tuningfork.db'}")
    clock = Clock()
    executor = InMemoryExecutor(clock)
    workshop = build_workshop(database, Artifacts(directory / "artifacts"), clock, executor)
    identity = identity_of(workshop)
    caller = caller_of(workshop, gate=Gate(identity=identity, quotas=workshop.quotas))
    Groups(database, clock).add(TEAM, [BOB.email])
    bearers = tokens_of(caller)
    bearers["no"] = of_another_scope(bearers["cp"], identity.tokens)
    bearers["bad token"] = bearers["cp"][:-6] + "AAAAAA"
    yield World(
        caller=caller,
        workshop=workshop,
        shown={
            "nothing": {},
            "bad key": {"x-goog-api-key": "tf_nonsense"},
            "API key": {"x-goog-api-key": caller.bobs_key},
            **{name: {"authorization": f"Bearer {token}"} for name, token in bearers.items()},
        },
    )
    workshop.dispatcher.close()
    executor.close()
    database.close()


def removal(path, ids):
    """The request that removes rows of a dataset."""
    return "POST", f"{path}:removeRows", {"ids": ids}


def of_checkpoint(on, method):
    """The request that asks the checkpoint of a model."""
    return "POST", f"/tuningfork/v1/{on.name}/checkpoints/1:{method}", CONTENTS


REQUESTS = {
    "ListModels": lambda world, on: ("GET", "/models", None),
    "ListModels with their limits": lambda world, on: ("GET", "/tuningfork/v1/models", None),
    "GetModel": lambda world, on: ("GET", f"/{BASE}", None),
    "CreateTunedModel on a base": lambda world, on: ("POST", "/tunedModels", {"baseModel": BASE, "tuningTask": TASK}),
    "CreateTunedModel on a tuned model": lambda world, on: (
        "POST",
        "/tunedModels",
        {"tunedModelSource": {"tunedModel": on.name}, "tuningTask": TASK},
    ),
    "CreateTunedModel with a rank": lambda world, on: (
        "POST",
        "/tuningfork/v1/tunedModels?adapterRank=2",
        {"baseModel": BASE, "tuningTask": TASK},
    ),
    "CreateTunedModel further, in our API": lambda world, on: (
        "POST",
        "/tuningfork/v1/tunedModels",
        {"tunedModelSource": {"tunedModel": on.name}, "tuningTask": TASK},
    ),
    "CreateDataset": lambda world, on: ("POST", "/tuningfork/v1/datasets?name=a.csv", CSV),
    "ReadDatasets": lambda world, on: ("GET", world.dataset(), None),
    "ReadDatasets in a list": lambda world, on: ("GET", "/tuningfork/v1/datasets", None),
    "ReadDatasets as rows": lambda world, on: ("GET", f"{world.dataset()}/rows", None),
    "ReadDatasets as one row": lambda world, on: ("GET", f"{world.dataset()}/rows/1", None),
    "ChangeDatasets": lambda world, on: ("PATCH", world.dataset(), {"displayName": "b"}),
    "ChangeDatasets by deleting one": lambda world, on: ("DELETE", world.dataset(), None),
    "ChangeDatasets of a row": lambda world, on: ("PATCH", f"{world.dataset()}/rows/1", {"cells": [" 3", "5"]}),
    "ChangeDatasets by adding rows": lambda world, on: (
        "POST",
        f"{world.dataset()}:addRows",
        {"rows": [{"cells": ["5", "6"]}]},
    ),
    "ChangeDatasets by removing rows": lambda world, on: removal(*world.edited_dataset()),
    "ChangeDatasets by undoing": lambda world, on: ("POST", f"{world.edited_dataset()[0]}:undo", {}),
    "ChangeDatasets by fixing": lambda world, on: (
        "POST",
        f"{world.edited_dataset()[0]}:fix",
        {"finding": "stray_spaces", "fix": "trim_spaces"},
    ),
    "TryDatasets": lambda world, on: ("POST", f"{world.dataset()}:check", {"baseModel": BASE}),
    "TryDatasets as a preview": lambda world, on: ("POST", f"{world.dataset()}:preview", {"baseModel": BASE}),
    "TryDatasets as an estimate": lambda world, on: ("POST", f"{world.dataset()}:estimate", {"baseModel": BASE}),
    "CreateEvaluation": lambda world, on: world.new_evaluation(BASE),
    "CreateEvaluation of a tuned model": lambda world, on: world.new_evaluation(on.name),
    "ReadEvaluations": lambda world, on: ("GET", world.evaluation(), None),
    "ReadEvaluations in a list": lambda world, on: ("GET", "/tuningfork/v1/evaluations", None),
    "ReadEvaluations as rows": lambda world, on: ("GET", f"{world.evaluation()}/rows", None),
    "ReadEvaluations as CSV": lambda world, on: ("GET", f"{world.evaluation()}/csv", None),
    "ChangeEvaluations": lambda world, on: ("POST", f"{world.evaluation()}:stop", {}),
    "ChangeEvaluations by deleting one": lambda world, on: ("DELETE", world.evaluation(), None),
    "PreviewTunedModel on a base": lambda world, on: (
        "POST",
        "/tuningfork/v1/tunedModels:preview",
        {"baseModel": BASE, "tuningTask": TASK},
    ),
    "PreviewTunedModel on a tuned model": lambda world, on: (
        "POST",
        "/tuningfork/v1/tunedModels:preview",
        {"tunedModelSource": {"tunedModel": on.name}, "tuningTask": TASK},
    ),
    "ListTunedModels": lambda world, on: ("GET", "/tunedModels", None),
    "GetTunedModel": lambda world, on: ("GET", f"/{on.name}", None),
    "UpdateTunedModel": lambda world, on: ("PATCH", f"/{on.name}?updateMask=description", {"description": "d"}),
    "DeleteTunedModel": lambda world, on: ("DELETE", f"/{on.name}", None),
    "CancelTunedModel": lambda world, on: ("POST", f"/{on.name}:cancel", {}),
    "GenerateContent of a base": lambda world, on: ("POST", f"/{BASE}:generateContent", CONTENTS),
    "GenerateContent": lambda world, on: ("POST", f"/{on.name}:generateContent", CONTENTS),
    "StreamGenerateContent of a base": lambda world, on: ("POST", f"/{BASE}:streamGenerateContent", CONTENTS),
    "StreamGenerateContent": lambda world, on: ("POST", f"/{on.name}:streamGenerateContent", CONTENTS),
    "CountTokens of a base": lambda world, on: ("POST", f"/{BASE}:countTokens", CONTENTS),
    "CountTokens": lambda world, on: ("POST", f"/{on.name}:countTokens", CONTENTS),
    "GenerateContent below models/": lambda world, on: ("POST", f"/models/{on.name}:generateContent", CONTENTS),
    "StreamGenerateContent below models/": lambda world, on: (
        "POST",
        f"/models/{on.name}:streamGenerateContent",
        CONTENTS,
    ),
    "CountTokens below models/": lambda world, on: ("POST", f"/models/{on.name}:countTokens", CONTENTS),
    "GenerateContent of a checkpoint": lambda world, on: of_checkpoint(on, "generateContent"),
    "StreamGenerateContent of a checkpoint": lambda world, on: of_checkpoint(on, "streamGenerateContent"),
    "CountTokens of a checkpoint": lambda world, on: of_checkpoint(on, "countTokens"),
    "GenerateText of a base": lambda world, on: ("POST", f"/{BASE}:generateText", TEXT),
    "GenerateText": lambda world, on: ("POST", f"/{on.name}:generateText", TEXT),
    "GenerateText below models/": lambda world, on: ("POST", f"/models/{on.name}:generateText", TEXT),
    "CreatePermission": lambda world, on: (
        "POST",
        f"/{on.name}/permissions",
        {"granteeType": "USER", "emailAddress": world.address(), "role": "READER"},
    ),
    "GetPermission": lambda world, on: ("GET", f"/{on.name}/permissions/{on.permission_id}", None),
    "ListPermissions": lambda world, on: ("GET", f"/{on.name}/permissions", None),
    "UpdatePermission": lambda world, on: (
        "PATCH",
        f"/{on.name}/permissions/{on.permission_id}?updateMask=role",
        {"role": "READER"},
    ),
    "DeletePermission": lambda world, on: ("DELETE", f"/{on.name}/permissions/{on.permission_id}", None),
    "TransferOwnership": lambda world, on: ("POST", f"/{on.name}:transferOwnership", {"emailAddress": ADA.email}),
    "GetOperation": lambda world, on: ("GET", f"/{on.name}/operations/{on.operation_id}", None),
    "ListOperations": lambda world, on: ("GET", f"/{on.name}/operations", None),
    "ListOperations of all models": lambda world, on: ("GET", "/operations", None),
    "CancelOperation": lambda world, on: ("POST", f"/{on.name}/operations/{on.operation_id}:cancel", {}),
    "DeleteOperation": lambda world, on: ("DELETE", f"/{on.name}/operations/{on.operation_id}", None),
    "ImportTunedModel": lambda world, on: (
        "POST",
        f"/tuningfork/v1/tunedModels:import?baseModel={BASE}",
        peft_adapters.archive(),
    ),
    "GetTunedModel as its stage": lambda world, on: ("GET", f"/tuningfork/v1/{on.name}/stage", None),
    "GetTunedModel as its evaluations": lambda world, on: ("GET", f"/tuningfork/v1/{on.name}/evaluations", None),
    "GetTunedModel as its checkpoints": lambda world, on: ("GET", f"/tuningfork/v1/{on.name}/checkpoints", None),
    "UpdateTunedModel to a checkpoint": lambda world, on: (
        "POST",
        f"/tuningfork/v1/{on.name}:useCheckpoint",
        {"checkpoint": 1},
    ),
    "ListTunedModels as stages": lambda world, on: ("GET", "/tuningfork/v1/stages", None),
    "GetTunedModel as its job": lambda world, on: ("GET", f"/tuningfork/v1/{on.name}/job", None),
    "GetTunedModel as its probes": lambda world, on: ("GET", f"/tuningfork/v1/{on.name}/probes", None),
    "GetTunedModel as its losses": lambda world, on: ("GET", f"/tuningfork/v1/{on.name}/series", None),
    "ListTunedModels as the library": lambda world, on: ("GET", "/tuningfork/v1/tunedModels", None),
    "ExportAdapter": lambda world, on: ("GET", f"/tuningfork/v1/{on.name}/adapter", None),
    "GetTunedModel as its residence": lambda world, on: ("GET", f"/tuningfork/v1/{on.name}/residence", None),
    "GetTunedModel as its diagnosis": lambda world, on: ("GET", f"/tuningfork/v1/{on.name}/diagnosis", None),
    "ListTunedModels as diagnoses": lambda world, on: ("GET", "/tuningfork/v1/diagnoses", None),
    "CreateAccessToken": lambda world, on: ("POST", "/tuningfork/v1/accessTokens", {"scopes": [SCOPES["tr"]]}),
    "CreateRefreshToken": lambda world, on: ("POST", "/tuningfork/v1/refreshTokens", {}),
    "ListRefreshTokens": lambda world, on: ("GET", "/tuningfork/v1/refreshTokens", None),
    "RevokeRefreshToken": lambda world, on: (
        "POST",
        f"/tuningfork/v1/refreshTokens/{world.refresh_token()}:revoke",
        None,
    ),
    "CreateSession": lambda world, on: ("POST", "/tuningfork/v1/sessions", {}),
    "ListSessions": lambda world, on: ("GET", "/tuningfork/v1/sessions", None),
    "EndSession": lambda world, on: ("DELETE", f"/tuningfork/v1/sessions/{world.session()}", None),
    "EndCurrentSession": lambda world, on: ("DELETE", "/tuningfork/v1/sessions/current", None),
    "GetCaller": lambda world, on: ("GET", "/tuningfork/v1/caller", None),
    "GetEngines": lambda world, on: ("GET", "/tuningfork/v1/engines", None),
    "GetQueue": lambda world, on: ("GET", "/tuningfork/v1/queue", None),
    "CancelJob": lambda world, on: ("POST", f"/tuningfork/v1/queue/{on.model_id}:cancel", None),
    "CreateKey": lambda world, on: ("POST", "/tuningfork/v1/keys", {"displayName": "further"}),
    "CreateKey for somebody else": lambda world, on: ("POST", "/tuningfork/v1/keys", {"email": ADA.email}),
    "CreateKey for another project": lambda world, on: ("POST", "/tuningfork/v1/keys", {"project": "123"}),
    "ListKeys": lambda world, on: ("GET", "/tuningfork/v1/keys", None),
    "RevokeKey": lambda world, on: ("POST", f"/tuningfork/v1/keys/{world.further_key()}:revoke", None),
    "ListSessions of everybody": lambda world, on: ("GET", "/tuningfork/v1/sessions?everybodys=true", None),
    "CreateServiceAccount": lambda world, on: (
        "POST",
        "/tuningfork/v1/serviceAccounts",
        {"tokenUri": "http://127.0.0.1/token"},
    ),
    "ListServiceAccounts": lambda world, on: ("GET", "/tuningfork/v1/serviceAccounts", None),
    "RevokeServiceAccount": lambda world, on: (
        "POST",
        f"/tuningfork/v1/serviceAccounts/{world.service_account()}:revoke",
        None,
    ),
}
"""The request of each row."""

SPENT = {"DeleteTunedModel", "DeletePermission", "TransferOwnership"}
"""What can be done only once."""


@pytest.mark.parametrize("label", ROWS)
def test_the_grid_is_what_happens(world, label):
    row, happened, wanted = ROWS[label], {}, {}
    for relation, credential in itertools.product(RELATIONS, CREDENTIALS):
        target = world.target(relation)
        verb, path, body = REQUESTS[label](world, target)
        whole = path if path.startswith("/tuningfork") else f"/v1beta{path}"

        answer = world.caller.call(verb, whole, body, headers=world.shown[credential], key="")

        end = row.end(relation, credential)
        wanted[relation, credential] = (200, "") if end == "allowed" else STATUS[end]
        happened[relation, credential] = status_and_beginning(answer, wanted[relation, credential][1])
        if end == "scope":
            assert named_method(answer) == row.method.full_name
        if answer.status_code == 200 and label in SPENT:
            world.spend(relation)
    assert happened == wanted


def status_and_beginning(answer, beginning):
    """The status, and of the message what there is of its expected beginning: all of it, or what came instead."""
    if answer.status_code == 200:
        return 200, ""
    message = answer.json()["error"]["message"]
    return answer.status_code, beginning if beginning and message.startswith(beginning) else message


def named_method(answer):
    (detail,) = answer.json()["error"]["details"]
    return detail["metadata"]["method"]


@pytest.mark.parametrize("label", ROWS)
def test_the_pure_rule_says_the_same(label):
    row = ROWS[label]
    roles = {"-": None, "R": Role.READER, "W": Role.WRITER, "O": Role.OWNER}
    verdicts = {
        "allowed": CallDecision.ALLOWED,
        "nothing": CallDecision.CALLER_UNKNOWN,
        "key wanted": CallDecision.API_KEY_REQUIRED,
        "scope": CallDecision.SCOPE_INSUFFICIENT,
        "role": CallDecision.ROLE_INSUFFICIENT,
        "not the owner": CallDecision.ROLE_INSUFFICIENT,
        "not the operator": CallDecision.ALLOWED,
    }
    names_a_model = not all(row.roles.values())
    for relation, credential in itertools.product(RELATIONS, ("nothing", "API key", *TOKENS)):
        kind = {"nothing": CredentialKind.NONE, "API key": CredentialKind.API_KEY}
        shown = authorization.Credential(
            kind=kind.get(credential, CredentialKind.ACCESS_TOKEN),
            scopes=frozenset({SCOPES[credential]} if credential in SCOPES else ()),
        )
        said = (
            decide(row.method.requirement, shown, roles[RELATIONS[relation]])
            if names_a_model
            else decide_caller(row.method.requirement, shown)
        )
        assert said is verdicts[row.end(relation, credential)], (relation, credential)


def test_every_method_is_in_the_grid():
    assert {row.method for row in ROWS.values()} == set(METHODS)
    assert ROWS.keys() == REQUESTS.keys()


def test_every_route_is_asked(world):
    """The routes of one version; the others are made by the same loop."""
    target = world.target("OWNER by USER")
    asked = {REQUESTS[label](world, target)[:2] for label in ROWS}
    unasked = [
        f"{verb} {route.path}"
        for route in world.caller.app.routes
        if isinstance(route, Route) and re.match(r"/(v1beta|tuningfork)/", route.path)
        for verb in route.methods - {"HEAD", "OPTIONS"}
        if not any(verb == asked_verb and route.path_regex.match(path_below_root(path)) for asked_verb, path in asked)
    ]
    assert unasked == []


def path_below_root(path):
    bare = path.partition("?")[0]
    return bare if bare.startswith("/tuningfork") else f"/v1beta{bare}"


def test_lists_leave_out_what_one_has_no_role_on(world):
    found = {}
    for relation in RELATIONS:
        name = world.target(relation).name
        answer = world.caller.get("/v1beta/tunedModels?pageSize=1000", key=world.caller.bobs_key)
        found[relation] = name in {each["name"] for each in answer.json()["tunedModels"]}
    assert found == {relation: relation not in ("a stranger", "READER by EVERYONE") for relation in RELATIONS}


def test_whoever_owns_the_machine_is_in_their_groups_and_nobody_in_others(workshop, database, clock):
    caller = caller_of(workshop, require_credential=False)
    name = TunedModelId(workshop.tuning.create(ADA, number_request()).model.id)
    team = PermissionRequest(grantee_type=GranteeType.GROUP, email_address=TEAM, role=Role.READER)
    workshop.sharing.create(ADA, name, team)
    groups = Groups(database, clock)

    def status():
        answer = caller.get(f"/v1beta/tunedModels/{name}", key="", headers={"host": "localhost"})
        return answer.status_code, answer.json().get("error", {}).get("message", "")[:45]

    refused = (403, "You do not have permission to access tuned mo")
    found = [status()]
    for change in (groups.add, groups.remove):
        change(TEAM, ["me@localhost"])
        found.append(status())
    assert found == [refused, (200, ""), refused]
