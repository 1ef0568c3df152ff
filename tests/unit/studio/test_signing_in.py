"""Signing in exchanges a key for a session, and nothing else of the key is left anywhere."""

import pytest

from studio_stand_in import KEY, OWN, StandInApi


def test_a_right_key_gives_a_session_that_scripts_cannot_read_and_leads_to_the_library(visit, api):
    browser = visit(api, signed_in=False)

    answer = browser.post("/studio/sign-in", data={"key": f"  {KEY} "})

    assert (answer.status_code, answer.headers["location"]) == (303, "/studio/library")
    (cookie,) = answer.headers.get_list("set-cookie")
    name, _, rest = cookie.partition("=")
    assert name == "tuningfork_session_80"
    assert rest.startswith("tfs_0;")
    assert {"HttpOnly", "Path=/studio", "SameSite=lax"} <= set(rest.split("; "))
    assert browser.get("/studio/library").status_code == 200


def test_the_key_is_in_no_page_no_cookie_and_no_address(visit, api):
    browser = visit(api, signed_in=False)

    entered = browser.post("/studio/sign-in", data={"key": KEY})
    pages = [browser.get(path).text for path in ("/studio/library", "/studio/models/roman", "/studio/sign-in")]

    assert not [text for text in [*pages, str(entered.headers)] if KEY in text]


def test_a_session_is_made_anew_at_each_sign_in_and_the_old_one_ends(visit, api):
    browser = visit(api, signed_in=False)
    browser.post("/studio/sign-in", data={"key": KEY})

    browser.post("/studio/sign-in", data={"key": KEY})

    assert api.sessions == {"tfs_1"}
    assert ("DELETE", f"{OWN}/sessions/current") in api.calls("DELETE")


@pytest.mark.parametrize(
    ("key", "said"),
    [("tf_wrong", "not known"), ("", "Paste your API key"), ("schlüssel", "not known"), ("two words", "not known")],
)
def test_a_wrong_key_is_told_at_the_field_which_has_the_focus(visit, api, key, said):
    answer = visit(api, signed_in=False).post("/studio/sign-in", data={"key": key})

    assert answer.status_code == 400
    assert said in answer.text
    assert 'aria-invalid="true"' in answer.text
    assert "autofocus" in answer.text
    assert "set-cookie" not in answer.headers
    assert key not in answer.text or not key


def test_after_five_wrong_keys_an_address_waits_half_a_minute_even_with_the_right_one(visit, api, clock):
    browser = visit(api, signed_in=False)

    tries = [browser.post("/studio/sign-in", data={"key": "tf_wrong"}).status_code for _ in range(5)]
    paused = browser.post("/studio/sign-in", data={"key": KEY})
    clock.seconds = 30
    later = browser.post("/studio/sign-in", data={"key": KEY})

    assert tries == [400] * 5
    assert (paused.status_code, paused.headers["retry-after"]) == (429, "30")
    assert "Wait 30 seconds" in paused.text
    assert later.status_code == 303


def test_the_server_is_told_from_where_a_key_comes_so_that_one_visitors_wrong_keys_stop_nobody_else(visit, api):
    browser = visit(api, signed_in=False)

    browser.post("/studio/sign-in", data={"key": "tf_wrong"})
    browser.post("/studio/sign-in", data={"key": KEY})
    browser.get("/studio/library")
    browser.get("/studio/api/tuningfork/v1/caller")

    assert {request.headers.get("x-forwarded-for") for *_, request in api.requests} == {"testclient"}


@pytest.mark.parametrize("path", ["/studio/library", "/studio/models/roman", "/studio/models/roman/losses.csv"])
def test_who_is_not_signed_in_is_asked_to_and_comes_back_afterwards(visit, api, path):
    browser = visit(api, signed_in=False)

    asked = browser.get(path)
    entered = browser.post("/studio/sign-in", data={"key": KEY, "next": path})

    assert (asked.status_code, asked.headers["location"].partition("?")[0]) == (303, "/studio/sign-in")
    assert entered.headers["location"] == path


@pytest.mark.parametrize(
    "next_path", ["https://evil.example/", "//evil.example", "/studio/\\evil.example", "/elsewhere", "/studio/\nx"]
)
def test_signing_in_leads_nowhere_but_to_the_studio(visit, api, next_path):
    answer = visit(api, signed_in=False).post("/studio/sign-in", data={"key": KEY, "next": next_path})

    assert answer.headers["location"] == "/studio/library"


def test_signing_out_ends_the_session_for_every_tab(visit, api):
    browser = visit(api)

    left = browser.post("/studio/sign-out")
    part = browser.get("/studio/library", headers={"studio-fragment": "models"})

    assert left.headers["location"] == "/studio/sign-in?out=1"
    assert api.sessions == set()
    # An open page keeps what it shows, and is told.
    assert part.status_code == 401


def test_a_session_that_was_revoked_leads_to_the_form_which_says_so(visit, api):
    browser = visit(api)
    api.sessions.clear()

    asked = browser.get("/studio/library")

    assert asked.headers["location"] == "/studio/sign-in?next=%2Fstudio%2Flibrary&out=1"
    assert "You are signed out" in browser.get(asked.headers["location"]).text


def test_a_server_that_asks_nobody_for_a_key_shows_its_pages_at_once(visit):
    browser = visit(StandInApi(open_server=True), signed_in=False)

    page = browser.get("/studio/library")

    assert page.status_code == 200
    assert "/studio/sign-out" not in page.text


def test_a_cookie_that_can_be_no_credential_counts_as_none(visit, api):
    browser = visit(api, signed_in=False)

    answer = browser.get("/studio/library", headers={"cookie": b"tuningfork_session_80=\xe4\xf6"})

    assert answer.status_code == 303
    assert "authorization" not in api.requests[-1][3].headers
