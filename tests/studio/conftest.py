"""A real server with the embedded base model, and a real Chromium that watches what its pages do."""

import os
import re
import shutil
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import live_server
from patience import PATIENCE_SECONDS
from visitor import Visitor

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright's Python package is not installed")

HERE = Path(__file__).parent
SCREENSHOTS = HERE.parents[1] / ".screenshots"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
# A virtual machine may have neither a GPU nor the kernel's namespaces that the browser's sandbox is made of.
SWITCHES = ("--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage")
PHONE = {"width": 390, "height": 844}
DESKTOP = {"width": 1280, "height": 900}
RESOURCE = re.compile(r"Failed to load resource: the server responded with a status of (\d+)")


@pytest.fixture(scope="module")
def chromium():
    """The browser, for the tests of a module: while it is there, no other test can run an event loop in this thread."""
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed; on Debian: apt-get install chromium")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=list(SWITCHES))
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """A server for all tests that do not harm it."""
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed; on Debian: apt-get install chromium")
    with live_server.running(tmp_path_factory.mktemp("studio")) as running:
        yield running


class Watch:
    """What a page has done that no page should. `allow` names statuses of answers that a test provokes."""

    def __init__(self, context, host):
        self.allowed = set()
        self.wrong = []
        self._host = host
        context.on("console", self._console)
        context.on("weberror", lambda error: self.wrong.append(f"exception: {error.error}"))
        context.on("request", self._request)
        context.on("response", self._response)

    def allow(self, *statuses):
        """These answers, to what a test does on purpose."""
        self.allowed |= set(statuses)

    def _console(self, message):
        found = RESOURCE.search(message.text)
        if message.type == "error" and not (found and int(found[1]) in self.allowed):
            self.wrong.append(f"console: {message.text} {message.location}")

    def _request(self, request):
        parts = urlsplit(request.url)
        if parts.scheme in {"http", "https", "ws", "wss"} and parts.netloc != self._host:
            self.wrong.append(f"foreign host: {request.url}")

    def _response(self, response):
        if response.status >= 400 and response.status not in self.allowed:
            self.wrong.append(f"answer {response.status}: {response.url}")


@contextmanager
def browsing(browser, url, **options):
    """A window of its own, with nothing kept from others, and what its pages did."""
    context = browser.new_context(**{"viewport": DESKTOP, "locale": "en-US", "base_url": url, **options})
    context.set_default_timeout(PATIENCE_SECONDS * 1000)
    watch = Watch(context, urlsplit(url).netloc)
    try:
        yield context, watch
    finally:
        context.close()


@pytest.fixture
def window(chromium, server):
    """Opens windows: `window(viewport=PHONE, color_scheme="dark")` gives a visitor who is not signed in yet.

    A test fails on an error in the console, a failed request of the page's own, and a request to another host.
    """
    opened = []

    def open_window(**options):
        entered = browsing(chromium, server.url, **options)
        context, watch = entered.__enter__()
        opened.append((entered, watch))
        return Visitor(context.new_page(), server, watch, SCREENSHOTS)

    yield open_window
    for entered, _ in opened:
        entered.__exit__(None, None, None)
    assert [each for _, watch in opened for each in watch.wrong] == []


@pytest.fixture
def elsewhere(chromium):
    """Opens windows at another server than the usual one. What their pages do wrong is in `watch.wrong`."""
    opened = []

    def open_window(server, **options):
        entered = browsing(chromium, server.url, **options)
        context, watch = entered.__enter__()
        opened.append(entered)
        return Visitor(context.new_page(), server, watch, SCREENSHOTS)

    yield open_window
    for entered in opened:
        entered.__exit__(None, None, None)


@pytest.fixture
def visitor(window):
    """Somebody who is signed in."""
    return window().sign_in()


@pytest.fixture(scope="session")
def axe():
    """The accessibility checker's program."""
    return (HERE / "axe" / "axe.min.js").read_text(encoding="utf-8")


def pytest_collection_modifyitems(items):
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.browser)


# Playwright's driver reads it; without it, it looks for browsers of its own, which are never installed.
os.environ.setdefault("PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD", "1")
