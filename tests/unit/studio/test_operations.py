"""The page of operations shows what the API tells whoever asks, and makes and ends keys, sessions and jobs."""

from datetime import UTC, datetime

import pytest

from studio_stand_in import KEY, OWN, TRAINING
from tuningfork.studio.texts.catalog import LANGUAGES, Texts
from tuningfork.studio.view.operations import bars_of, browser_of, kept_of

WAITING = {"tunedModel": "tunedModels/next", "displayName": "Next", "state": "QUEUED", "queue": {"position": 2}}
OF_ALL = {"jobs": [{**TRAINING, "owner": "ada@example.com", "mayCancel": True}, WAITING], "totalSize": 2}
ENGINES = {
    "trainer": {
        "jobs": [{"tunedModel": "tunedModels/tone"}],
        "speeds": [{"baseModel": "models/x", "tokensPerSecond": 138.5}],
    },
    "generator": {
        "adapters": [{"tunedModel": "tunedModels/tone", "sizeBytes": 2e6, "pinned": True}, {"sizeBytes": 1.0}],
        "adapterBytes": 2e6,
        "outputTokens": 41_000.0,
    },
    "processes": [{"role": "trainer", "residentBytes": 6.6e8}],
    "errors": [
        {
            "status": 404,
            "endpoint": "job",
            "count": 3,
            "lastTime": "2026-12-01T00:00:00Z",
            "lastRequestId": "abc123",
        }
    ],
    "minutes": [{"time": "2026-12-01T00:00:00Z", "answers": 7.0, "outputTokens": 1000.0}],
    "disk": {"kept": [{"kind": "adapters", "sizeBytes": 3e6}, {"kind": "work", "sizeBytes": 0.0}], "freeBytes": 9e9},
}
KEYS = [
    {"name": "keys/one", "displayName": "nightly", "email": "ada@example.com", "prefix": "tf_abcde", "project": "7"},
    {"name": "keys/old", "displayName": "old", "email": "me@localhost", "revokeTime": "2026-12-01T00:00:00Z"},
]
SESSIONS = [{"name": "sessions/s1", "email": "me@localhost", "createTime": "2026-12-01T00:00:00Z", "current": True}]


@pytest.fixture
def operated(api):
    """The API as an operator sees it."""
    api.answers = {
        ("GET", "queue"): {**OF_ALL, "everybodys": True},
        ("GET", "engines"): ENGINES,
        ("GET", "keys"): {"keys": KEYS},
        ("GET", "sessions"): {"sessions": SESSIONS},
        ("GET", "caller"): {"email": "me@localhost", "operator": True},
    }
    return api


def test_an_operator_sees_jobs_engines_work_errors_keys_and_sessions(visit, operated):
    page = visit(operated).get("/studio/operations").text

    assert page.index(">Tone</a>") < page.index(">Next</a>")
    assert "Step 8 of 19, epoch 3 of 5." in page
    assert "Queued, place 2" in page
    assert "ada@example.com" in page
    assert "138 tokens/s" in page
    assert "abc123" in page
    assert "tf_abcde…" in page
    assert "this browser" in page
    assert "3 MB" in page
    # What may not be stopped has no button.
    assert page.count("/cancel") == 1


def test_the_part_that_follows_the_server_is_the_same_as_on_the_page(visit, operated):
    part = visit(operated).get("/studio/operations", headers={"studio-fragment": "operations"})

    assert part.status_code == 200
    assert "660 MB" in part.text
    assert "abc123" in part.text
    assert part.headers["studio-every"] == "5000"


def test_everybody_else_sees_their_own_part_and_asks_for_no_more(visit, operated):
    operated.answers["GET", "queue"] = {"jobs": [], "totalSize": 0}

    page = visit(operated).get("/studio/operations").text

    assert "You see your own jobs" in page
    assert "No job waits or is at work." in page
    assert "Errors" not in page
    assert ("GET", f"{OWN}/engines") not in operated.calls("GET")
    assert [
        request.url.params.get("everybodys") for _, path, _, request in operated.requests if "sessions" in path
    ] == [None]


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_page_is_whole_in_every_language(visit, operated, language):
    assert visit(operated, language=language).get("/studio/operations").status_code == 200


def test_a_job_is_cancelled_for_whoever_may(visit, operated):
    operated.answers["POST", "queue/tone:cancel"] = {}
    browser = visit(operated)

    told = browser.get(browser.post("/studio/operations/jobs/tone/cancel").headers["location"]).text

    assert ("POST", f"{OWN}/queue/tone:cancel") in operated.calls("POST")
    assert "The job is being stopped." in told


def test_a_new_key_is_made_with_a_key_and_shown_on_this_page_alone(visit, operated):
    operated.answers["POST", "keys"] = {"name": "keys/new", "displayName": "ci", "key": "tf_secret-of-the-new-key"}
    browser = visit(operated)
    operated.sessions.add(KEY)
    fields = {"name": "ci", "email": "bob@example.com", "project": "", "key": f" {KEY} "}

    form = browser.get("/studio/operations/keys/new").text
    made = browser.post("/studio/operations/keys/new", data=fields)

    assert "Belongs to" in form
    assert "tf_secret-of-the-new-key" in made.text
    assert made.headers["cache-control"] == "no-store"
    assert operated.body("POST", f"{OWN}/keys") == {"displayName": "ci", "email": "bob@example.com"}
    [sent] = [request for verb, path, _, request in operated.requests if (verb, path) == ("POST", f"{OWN}/keys")]
    assert sent.headers["authorization"] == f"Bearer {KEY}"
    assert "tf_secret" not in browser.get("/studio/operations").text
    assert "tf_secret" not in str(browser.cookies)


