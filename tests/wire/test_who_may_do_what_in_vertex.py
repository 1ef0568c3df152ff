"""Every method of Vertex AI's API, asked by everybody about a model of each relation to them, over HTTP.

The grid is the rule for callers whose credential is good for the project: a row is a request, a column is the caller's
role on the tuned model that it names, a cell is the status. Whoever has no role is told that there is no such resource;
a role that does not suffice is told as a lack of a permission.

    - a stranger   R reader   W writer   O owner
"""

import itertools
import re
from dataclasses import dataclass, field, replace
from urllib.parse import quote

import pytest
from starlette.routing import Route

from bucket_tunings import tunings_over
from caller import Caller, caller_of
from fakes import Clock, InMemoryExecutor
from tuningfork.api.google.form import GoogleForm
from tuningfork.dialect.vertex.methods import VertexMethod
from tuningfork.dialect.vertex.serving_methods import ServingMethod
from tuningfork.dialect.vertex.table import VertexUseCases, vertex
from tuningfork.domain.permission import GranteeType, PermissionRequest, Role
from tuningfork.domain.tuned_model import Changeable, ProjectLocation
from tuningfork.service.sharing.groups import Groups
from tuningfork.store import registry, tuned_models
from tuningfork.store.artifacts import Artifacts
from tuningfork.store.database import Database
from tuningfork.wire.vertex.errors import VERTEX_ERRORS
from vertex_serving import serving_of
from workshop import ADA, BOB, build_workshop

GRID = """
                                          -    R    W    O
CreateTuningJob on a base                 200  200  200  200
CreateTuningJob on a tuned model          404  200  200  200
ListTuningJobs                            200  200  200  200
GetTuningJob                              404  200  200  200
CancelTuningJob                           404  403  200  200
ListOperations of a job                   404  200  200  200
GetOperation of a job                     404  404  404  404
RebaseTunedModel                          501  501  501  501
OptimizePrompt                            501  501  501  501
ProcessData                               501  501  501  501
ValidateReinforcementTuningReward         501  501  501  501
GenerateContent                           404  200  200  200
StreamGenerateContent                     404  200  200  200
CountTokens                               404  200  200  200
ComputeTokens                             404  200  200  200
Predict                                   404  400  400  400
Predict, raw                              404  400  400  400
GenerateContent of a model                404  200  200  200
StreamGenerateContent of a model          404  200  200  200
CountTokens of a model                    404  200  200  200
ComputeTokens of a model                  404  200  200  200
Predict of a model                        404  400  400  400
Predict of a model, raw                   404  400  400  400
GenerateContent of a base                 200  200  200  200
StreamGenerateContent of a base           200  200  200  200
CountTokens of a base                     200  200  200  200
ComputeTokens of a base                   200  200  200  200
Predict of a base                         501  501  501  501
Predict of a base, raw                    501  501  501  501
GetModel                                  404  200  200  200
ListModels                                200  200  200  200
ListModelVersions                         404  200  200  200
ListModelVersionCheckpoints               404  200  200  200
UpdateModel                               404  403  200  200
MergeVersionAliases                       404  403  200  200
DeleteModel                               404  403  403  200
DeleteModelVersion                        404  403  403  200
GetPublisherModel                         200  200  200  200
ListPublisherModels                       200  200  200  200
GetEndpoint                               404  200  200  200
ListEndpoints                             200  200  200  200
UpdateEndpoint                            404  501  501  501
CreateEndpoint                            501  501  501  501
DeployModel                               404  403  200  200
UndeployModel                             404  403  200  200
DeleteEndpoint                            404  403  400  400
ListOperations                            200  200  200  200
GetOperation                              404  404  404  404
WaitOperation                             404  404  404  404
CancelOperation                           404  404  404  404
DeleteOperation                           404  404  404  404
GetContext                                404  200  200  200
ListContexts                              200  200  200  200
GetTensorboard                            404  200  200  200
GetTensorboardExperiment                  404  200  200  200
ListTensorboardRuns                       404  200  200  200
GetTensorboardRun                         404  200  200  200
ListTensorboardTimeSeries                 404  200  200  200
GetTensorboardTimeSeries                  404  200  200  200
ReadTensorboardTimeSeriesData             404  200  200  200
BatchReadTensorboardTimeSeriesData        404  200  200  200
NotServed batchPredictionJobs             501  501  501  501
NotServed models:upload                   501  501  501  501
NotServed models:copy                     501  501  501  501
NotServed cachedContents                  501  501  501  501
"""

