"""Who opens the server's address learns what it is; the document of the API can be read without the internet."""

import re
from html.parser import HTMLParser

import pytest

import tuningfork

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


class Page(HTMLParser):
    """What a page links to, loads, and the ids in it."""

    def __init__(self, text):
        super().__init__()
        self.links, self.loaded, self.ids, self.open = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        named = dict(attrs)
        self.links += [named["href"]] if tag == "a" else []
        self.loaded += [value for name, value in attrs if name == "src" or (name == "href" and tag != "a")]
        self.loaded += [tag] if tag == "script" else []
        self.ids += [named["id"]] if "id" in named else []
        self.open += [] if tag == "meta" else [tag]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_programs_learn_in_json_what_the_server_is(caller):
    answer = caller.get("/", key="")

    assert answer.headers["content-type"].startswith("application/json")
    assert answer.json()["name"] == "Tuningfork"
    assert answer.json()["version"] == tuningfork.__version__
    assert {"/docs", "/openapi.json", "/healthz"} <= answer.json()["links"].keys()
    assert "accept" in answer.headers["vary"].lower()


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        (BROWSER, "text/html"),
        ("text/html", "text/html"),
        ("TEXT/HTML;q=0.9", "text/html"),
        ("application/json", "application/json"),
        ("application/json, text/html", "application/json"),
        ("*/*", "application/json"),
        ("", "application/json"),
    ],
)
def test_browsers_get_a_page_and_programs_json(caller, accept, kind):
    answer = caller.get("/", key="", headers={"accept": accept})

    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith(kind)


def test_every_link_of_the_front_page_leads_somewhere(caller):
    page = Page(caller.get("/", key="", headers={"accept": BROWSER}).text)

    assert page.links
    # Relative, so that they work below a path of a proxy.
    assert [link for link in page.links if link.startswith(("/", "http"))] == []
    assert {caller.get(f"/{link}", key="").status_code for link in page.links} == {200}


def test_the_front_page_tells_nothing_of_the_servers_data(caller):
    name = caller.create_active()

    for accept in (BROWSER, "*/*"):
        text = caller.get("/", key="", headers={"accept": accept}).text
        assert caller.key not in text
        assert name not in text


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_pages_load_nothing_and_run_nothing(caller, path):
    answer = caller.get(path, key="", headers={"accept": BROWSER})
    page = Page(answer.text)

    assert page.loaded == []
    assert page.open == []
    assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_the_page_of_the_api_has_every_method_and_message(caller):
    document = caller.get("/openapi.json", key="").json()
    page = Page(text := caller.get("/docs", key="").text)
    ids = {each["operationId"] for verbs in document["paths"].values() for each in verbs.values()}

    assert ids | document["components"]["schemas"].keys() == set(page.ids)
    assert {link[1:] for link in page.links if link.startswith("#")} <= set(page.ids)
    assert re.search(r"POST</span> /v1beta/tunedModels</code>", text)


def test_a_slash_more_changes_nothing(caller):
    assert caller.get("http://testserver//", key="").json() == caller.get("/", key="").json()
    assert caller.get("/docs/", key="").status_code == 200


@pytest.mark.parametrize("verb", ["GET", "POST"])
def test_a_client_that_lost_its_project_and_location_is_told_what_to_change(caller, verb):
    sender = {"user-agent": "google-genai-sdk/3.6.1 gl-python/3.11.7"}

    answer = caller.call(verb, "/", {"baseModel": "x"} if verb == "POST" else None, key="", headers=sender)

    assert (answer.status_code, answer.json()["error"]["status"]) == (400, "INVALID_ARGUMENT")
    assert answer.json()["error"]["message"] == (
        "your client sent no project and location: pass project= and location= to genai.Client"
    )


def test_nothing_is_posted_to_the_front(caller):
    answer = caller.post("/", {}, key="")

    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")
    assert answer.json()["error"]["message"] == "POST is not served at /; use GET or HEAD."