@pytest.mark.parametrize(("key", "said"), [("", "Paste your API key here."), ("ключ", "This key is not known.")])
def test_without_a_key_none_is_made_and_what_was_typed_stays(visit, operated, key, said):
    answer = visit(operated).post("/studio/operations/keys/new", data={"name": "for <ci>", "key": key})

    assert answer.status_code == 400
    assert said in answer.text
    assert "for &lt;ci&gt;" in answer.text
    assert ("POST", f"{OWN}/keys") not in operated.calls("POST")


def test_a_wrong_key_is_said_at_its_field(visit, operated):
    answer = visit(operated).post("/studio/operations/keys/new", data={"name": "ci", "key": "tf_wrong"})

    assert answer.status_code == 400
    assert 'id="key-error"' in answer.text
    assert "tf_wrong" not in answer.text


def test_who_runs_no_server_makes_keys_for_themselves(visit, operated):
    operated.answers["GET", "caller"] = {"email": "ada@example.com"}
    form = visit(operated).get("/studio/operations/keys/new").text
    assert 'name="email"' not in form
    assert 'name="key"' in form


def test_a_key_is_revoked_when_its_name_was_typed_and_not_before(visit, operated):
    operated.answers["POST", "keys/one:revoke"] = KEYS[0]
    browser = visit(operated)

    refused = browser.post("/studio/operations/keys/one/revoke", data={"typed": "Nightly"})
    before = operated.calls("POST")
    done = browser.post("/studio/operations/keys/one/revoke", data={"typed": " nightly "})

    assert (refused.status_code, done.status_code) == (400, 303)
    assert "This is not its name. Type: nightly" in refused.text
    assert ("POST", f"{OWN}/keys/one:revoke") not in before
    assert ("POST", f"{OWN}/keys/one:revoke") in operated.calls("POST")
    assert browser.get("/studio/operations/keys/none/revoke").status_code == 404


def test_a_session_is_ended(visit, operated):
    operated.answers["DELETE", "sessions/s1"] = {}
    assert visit(operated).post("/studio/operations/sessions/s1/end").status_code == 303
    assert ("DELETE", f"{OWN}/sessions/s1") in operated.calls("DELETE")


def test_the_chip_counts_what_is_at_work_and_is_empty_otherwise(visit, api):
    browser = visit(api)

    part = browser.get("/studio/at-work", headers={"studio-fragment": "at_work"})
    api.models.clear()
    later = browser.get("/studio/at-work", headers={"studio-fragment": "at_work"})

    assert 'aria-label="1 job at work"' in part.text
    assert "Tone" in part.text
    assert part.headers["studio-every"] == "5000"
    assert later.text.strip() == ""
    assert later.headers["studio-every"] == "30000"


def test_bars_are_shares_of_the_largest_minute_at_their_place():
    now = datetime(2026, 12, 1, 12, 30, 40, tzinfo=UTC)
    minutes = [
        {"time": "2026-12-01T12:00:00Z", "answers": 2.0},
        {"time": "2026-12-01T12:30:00Z", "answers": 4.0, "trainedTokens": 10.0},
        {"time": "2026-12-01T10:00:00Z", "answers": 99.0},
    ]

    answers, _, _, trained = bars_of(minutes, now)

    assert (answers.total, answers.heights[29], answers.heights[59]) == (6, 0.5, 1.0)
    assert sum(answers.heights) == 1.5
    assert trained.heights[59] == 1.0


def test_kinds_on_the_disk_are_the_largest_first_and_none_is_empty():
    kept = kept_of({"kept": [{"kind": "a", "sizeBytes": 1.0}, {"kind": "b", "sizeBytes": 3.0}, {"kind": "c"}]})
    assert [(each.kind, each.share) for each in kept] == [("b", 0.75), ("a", 0.25)]


@pytest.mark.parametrize(
    ("agent", "said"),
    [
        ("Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101 Firefox/140.0", "Firefox · Linux"),
        ("Mozilla/5.0 (Linux; Android 15) AppleWebKit/537 Chrome/150.0 Mobile Safari/537", "Chrome · Android"),
        ("Mozilla/5.0 (Macintosh; Intel Mac OS X 15_0) Version/18 Safari/605", "Safari · Mac OS X"),
        ("Mozilla/5.0 (Windows NT 10.0) Chrome/150 Safari/537 Edg/150", "Edge · Windows"),
        ("my script <b>", "my script <b>"),
        ("", ""),
    ],
)
def test_a_session_is_named_as_people_name_browsers(agent, said):
    assert browser_of(agent) == said


def test_every_kind_on_the_disk_has_a_word():
    from tuningfork.server.disk_use import _KINDS  # noqa: PLC0415 - the server's list, which the Studio must not import

    english = Texts("en")
    assert [
        kind for kind in (*_KINDS.values(), "other", "database") if not english.has(f"operations.disk.kind.{kind}")
    ] == []
