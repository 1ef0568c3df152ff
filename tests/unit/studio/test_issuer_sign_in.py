"""The way to an issuer and back: what the browser has to bring, and what is refused."""

import re
from urllib.parse import parse_qs, urlsplit

import pytest
from starlette.testclient import TestClient

import issuer
from studio_stand_in import KEY, StandInApi
from tuningfork.studio.app import studio_app
from tuningfork.studio.frame.openid import Hop, IssuerClient, OpenIdSignIn

ORIGIN = "http://testserver"
THERE, BACK = "/studio/sign-in/issuer", "/studio/sign-in/callback"


@pytest.fixture(scope="module")
def running():
    with issuer.running() as found:
        yield found


@pytest.fixture
def trusted(running):
    """The issuer as it usually is, after what a test before has changed."""
    yield running
    running.refusal, running.claims = "", {}


class TakesTokens(StandInApi):
    """A stand-in that begins a session for any token of three parts, and keeps the last one."""

    token = ""

    def _new_session(self, key):
        self.token = key
        return super()._new_session(KEY if key.count(".") == 2 else key)


@pytest.fixture
def api():
    return TakesTokens()


@pytest.fixture
def browser(api, trusted):
    client = IssuerClient(issuer=trusted.url, client_id=issuer.CLIENT_ID, secret=issuer.CLIENT_SECRET)
    app = studio_app("http://api", transport=api, openid=OpenIdSignIn(client))
    return TestClient(app, base_url=ORIGIN, follow_redirects=False, headers={"accept-language": "en"})


def come_back(browser, trusted, next_path="/studio/models/roman", **changes):
    """Go to the issuer and back; `changes` are put in place of what it sends."""
    there = browser.get(f"{THERE}?next={next_path}").headers["location"]
    query = parse_qs(urlsplit(trusted.authorize(urlsplit(there).query)).query)
    return browser.get(BACK, params={**{name: values[0] for name, values in query.items()}, **changes})


def test_the_form_offers_the_issuer_and_the_key(browser):
    page = browser.get("/studio/sign-in?next=/studio/create").text

    assert "Sign in with 127.0.0.1" in page
    assert 'href="/studio/sign-in/issuer?next=/studio/create"' in page
    assert 'name="key"' in page


def test_who_comes_back_has_a_session_and_is_where_they_wanted_to_be(browser, api, trusted):
    answer = come_back(browser, trusted)

    assert (answer.status_code, answer.headers["location"]) == (303, "/studio/models/roman")
    assert api.sessions == {"tfs_0"}
    session, hop = sorted(answer.headers.get_list("set-cookie"), key=lambda each: "hop" in each)
    assert session.startswith("tuningfork_session_80=tfs_0;")
    assert "Max-Age=0" in hop
    assert api.token not in answer.headers["location"] + session + hop


def test_each_way_has_its_own_state_nonce_and_challenge(browser):
    asked = [parse_qs(urlsplit(browser.get(THERE).headers["location"]).query) for _ in range(2)]

    for name in ("state", "nonce", "code_challenge"):
        assert len({each[name][0] for each in asked}) == 2
        assert len(asked[0][name][0]) >= 43
    assert asked[0]["redirect_uri"] == [f"{ORIGIN}{BACK}"]
    assert "code_verifier" not in asked[0]


@pytest.mark.parametrize("state", ["", "another", "é"])
def test_an_answer_to_another_question_begins_no_session(browser, api, trusted, state):
    answer = come_back(browser, trusted, state=state)

    assert answer.status_code == 400
    assert "Begin it again" in answer.text
    assert api.sessions == set()


def test_a_browser_that_was_not_sent_there_begins_no_session(browser, api, trusted):
    there = browser.get(THERE).headers["location"]
    back = trusted.authorize(urlsplit(there).query)
    browser.cookies.clear()

    assert browser.get(back).status_code == 400
    assert api.sessions == set()


def test_the_same_way_back_is_good_once(browser, api, trusted):
    there = browser.get(THERE).headers["location"]
    back = trusted.authorize(urlsplit(there).query)

    assert [browser.get(back).status_code, browser.get(back).status_code] == [303, 400]
    assert len(api.sessions) == 1


@pytest.mark.parametrize("nonce", ["another", None])
def test_a_token_for_another_sign_in_begins_no_session(browser, api, trusted, nonce):
    trusted.claims = {"nonce": nonce}

    answer = come_back(browser, trusted)

    assert answer.status_code == 502
    assert "is for another sign-in" in answer.text
    assert api.sessions == set()


def test_whom_the_issuer_refuses_is_told_in_its_word_and_not_in_anybody_elses(browser, trusted):
    trusted.refusal = "access_denied"
    refused = come_back(browser, trusted)
    forged = come_back(browser, trusted, error="Call 555 <b>now</b>")

    assert refused.status_code == 403
    assert "did not let you in: access_denied" in refused.text
    assert "555" not in forged.text


def test_what_the_server_does_not_accept_is_told(browser, api, trusted, monkeypatch):
    monkeypatch.setattr(api, "_new_session", lambda key: StandInApi._new_session(api, key))

    answer = come_back(browser, trusted)

    assert answer.status_code == 403
    assert "this server did not. It says: API key not valid." in answer.text.replace("&#39;", "'")


def test_an_issuer_that_is_away_is_told_and_keys_work_still(browser, trusted):
    trusted.status = 503
    answer = browser.get(THERE)
    trusted.status = 200

    assert answer.status_code == 502
    assert "did not answer as it should" in answer.text
    signed_in = browser.post("/studio/sign-in", data={"key": "a.b.c"}, headers={"origin": ORIGIN})
    assert signed_in.status_code == 303


def test_a_foreign_address_to_go_on_to_is_not_followed(browser, trusted):
    assert come_back(browser, trusted, next_path="https://evil.example/").headers["location"] == "/studio/library"


@pytest.mark.parametrize("endpoint", ["http://login.example/authorize", "javascript:alert(1)", None, 7])
def test_an_address_that_is_not_safe_is_not_gone_to(browser, trusted, monkeypatch, endpoint):
    configuration = {**trusted.documents[issuer.CONFIGURATION], "authorization_endpoint": endpoint}
    monkeypatch.setitem(trusted.documents, issuer.CONFIGURATION, configuration)

    assert browser.get(THERE).status_code == 502


def test_a_configuration_of_another_issuer_is_not_used(browser, trusted, monkeypatch):
    configuration = {**trusted.documents[issuer.CONFIGURATION], "issuer": "https://evil.example"}
    monkeypatch.setitem(trusted.documents, issuer.CONFIGURATION, configuration)

    assert "that of another issuer" in browser.get(THERE).text


def test_without_an_issuer_there_is_no_way_there(visit, api):
    assert visit(api, signed_in=False).get(THERE).status_code == 404
    assert "Sign in with" not in visit(api, signed_in=False).get("/studio/sign-in").text


@pytest.mark.parametrize(
    "written", ["", "zz", "7b7d", "5b5d", b'{"state":1,"nonce":2,"verifier":3,"next_path":4}'.hex()]
)
def test_a_cookie_that_is_not_ours_is_none(written):
    assert Hop.read(written) is None


def test_no_secret_is_written_where_things_are_printed():
    hop = Hop.begin("/studio/library")

    assert hop.verifier not in repr(hop)
    assert not re.search("secret=", repr(IssuerClient(issuer="https://a", client_id="b", secret="c")))
