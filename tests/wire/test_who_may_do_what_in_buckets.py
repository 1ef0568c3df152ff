"""Every method of the API of buckets, asked by Ada about buckets of each relation to her, over HTTP.

The grid is the rule for callers whose credential is good: a row is a request, a column is the relation of the bucket
that it names to the caller, a cell is the status. A bucket that a caller may not read is answered like one that is not
there.

    O her own   K her own, of her key's project   P her own, of another project than her key's   S a stranger's
    H a directory that the operator has put there   N none of this name
    R shared by the operator for reading   W shared for writing too
"""

import re
from dataclasses import dataclass, replace

import jwt
import pytest
from starlette.routing import Route

from caller import Caller, caller_of
from fakes import Clock, InMemoryExecutor
from storage_caller import settings_below
from tuningfork.api.storage.form import STORAGE_FORM
from tuningfork.buckets.uploads import Upload
from tuningfork.dialect.storage.methods import StorageMethod
from tuningfork.dialect.storage.table import DOWNLOADS, RESOURCES, UPLOADS, storage
from tuningfork.service.storage.storing import Storing
from tuningfork.store.artifacts import Artifacts
from tuningfork.store.database import Database
from workshop import ADA, BOB, build_workshop

GRID = """
                                  O    K    P    S    H    N    R    W
buckets.insert                    409  409  409  409  409  200  409  409
buckets.list                      200  200  200  200  200  200  200  200
buckets.get                       200  200  404  404  404  404  200  200
buckets.delete                    409  409  404  404  404  404  403  403
objects.list                      200  200  404  404  404  404  200  200
objects.get                       200  200  404  404  404  404  200  200
objects.get, its bytes            200  200  404  404  404  404  200  200
objects.patch                     200  200  404  404  404  404  403  200
objects.patch, as PUT             200  200  404  404  404  404  403  200
objects.delete                    204  204  404  404  404  404  403  204
objects.copy from there           200  200  404  404  404  404  200  200
objects.copy to there             200  200  404  404  404  404  403  200
objects.rewrite from there        200  200  404  404  404  404  200  200
objects.rewrite to there          200  200  404  404  404  404  403  200
objects.insert, bytes alone       200  200  404  404  404  404  403  200
objects.insert, JSON and bytes    200  200  404  404  404  404  403  200
objects.insert, in pieces         200  200  404  404  404  404  403  200
objects.insert.continue           200  200  404  404  404  404  404  200
objects.insert.cancel             499  499  404  404  404  404  404  499
"""

BUCKETS = {
    "O": "own",
    "K": "of-the-project",
    "P": "of-another",
    "S": "a-strangers",
    "H": "by-hand",
    "N": "none-there",
    "R": "shared",
    "W": "open",
}
ANY_PROJECT = "local"
HIDDEN = ("P", "S", "H")
"""The relations in which Ada must not be told that there is such a bucket."""

BAD = {"nothing": 403, "bad key": 401, "bad token": 401, "expired token": 401}
"""After 401 Google's clients look for other credentials, and show an error of their own instead of ours."""
AUTH = "https://www.googleapis.com/auth/"
TOKENS = {
    f"{AUTH}cloud-platform": "changes",
    f"{AUTH}devstorage.full_control": "changes",
    f"{AUTH}devstorage.read_write": "changes",
    f"{AUTH}devstorage.read_only": "reads",
    f"{AUTH}cloud-platform.read-only": "reads",
    f"{AUTH}generative-language": "nothing",
}
"""What a token of this scope is good for."""
RELATED = b'--b\r\n\r\n{"name": "x"}\r\n--b\r\n\r\n1\r\n--b--\r\n'


def rows():
    head, *lines = GRID.strip("\n").splitlines()
    for line in lines:
        label, *cells = re.split(r"\s{2,}", line)
        yield label, dict(zip(head.split(), map(int, cells), strict=True))


ROWS = dict(rows())


