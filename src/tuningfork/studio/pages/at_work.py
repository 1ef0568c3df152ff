"""The chip in the frame of every page: how many of the visitor's jobs wait or are at work, and how far they are."""

from starlette.responses import Response

from tuningfork.studio.frame.visit import Page, Visit
from tuningfork.studio.view.library_query import STATES
from tuningfork.studio.view.operations import queued_jobs

_MOST_SHOWN = 6
_AT_WORK = {"state": ",".join(STATES["running"]), "orderBy": "createTime", "pageSize": str(_MOST_SHOWN)}
_BUSY_MS, _IDLE_MS = 5_000, 30_000


async def at_work(visit: Visit) -> Response:
    """The chip. As a page of its own it is the library, which lists these jobs first."""
    if visit.fragment is None:
        return visit.redirect("/library")
    found = await visit.api.get("/tuningfork/v1/tunedModels", _AT_WORK)
    count = int(found.get("totalSize", 0))
    return visit.render(
        "at_work.html",
        every_ms=_BUSY_MS if count else _IDLE_MS,
        count=count,
        jobs=queued_jobs({"jobs": found.get("tunedModels", ())}, visit.texts, visit.now),
    )


PAGES = (Page("GET", "/at-work", at_work),)