PROJECT, LOCATION = "77", "us-central1"
PLACE = {"project": PROJECT, "location": LOCATION}
PARENT = f"/projects/{PROJECT}/locations/{LOCATION}"
TEAM = "team@example.com"
BASE = "gemini-1.5-flash-002"
PUBLISHED = "echo-001"
CONTENTS = {"contents": [{"role": "user", "parts": [{"text": "1"}]}]}
INSTANCES = {"instances": []}

RELATIONS = {
    "a stranger": "-",
    "READER by USER": "R",
    "READER by GROUP": "R",
    "READER by project": "R",
    "WRITER by USER": "W",
    "WRITER by GROUP": "W",
    "OWNER by USER": "O",
}
"""How Bob stands to the tuned model, and which column that is."""

ASKED = [
    *((relation, "key of the project") for relation in RELATIONS),
    *itertools.product(("a stranger", "WRITER by USER", "OWNER by USER"), ("key of any project", "token")),
]
"""Who asks with which credential that is good for the project."""
BAD = {
    "nothing": 401,
    "bad key": 401,
    "bad token": 401,
    "expired token": 401,
    "token of another scope": 403,
    "key of another project": 403,
}
"""What each credential that is not good for the project is answered, whatever is asked."""


@dataclass(frozen=True)
class Target:
    """A tuned model of a job in the project, with the numbers of its parts."""

    model_id: str
    job: str
    model: str
    endpoint: str

    @property
    def tensorboard(self):
        return f"tensorboards/{self.job}"

    @property
    def run(self):
        return f"{self.tensorboard}/experiments/tuning-experiment-{self.job}/runs/tuning-run-{self.job}"


def creation(**source):
    spec = {"trainingDatasetUri": "gs://shared/t.jsonl"}
    return {"supervisedTuningSpec": spec, **(source or {"baseModel": BASE})}


def pre_tuned(on):
    return {"tunedModelName": f"{PARENT[1:]}/models/{on.model}"}


def contexts_of(on):
    named = f"{PARENT[1:]}/metadataStores/default/contexts/tuning-experiment-{on.job}"
    return quote(f'schema_title="system.ExperimentRun" AND parent_contexts:"{named}"')


def texts(on):
    """The methods that ask for text and tokens, by callee: what a label says after the method, and its path."""
    methods = {
        "GenerateContent{}": ("generateContent", CONTENTS),
        "StreamGenerateContent{}": ("streamGenerateContent", CONTENTS),
        "CountTokens{}": ("countTokens", CONTENTS),
        "ComputeTokens{}": ("computeTokens", CONTENTS),
        "Predict{}": ("predict", INSTANCES),
        "Predict{}, raw": ("rawPredict", INSTANCES),
    }
    callees = {
        "": f"/endpoints/{on.endpoint}",
        " of a model": f"/models/{on.model}",
        " of a base": f"/publishers/google/models/{PUBLISHED}",
    }
    for (callee, path), (label, (method, body)) in itertools.product(callees.items(), methods.items()):
        yield label.format(callee), ("POST", f"{path}:{method}", body)


