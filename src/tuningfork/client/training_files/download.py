"""A training file at an https address, fetched within bounds of size and time; Google Sheets as their CSV export."""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import parse_qs

import httpx

from tuningfork import __version__
from tuningfork.client.deadline import Connections, Deadline
from tuningfork.client.errors import TrainingFileError
from tuningfork.client.training_files.bounds import Bound
from tuningfork.training_files.pages import is_page

TOTAL_SECONDS = 60.0
"""For the whole of a download, redirects included."""
_SILENCE_SECONDS = 15.0
_MOST_REDIRECTS = 5

_SHEETS = r"(?:/a/[\w.-]+)?/spreadsheets(?:/u/\d+)?/d"
_SHEET_PATH = re.compile(rf"{_SHEETS}/(?P<id>[\w-]{{2,}})(?:/.*)?", re.ASCII)
# File > Share > Publish to web gives an address of its own, which shows nothing but the published tabs.
_PUBLISHED_PATH = re.compile(rf"{_SHEETS}/e/(?P<id>[\w-]+)/pub(?:html)?", re.ASCII)
_SHEETS_URL = "https://docs.google.com/spreadsheets/d"


@dataclass(frozen=True, slots=True, kw_only=True)
class Downloaded:
    """What an address gave. `media_type` is in small letters, without parameters."""

    content: bytes
    media_type: str


def is_url(source: str) -> bool:
    """Whether this names an address and not a file; it may still be one that is refused."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", source) is not None


def shown(url: str) -> str:
    """An address for messages: what follows its path may be a secret."""
    return url.partition("?")[0].partition("#")[0]


def sheet_export(url: str) -> str | None:
    """The address of a Google Sheet as CSV, of the tab that the address shows; None if it is no Google Sheet."""
    parsed = _parsed(url)
    if parsed.host != "docs.google.com":
        return None
    tabs = (parse_qs(part).get("gid", [""])[-1] for part in (parsed.fragment, parsed.query.decode("ascii", "replace")))
    tab = next((tab for tab in tabs if tab.isascii() and tab.isdecimal()), None)
    if found := _SHEET_PATH.fullmatch(parsed.path):
        return f"{_SHEETS_URL}/{found['id']}/export?format=csv{f'&gid={tab}' if tab else ''}"
    if found := _PUBLISHED_PATH.fullmatch(parsed.path):
        return f"{_SHEETS_URL}/e/{found['id']}/pub?output=csv{f'&gid={tab}&single=true' if tab else ''}"
    return None


def fetch(
    url: str,
    bound: Bound,
    *,
    transport: httpx.BaseTransport | None = None,
    clock: Callable[[], float] = time.monotonic,
    seconds: float = TOTAL_SECONDS,
) -> Downloaded:
    """Fetch a file; redirects are followed as long as they stay with https.

    Args:
        url: its address.
        bound: how much is fetched at most.
        transport: replaces the network, for tests.
        clock: seconds from any beginning, never going back.
        seconds: for all of it, from connecting to the last byte.

    Raises:
        TrainingFileError: the address is not https, nobody answers in time, or what comes is an error, a page for
            people, or too large.

    """
    deadline = clock() + seconds
    connections = Connections()
    limit = Deadline(connections, seconds)
    headers = {"user-agent": f"tuningfork/{__version__}", "accept-encoding": "identity"}
    target = _parsed(url)
    try:
        with limit, httpx.Client(transport=transport, timeout=_SILENCE_SECONDS, headers=headers) as client:
            for _ in range(_MOST_REDIRECTS + 1):
                _check_https(target, url)
                with client.stream("GET", target, extensions=connections.extensions) as response:
                    if not response.has_redirect_location:
                        _check_status(response, url)
                        return _checked(response, _body(response, url, bound, lambda: clock() > deadline, seconds), url)
                    target = target.join(response.headers["location"])
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        if limit.has_passed:
            raise _late(url, seconds) from error
        raise TrainingFileError(
            f"{shown(url)} cannot be fetched: {str(error) or type(error).__name__}.",
            advice="Check the address, or download the file and give it by its name.",
        ) from error
    raise TrainingFileError(f"{shown(url)} cannot be fetched: more than {_MOST_REDIRECTS} redirects.")


def _parsed(url: str) -> httpx.URL:
    try:
        return httpx.URL(url)
    except httpx.InvalidURL as error:
        raise TrainingFileError(f"{shown(url)!r} is not a URL: {error}.") from error


def _check_https(target: httpx.URL, url: str) -> None:
    if target.scheme == "https" and target.host:
        return
    how = "is not" if str(target) == url else f"leads to {shown(str(target))}, which is not"
    raise TrainingFileError(
        f"{shown(url)} {how} an https address; nothing else is fetched, since it could be changed on its way.",
        advice="Give an https:// address, or download the file and give it by its name.",
    )


def _check_status(response: httpx.Response, url: str) -> None:
    if response.status_code in {401, 403} and sheet_export(url):
        raise _not_shared(url)
    if response.status_code != httpx.codes.OK:
        raise TrainingFileError(
            f"{shown(url)} cannot be fetched: the answer is {response.status_code} {response.reason_phrase}.",
            advice="Check the address. A file that needs a login must be downloaded and given by its name.",
        )
    if (packing := response.headers.get("content-encoding", "identity")) != "identity":
        # Asked not to; and a packed answer that was cut off would go unnoticed.
        raise TrainingFileError(
            f"{shown(url)} is sent packed ({packing}).", advice="Download the file and give it by its name."
        )


def _body(response: httpx.Response, url: str, bound: Bound, late: Callable[[], bool], seconds: float) -> bytes:
    announced = response.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > bound.max_bytes:
        raise bound.refusal(shown(url), int(announced))
    pieces: list[bytes] = []
    size = 0
    for piece in response.iter_bytes():
        size += len(piece)
        if size > bound.max_bytes:
            raise bound.refusal(shown(url), size)
        if late():
            raise _late(url, seconds)
        pieces.append(piece)
    return b"".join(pieces)


def _late(url: str, seconds: float) -> TrainingFileError:
    return TrainingFileError(
        f"{shown(url)} was not fetched within {seconds:g} seconds.",
        advice="Download the file and give it by its name.",
    )


def _checked(response: httpx.Response, content: bytes, url: str) -> Downloaded:
    media_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type in {"text/html", "application/xhtml+xml"} or is_page(content):
        raise _not_shared(url) if sheet_export(url) else _page(url)
    return Downloaded(content=content, media_type=media_type)


def _not_shared(url: str) -> TrainingFileError:
    return TrainingFileError(
        f"The spreadsheet {shown(url)} is not shared publicly: the answer is a page for people.",
        advice='Share it with "Anyone with the link", or download it as CSV and give the file.',
    )


def _page(url: str) -> TrainingFileError:
    return TrainingFileError(
        f"{shown(url)} is a page for people (HTML), not a file of examples.",
        advice="Give the address of the file itself; on code hosts it is often called Raw.",
    )