@dataclass
class World:
    """Ada's calls, and buckets of every relation to her, each with an object `x`."""

    caller: Caller
    storing: Storing
    root: object
    shown: dict[str, dict[str, str]]

    def ask(self, label, relation, credential, *, prefixes=(RESOURCES[0], UPLOADS[0], DOWNLOADS[0])):
        self._lay_out(relation)
        verb, path, body, headers = self.request(label, relation, prefixes)
        return self.caller.call(verb, path, body, headers={**self.shown[credential], **headers}, key="")

    def request(self, label, relation, prefixes):
        """Verb, path, body and further headers."""
        resources, uploads, downloads = prefixes
        bucket = BUCKETS[relation]
        there, own = f"{resources}/{bucket}/o/x", f"{resources}/own/o/x"
        upload = f"{uploads}/{bucket}/o"
        copied = "{}/{}/b/{}/o/y"
        fixed = {
            "buckets.insert": ("POST", resources, {"name": bucket}),
            "buckets.list": ("GET", resources, None),
            "buckets.get": ("GET", f"{resources}/{bucket}", None),
            "buckets.delete": ("DELETE", f"{resources}/{bucket}", None),
            "objects.list": ("GET", f"{resources}/{bucket}/o", None),
            "objects.get": ("GET", there, None),
            "objects.get, its bytes": ("GET", f"{downloads}/{bucket}/o/x?alt=media", None),
            "objects.patch": ("PATCH", there, {"contentType": "a/b"}),
            "objects.patch, as PUT": ("PUT", there, {"contentType": "a/b"}),
            "objects.delete": ("DELETE", there, None),
            "objects.copy from there": ("POST", copied.format(there, "copyTo", "own"), {}),
            "objects.copy to there": ("POST", copied.format(own, "copyTo", bucket), {}),
            "objects.rewrite from there": ("POST", copied.format(there, "rewriteTo", "own"), {}),
            "objects.rewrite to there": ("POST", copied.format(own, "rewriteTo", bucket), {}),
            "objects.insert, bytes alone": ("POST", f"{upload}?uploadType=media&name=x", b"1"),
            "objects.insert, in pieces": ("POST", f"{upload}?uploadType=resumable&name=x", {}),
        }
        if label in fixed:
            return *fixed[label], {}
        if label == "objects.insert, JSON and bytes":
            named = {"content-type": "multipart/related; boundary=b"}
            return "POST", f"{upload}?uploadType=multipart", RELATED, named
        begun = f"{upload}?uploadType=resumable&upload_id={self._begun(relation)}"
        if label == "objects.insert.continue":
            return "PUT", begun, b"1", {"content-range": "bytes 0-0/1"}
        return "DELETE", begun, None, {}

    def _begun(self, relation):
        """An upload that the owner of the bucket has begun; to a bucket that takes none, one that is not there."""
        owner = _owner(relation)
        if owner is None or relation in "RN":
            return "none"
        bucket = BUCKETS[relation]
        return self.storing.begin(owner, Upload(bucket=bucket, key="x", owner=owner.email))

    def _lay_out(self, relation):
        """Put the object there again, and remove a bucket that an earlier request has made."""
        directory = self.root / BUCKETS[relation] if relation in "RW" else self.root / "buckets" / BUCKETS[relation]
        if relation == "N":
            if directory.exists():
                self.storing.delete_bucket(_owner("O"), BUCKETS[relation])
            return
        (directory / "x").write_bytes(b"1")
        (self.root / "buckets" / "own" / "x").write_bytes(b"1")


def _owner(relation):
    """Whose bucket it is. None: nobody's who has a key."""
    anybody = replace(ADA, project=ANY_PROJECT)
    return {"O": anybody, "K": ADA, "P": replace(ADA, project="q"), "S": BOB, "W": anybody}.get(relation)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    directory = tmp_path_factory.mktemp("storage-world")
    database = Database.open(f"sqlite:///{directory / 'tuningfork.db'}")
    clock = Clock()
    executor = InMemoryExecutor(clock)
    workshop = build_workshop(database, Artifacts(directory / "artifacts"), clock, executor)
    storing = Storing(settings_below(directory), clock)
    caller = caller_of(workshop, further=storage(storing, STORAGE_FORM))
    for relation in "OKPS":
        storing.create_bucket(_owner(relation), BUCKETS[relation], "")
    (directory / "buckets" / "by-hand").mkdir()
    yield World(caller=caller, storing=storing, root=directory, shown=credentials_of(caller))
    workshop.dispatcher.close()
    executor.close()
    database.close()


