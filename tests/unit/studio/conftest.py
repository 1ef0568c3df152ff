import pytest
from starlette.testclient import TestClient

from studio_stand_in import KEY, READY, TRAINING, StandInApi
from tuningfork.studio.app import studio_app

ORIGIN = "http://testserver"


class Clock:
    def __init__(self):
        self.seconds = 0.0

    def __call__(self):
        return self.seconds


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def api():
    return StandInApi([READY, TRAINING])


@pytest.fixture
def visit(clock):
    """A browser, signed in or not, that looks at the pages of a stand-in."""

    def visit(api, *, signed_in=True, language="en"):
        browser = TestClient(
            studio_app("http://api", transport=api, clock=clock),
            base_url=ORIGIN,
            follow_redirects=False,
            headers={"origin": ORIGIN, "accept-language": language},
        )
        if signed_in:
            browser.post("/studio/sign-in", data={"key": KEY})
            api.requests.clear()
        return browser

    return visit