def requests(on):
    """The request of each row: verb, path below the project and location, body."""
    job, model, endpoint = f"/tuningJobs/{on.job}", f"/models/{on.model}", f"/endpoints/{on.endpoint}"
    series = f"/{on.run}/timeSeries"
    named = quote(f"{PARENT[1:]}{series}/1", safe="")
    operation = "/operations/9" + "0" * 17
    deployed = {"deployedModel": {"model": f"{PARENT[1:]}/models/{on.model}@1"}}
    return {
        "CreateTuningJob on a base": ("POST", "/tuningJobs", creation()),
        "CreateTuningJob on a tuned model": ("POST", "/tuningJobs", creation(preTunedModel=pre_tuned(on))),
        "ListTuningJobs": ("GET", "/tuningJobs", None),
        "GetTuningJob": ("GET", job, None),
        "CancelTuningJob": ("POST", f"{job}:cancel", {}),
        "ListOperations of a job": ("GET", f"{job}/operations", None),
        "GetOperation of a job": ("GET", f"{job}/operations/1", None),
        "RebaseTunedModel": ("POST", "/tuningJobs:rebaseTunedModel", {}),
        "OptimizePrompt": ("POST", "/tuningJobs:optimizePrompt", {}),
        "ProcessData": ("POST", "/tuningJobs:processData", {}),
        "ValidateReinforcementTuningReward": ("POST", "/tuningJobs:validateReinforcementTuningReward", {}),
        **dict(texts(on)),
        "GetModel": ("GET", model, None),
        "ListModels": ("GET", "/models", None),
        "ListModelVersions": ("GET", f"{model}:listVersions", None),
        "ListModelVersionCheckpoints": ("GET", f"{model}:listCheckpoints", None),
        "UpdateModel": ("PATCH", f"{model}?updateMask=description", {"description": "d"}),
        "MergeVersionAliases": ("POST", f"{model}:mergeVersionAliases", {"versionAliases": ["stable"]}),
        "DeleteModel": ("DELETE", model, None),
        "DeleteModelVersion": ("DELETE", f"{model}@1:deleteVersion", None),
        "GetPublisherModel": ("GET", f"/publishers/google/models/{PUBLISHED}", None),
        "ListPublisherModels": ("GET", "/publishers/google/models", None),
        "GetEndpoint": ("GET", endpoint, None),
        "ListEndpoints": ("GET", "/endpoints", None),
        "UpdateEndpoint": ("PATCH", f"{endpoint}?updateMask=description", {"description": "d"}),
        "CreateEndpoint": ("POST", "/endpoints", {"displayName": "e"}),
        "DeployModel": ("POST", f"{endpoint}:deployModel", deployed),
        "UndeployModel": ("POST", f"{endpoint}:undeployModel", {"deployedModelId": on.endpoint}),
        "DeleteEndpoint": ("DELETE", endpoint, None),
        "ListOperations": ("GET", "/operations", None),
        "GetOperation": ("GET", operation, None),
        "WaitOperation": ("POST", f"{operation}:wait", {}),
        "CancelOperation": ("POST", f"{operation}:cancel", {}),
        "DeleteOperation": ("DELETE", operation, None),
        "GetContext": ("GET", f"/metadataStores/default/contexts/tuning-experiment-{on.job}", None),
        "ListContexts": ("GET", f"/metadataStores/default/contexts?filter={contexts_of(on)}", None),
        "GetTensorboard": ("GET", f"/{on.tensorboard}", None),
        "GetTensorboardExperiment": ("GET", f"/{on.run.rpartition('/runs')[0]}", None),
        "ListTensorboardRuns": ("GET", f"/{on.run.rpartition('/')[0]}", None),
        "GetTensorboardRun": ("GET", f"/{on.run}", None),
        "ListTensorboardTimeSeries": ("GET", series, None),
        "GetTensorboardTimeSeries": ("GET", f"{series}/1", None),
        "ReadTensorboardTimeSeriesData": ("GET", f"{series}/1:read", None),
        "BatchReadTensorboardTimeSeriesData": ("GET", f"/{on.tensorboard}:batchRead?timeSeries={named}", None),
        "NotServed batchPredictionJobs": ("POST", "/batchPredictionJobs", {}),
        "NotServed models:upload": ("POST", "/models:upload", {}),
        "NotServed models:copy": ("POST", "/models:copy", {}),
        "NotServed cachedContents": ("POST", "/cachedContents", {}),
    }


def rows():
    head, *lines = GRID.strip("\n").splitlines()
    for line in lines:
        label, *cells = re.split(r"\s{2,}", line)
        yield label, dict(zip(head.split(), map(int, cells), strict=True))


ROWS = dict(rows())
SPENT = {"DeleteModel", "DeleteModelVersion", "UndeployModel"}
"""What can be done only once, or changes what other rows find."""
BELOW_NOTHING = re.compile(
    r"/(tuningJobs|publishers/|endpoints/\d+:(generate|stream|count|compute|predict|rawPredict))"
)
"""Paths that clients with a key alone send without a project and a location."""
BARE = [label for label, (_, path, _) in requests(Target("m", "1", "1", "1")).items() if BELOW_NOTHING.match(path)]


