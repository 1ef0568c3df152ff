"""The open pages of one person that follow one job ask the API once."""

import asyncio

import pytest

from studio_stand_in import OWN, READY, TRAINING, StandInApi
from tuningfork.studio.frame.shared_answers import SharedAnswers, WholeAnswer

PART = {"studio-fragment": "model"}
SERIES = "/studio/api/tuningfork/v1/tunedModels/tone/series"


def jobs_asked(api):
    return api.calls("GET").count(("GET", f"{OWN}/tunedModels/tone/job"))


def test_pages_that_follow_one_job_share_an_answer_and_those_who_have_it_get_none(visit, api):
    browser = visit(api)

    first, second = (browser.get("/studio/models/tone", headers=PART) for _ in range(2))
    known = browser.get("/studio/models/tone", headers={**PART, "if-none-match": first.headers["etag"]})

    assert jobs_asked(api) == 1
    assert (second.text, second.headers["studio-every"]) == (first.text, "1000")
    assert (known.status_code, known.text, known.headers["studio-every"]) == (304, "", "1000")


def test_curves_of_one_job_share_an_answer(visit, api):
    browser = visit(api)

    answers = [browser.get(f"{SERIES}?afterStep={step}").json() for step in (1, 1, 2)]

    assert answers[0] == answers[1]
    assert api.calls("GET").count(("GET", f"{OWN}/tunedModels/tone/series")) == 2


@pytest.mark.parametrize("other", [{"accept-language": "de"}, {"studio-fragment": "code"}])
def test_what_is_shown_otherwise_is_not_shared(visit, api, other):
    browser = visit(api)

    answers = [browser.get("/studio/models/tone", headers={**PART, **each}).text for each in ({}, other)]

    assert answers[0] != answers[1]


def test_people_share_nothing_with_one_another(visit, api):
    one, other = visit(api), visit(api)

    one.get("/studio/models/tone", headers=PART)
    api.sessions.discard("tfs_1")

    assert other.get("/studio/models/tone", headers=PART).status_code == 401


def test_who_changes_something_sees_it_at_once(visit, api):
    browser = visit(api)
    before = browser.get("/studio/models/tone", headers=PART).text
    browser.post("/studio/models/tone/stop")
    after = browser.get("/studio/models/tone", headers=PART).text

    assert "Stopping after step 8" not in before
    assert "Stopping after step 8" in after


def test_refusals_and_whole_pages_are_never_shared(visit):
    api = StandInApi([READY, TRAINING])
    browser = visit(api)
    api.is_down = True
    refused = browser.get("/studio/models/tone", headers=PART).status_code
    api.is_down = False

    assert refused == 502
    assert browser.get("/studio/models/tone", headers=PART).status_code == 200
    before = len(api.requests)
    assert [browser.get("/studio/models/tone").status_code for _ in range(2)] == [200, 200]
    assert len(api.requests) - before > 4


def test_an_asker_who_leaves_does_not_end_the_answer_of_the_others():
    async def story():
        shared, gate, made = SharedAnswers(), asyncio.Event(), []

        async def make():
            made.append(1)
            await gate.wait()
            return WholeAnswer(200, (), b"whole", 10.0)

        leaves, stays = (asyncio.create_task(shared.of("a", "x", make)) for _ in range(2))
        await asyncio.sleep(0)
        leaves.cancel()
        await asyncio.sleep(0)
        gate.set()
        return (await stays).body, (await shared.of("a", "x", make)).body, len(made)

    assert asyncio.run(story()) == (b"whole", b"whole", 1)


def test_after_its_time_an_answer_is_made_anew():
    async def story():
        now = [0.0]
        shared, made = SharedAnswers(lambda: now[0]), []

        async def make():
            made.append(1)
            return WholeAnswer(200, (), b"%d" % len(made), 1.0)

        found = []
        for now[0] in (0.0, 0.9, 1.1):
            found.append((await shared.of(None, "x", make)).body)
            await asyncio.sleep(0)
        return found

    assert asyncio.run(story()) == [b"1", b"1", b"2"]