def credentials_of(caller):
    """Every credential that Ada could show. `caller.key` is of her project."""

    def token(lifetime="43200s"):
        answer = caller.post("/tuningfork/v1/accessTokens", {"scopes": ["cloud-platform"], "lifetime": lifetime})
        return answer.json()["accessToken"]

    def of_scope(scope):
        # This server need not grant a scope of storage alone; issuers outside do.
        claims = jwt.decode(good, options={"verify_signature": False})
        tokens = caller.services.gate.identity.tokens
        key = tokens._signing_key()  # Why: a token with another scope, signed as this server signs
        return jwt.encode({**claims, "scope": scope}, key.secret, "HS256", headers={"kid": key.id})

    expired = token("60s")
    caller.workshop.clock.advance(seconds=100)
    good = token()
    of_any_project = caller.workshop.access.create_key("of any project", ADA.email, ANY_PROJECT).key
    return {
        "nothing": {},
        "bad key": {"x-goog-api-key": "tf_nonsense"},
        "bad token": {"authorization": f"Bearer {good[:-6]}AAAAAA"},
        "expired token": {"authorization": f"Bearer {expired}"},
        "key": {"x-goog-api-key": caller.key},
        "key of any project": {"x-goog-api-key": of_any_project},
        **{scope: {"authorization": f"Bearer {of_scope(scope)}"} for scope in TOKENS},
    }


def all_prefixes():
    """Every address of every kind, each once at least."""
    kinds = (RESOURCES, UPLOADS, DOWNLOADS)
    return [tuple(each[number % len(each)] for each in kinds) for number in range(len(UPLOADS))]


@pytest.mark.slow
@pytest.mark.parametrize("prefixes", all_prefixes(), ids=lambda prefixes: prefixes[1])
@pytest.mark.parametrize("label", ROWS)
def test_what_a_bucket_allows(world, label, prefixes):
    happened = {each: world.ask(label, each, "key", prefixes=prefixes).status_code for each in BUCKETS}

    assert happened == ROWS[label]


@pytest.mark.parametrize("label", ROWS)
def test_a_key_of_no_project_has_all_of_its_holders_buckets(world, label):
    assert world.ask(label, "P", "key of any project").status_code == ROWS[label]["O"]


@pytest.mark.slow
@pytest.mark.parametrize("relation", HIDDEN)
@pytest.mark.parametrize("label", [label for label in ROWS if label not in ("buckets.insert", "buckets.list")])
def test_a_hidden_bucket_is_answered_like_one_that_is_not_there(world, label, relation):
    hidden, missing = (world.ask(label, each, "key") for each in (relation, "N"))

    def told(answer):
        return re.sub("|".join(BUCKETS.values()), "BUCKET", answer.text)

    assert told(hidden) == told(missing)


@pytest.mark.slow
@pytest.mark.parametrize("label", ROWS)
def test_a_credential_that_is_not_good_is_refused_before_anything_is_looked_for(world, label):
    for relation in ("O", "S", "N"):
        assert {each: world.ask(label, relation, each).status_code for each in BAD} == BAD


@pytest.mark.slow
@pytest.mark.parametrize("label", ROWS)
def test_a_scope_is_enough_to_read_or_to_change(world, label):
    reads = label in ("buckets.get", "buckets.list", "objects.list", "objects.get", "objects.get, its bytes")
    enough = {"changes": True, "reads": reads, "nothing": False}

    happened = {scope: world.ask(label, "O", scope).status_code for scope in TOKENS}
    assert happened == {scope: ROWS[label]["O"] if enough[what] else 403 for scope, what in TOKENS.items()}


def test_lists_have_what_one_may_read_and_nothing_else(world):
    def names(credential, project=""):
        path = f"{RESOURCES[0]}?project={project}"
        answer = world.caller.call("GET", path, headers=world.shown[credential], key="")
        assert answer.status_code == 200, answer.text
        return {each["name"] for each in answer.json().get("items", ())}

    shared = {"own", "open", "shared"}
    for relation in BUCKETS:
        world._lay_out(relation)
    assert names("key") == names("key", ADA.project) == {*shared, "of-the-project"}
    assert names("key of any project", "q") == {*shared, "of-another"}
    assert names("key of any project") == {*shared, "of-another", "of-the-project"}
    refused = world.caller.call("GET", f"{RESOURCES[0]}?project=q", headers=world.shown["key"], key="")
    assert refused.status_code == 403


def test_every_method_is_in_the_grid():
    assert {label.partition(",")[0].split()[0] for label in ROWS} == {
        method.full_name.removeprefix("storage.") for method in StorageMethod
    }


def test_every_route_is_asked(world):
    asked = {world.request(label, "N", prefixes)[:2] for label in ROWS for prefixes in all_prefixes()}
    own = (*RESOURCES, *UPLOADS, *DOWNLOADS)
    unasked = [
        f"{verb} {route.path}"
        for route in world.caller.app.routes
        if isinstance(route, Route) and route.path.startswith(own)
        for verb in route.methods - {"HEAD", "OPTIONS"}
        if not any(verb == each and route.path_regex.match(path.partition("?")[0]) for each, path in asked)
    ]
    assert unasked == []