@dataclass
class World:
    """Bob with all his credentials, and models of every relation to him, which last until somebody uses them up."""

    caller: Caller
    tunings: object
    shown: dict[str, dict[str, str]]
    targets: dict[str, Target] = field(default_factory=dict)

    def target(self, relation):
        if relation not in self.targets:
            self.targets[relation] = self._made(relation)
        return self.targets[relation]

    def spend(self, relation):
        del self.targets[relation]

    def ask(self, label, relation, credential, parent=PARENT):
        verb, path, body = requests(self.target(relation))[label]
        return self.caller.call(verb, f"/v1beta1{parent}{path}", body, headers=self.shown[credential], key="")

    def list_whole(self, path, credential):
        """The text of every page of a list: the tests before this one may have left more than a page has room for."""
        pages, token = [], ""
        while not pages or token:
            pages.append(
                self.caller.call(
                    "GET", f"/v1beta1{PARENT}{path}?pageToken={token}", headers=self.shown[credential], key=""
                )
            )
            token = pages[-1].json().get("nextPageToken", "")
        return "".join(page.text for page in pages)

    def _made(self, relation):
        role, _, way = relation.partition(" by ")
        owner = replace(BOB if role == "OWNER" else ADA, project="local")
        made = self.tunings.create(owner, PLACE)
        number = made["name"].rpartition("/")[2]
        # Jobs that a row has created wait before it.
        while "tunedModel" not in (job := self.tunings.get(made, owner, place=PLACE)):
            self.tunings.train()
        model = job["tunedModel"]["model"].rpartition("/")[2].partition("@")[0]
        workshop = self.tunings.workshop
        with workshop.database.write() as connection:
            found = registry.find_numbered(connection, ProjectLocation(PROJECT, LOCATION), int(number))
            if way == "project":
                shared = replace(found, reader_project_numbers=(int(PROJECT),))
                tuned_models.update(connection, shared, [Changeable.READER_PROJECT_NUMBERS])
                tuned_models.set_reader_projects(connection, found.id, shared.reader_project_numbers)
        if role in ("READER", "WRITER") and way != "project":
            address = {"USER": BOB.email, "GROUP": TEAM}[way]
            granted = PermissionRequest(grantee_type=GranteeType(way), email_address=address, role=Role(role))
            workshop.sharing.create(owner, found.id, granted)
        return Target(found.id, number, model, job["tunedModel"]["endpoint"].rpartition("/")[2])


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    directory = tmp_path_factory.mktemp("vertex-world")
    database = Database.open(f"sqlite:///{directory / 'tuningfork.db'}")
    clock = Clock()
    executor = InMemoryExecutor(clock)
    workshop = build_workshop(database, Artifacts(directory / "artifacts"), clock, executor)
    (directory / "bucket").mkdir()
    tunings = tunings_over(workshop, directory / "bucket")
    tunings.write()
    dialect = vertex(VertexUseCases(jobs=tunings.jobs, serving=serving_of(workshop)), GoogleForm(VERTEX_ERRORS))
    caller = caller_of(workshop, further=(dialect,))
    Groups(database, clock).add(TEAM, [BOB.email])
    yield World(caller=caller, tunings=tunings, shown=credentials_of(caller))
    tunings.preparer.close()
    workshop.dispatcher.close()
    executor.close()
    database.close()


def credentials_of(caller):
    """Every credential that Bob could show. Tokens are of his key that is bound to no project."""

    def key(project):
        return {"x-goog-api-key": caller.workshop.access.create_key("a key", BOB.email, project).key}

    def token(key, scope, lifetime="43200s"):
        asked = {"scopes": [scope], "lifetime": lifetime}
        answer = caller.call("POST", "/tuningfork/v1/accessTokens", asked, headers=key, key="")
        return {"authorization": f"Bearer {answer.json()['accessToken']}"}

    free = key("local")
    expired = token(free, "cloud-platform", "60s")
    caller.workshop.clock.advance(seconds=100)
    good = token(free, "cloud-platform")
    return {
        "nothing": {},
        "bad key": {"x-goog-api-key": "tf_nonsense"},
        "bad token": {"authorization": good["authorization"][:-6] + "AAAAAA"},
        "expired token": expired,
        "token of another scope": token(free, "generative-language"),
        "token": good,
        "key of any project": free,
        "key of the project": key(PROJECT),
        "key of another project": key("78"),
    }


@pytest.mark.slow
@pytest.mark.parametrize("label", ROWS)
def test_what_a_role_allows(world, label):
    happened, wanted = {}, {}
    for relation, credential in ASKED:
        answer = world.ask(label, relation, credential)

        happened[relation, credential] = answer.status_code
        wanted[relation, credential] = ROWS[label][RELATIONS[relation]]
        if answer.status_code == 200 and label in SPENT:
            world.spend(relation)
    assert happened == wanted


