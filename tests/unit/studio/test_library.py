"""The library shows the API's models, in the order and with the filters that its address says."""

import re
from html.parser import HTMLParser

import pytest

from studio_stand_in import OWN, READY, StandInApi


def rows(page):
    return re.findall(r'<tr data-key="([^"]*)"', page)


def test_models_are_in_a_table_and_what_is_at_work_above_it(visit, api):
    page = visit(api).get("/studio/library").text

    assert rows(page) == ["roman"]
    assert '<li class="card job" data-key="tone">' in page
    assert "Step 8 of 19, epoch 3 of 5. About 12 seconds left." in page
    assert '<progress class="progress" value="0.4211" max="1"' in page
    assert ">0.213</span>" in page


def test_the_address_says_what_is_asked_of_the_api(visit, api):
    visit(api).get("/studio/library?search=roman&state=failed&base=models/smollm2&owner=me&order=loss+desc&page=3")

    asked = [dict(request.url.params) for _, path, _, request in api.requests if path == f"{OWN}/tunedModels"]
    assert {
        "search": "roman",
        "state": "FAILED",
        "base": "models/smollm2",
        "owner": "me",
        "orderBy": "loss desc",
        "pageSize": "50",
        "page": "3",
        "prettyPrint": "false",
    } in asked


def test_a_part_of_the_page_comes_alone_and_only_if_it_has_changed(visit, api, clock):
    browser = visit(api)

    part = browser.get("/studio/library", headers={"studio-fragment": "models"})
    same = browser.get("/studio/library", headers={"studio-fragment": "models", "if-none-match": part.headers["etag"]})
    api.models["tone"]["step"] = 9
    clock.seconds += 2
    other = browser.get("/studio/library", headers={"studio-fragment": "models", "if-none-match": part.headers["etag"]})

    assert "<html" not in part.text
    assert rows(part.text) == ["roman"]
    assert part.headers["studio-every"] == "2000"
    assert (same.status_code, same.text) == (304, "")
    assert "Step 9 of 19" in other.text


def test_a_page_without_jobs_at_work_asks_less_often(visit):
    part = visit(StandInApi([READY])).get("/studio/library", headers={"studio-fragment": "models"})

    assert part.headers["studio-every"] == "15000"


def test_an_empty_library_says_what_it_is_for(visit):
    page = visit(StandInApi()).get("/studio/library").text

    assert "No tuned models yet" in page
    assert 'role="search"' not in page


def test_filters_that_nothing_matches_offer_the_whole_list(visit, api):
    page = visit(api).get("/studio/library?search=nothing").text

    assert "Nothing matches" in page
    assert 'value="nothing"' in page


HOSTILE = ["<script>alert(1)</script>", '" onmouseover="alert(1)', "{{7*7}}", ":x", "__proto__", "</script><img src=x>"]


@pytest.mark.parametrize("name", HOSTILE)
def test_names_are_text_wherever_they_stand(visit, name):
    api = StandInApi([{**READY, "displayName": name, "description": name, "baseModel": name}])
    browser = visit(api)

    pages = [
        browser.get(f"/studio/{path}").text
        for path in ("library", "models/roman", "models/roman/delete", f"library?search={name}")
    ]

    for page in pages:
        tags = Tags(page)
        assert tags.found - {"img"} == tags.found
        assert tags.scripts <= {"module", "application/json"}
        assert [name for name in tags.attributes if name.startswith(("on", "style"))] == []
        assert all(name in text for text in tags.titles)


class Tags(HTMLParser):
    """The tags of a page, the names of their attributes, the types of its scripts and the texts of its headings."""

    def __init__(self, page):
        super().__init__()
        self.found, self.attributes, self.scripts, self.titles = set(), set(), set(), []
        self.in_title = False
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.found.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag == "script":
            self.scripts.add(dict(attrs).get("type"))
        self.in_title = tag == "h1"

    def handle_data(self, data):
        if self.in_title and data.strip() and data.strip() != "Library":
            self.titles.append(data)
        self.in_title = False


def test_a_server_that_does_not_answer_has_a_page_that_tries_again(visit, api):
    browser = visit(api)
    api.is_down = True

    page = browser.get("/studio/library")
    part = browser.get("/studio/library", headers={"studio-fragment": "models"})

    assert page.status_code == part.status_code == 502
    assert "The server does not answer" in page.text
    assert 'data-retries="5000"' in page.text
    # Whoever has the list keeps it.
    assert "<" not in part.text