@pytest.mark.slow
@pytest.mark.parametrize("label", ROWS)
def test_a_credential_that_is_not_good_for_the_project_is_refused_before_anything_is_looked_for(world, label):
    answers = {credential: world.ask(label, "OWNER by USER", credential) for credential in BAD}

    assert {credential: answer.status_code for credential, answer in answers.items()} == BAD
    denied = answers["key of another project"].json()["error"]["details"][0]
    assert denied["reason"] == "IAM_PERMISSION_DENIED"
    assert PARENT[1:] in denied["metadata"]["resource"]
    named = answers["token of another scope"].json()["error"]["details"][0]
    assert named["reason"] == "ACCESS_TOKEN_SCOPE_INSUFFICIENT"


@pytest.mark.slow
@pytest.mark.parametrize(
    "elsewhere", [f"/projects/{PROJECT}/locations/europe-west4", f"/projects/78/locations/{LOCATION}"]
)
@pytest.mark.parametrize("label", ROWS)
def test_what_belongs_to_one_project_and_location_is_nowhere_else(world, label, elsewhere):
    answer = world.ask(label, "OWNER by USER", "key of any project", elsewhere)

    if ROWS[label]["-"] == 404:
        # A job that goes on from a model names its source whole.
        wanted = ROWS[label]["O"] if label == "CreateTuningJob on a tuned model" else 404
        assert answer.status_code == wanted
    else:
        assert answer.status_code == ROWS[label]["O"]
    target = world.target("OWNER by USER")
    # A job of that place that goes on from the model may name it as its source.
    own = {
        "ListTuningJobs": f"/tuningJobs/{target.job}",
        "ListModels": f"/models/{target.model}",
        "ListEndpoints": f"/endpoints/{target.endpoint}",
        "ListContexts": f"tuning-experiment-{target.job}",
    }
    assert label not in own or own[label] not in answer.text


@pytest.mark.slow
@pytest.mark.parametrize("label", BARE)
def test_without_a_project_in_the_path_it_is_that_of_the_key(world, label):
    good = world.ask(label, "OWNER by USER", "key of the project", "").status_code
    others = world.ask(label, "OWNER by USER", "key of another project", "").status_code

    named = ROWS[label]["-"] == 404 and label != "CreateTuningJob on a tuned model"
    wanted = 403 if label == "CreateTuningJob on a tuned model" else 404 if named else ROWS[label]["O"]
    assert (good, others) == (ROWS[label]["O"], wanted)


def test_lists_have_what_one_has_a_role_on_and_nothing_else(world):
    targets = {relation: world.target(relation) for relation in RELATIONS}
    jobs = world.list_whole("/tuningJobs", "key of the project")
    models = world.list_whole("/models", "key of the project")
    endpoints = world.list_whole("/endpoints", "key of the project")

    wanted = {relation: relation != "a stranger" for relation in RELATIONS}
    assert {relation: f"/tuningJobs/{each.job}" in jobs for relation, each in targets.items()} == wanted
    assert {relation: f"/models/{each.model}" in models for relation, each in targets.items()} == wanted
    assert {relation: f"/endpoints/{each.endpoint}" in endpoints for relation, each in targets.items()} == wanted


def test_every_method_is_in_the_grid(world):
    named = {method.full_name.rpartition(".")[2] for method in (*VertexMethod, *ServingMethod)}

    assert {re.split(r"[ ,]", label)[0] for label in ROWS} == named
    assert ROWS.keys() == requests(world.target("OWNER by USER")).keys()


def test_every_route_is_asked(world):
    """The routes of one version; the other one's are made by the same loop."""
    asked = [(verb, path.partition("?")[0]) for verb, path, _ in requests(world.target("OWNER by USER")).values()]
    whole = {(verb, f"/v1beta1{parent}{path}") for verb, path in asked for parent in (PARENT, "")}
    unasked = [
        f"{verb} {route.path}"
        for route in world.caller.app.routes
        if isinstance(route, Route) and route.path.startswith("/v1beta1/")
        for verb in route.methods - {"HEAD", "OPTIONS"}
        if not any(verb == each and route.path_regex.match(path) for each, path in whole)
    ]
    assert unasked == []
