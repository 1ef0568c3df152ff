"""All tuned models that the visitor may see, with the jobs at work above them."""

import asyncio
from dataclasses import dataclass
from typing import Any

from starlette.responses import Response

from tuningfork.studio.frame.api_client import Json
from tuningfork.studio.frame.visit import Page, Visit
from tuningfork.studio.view import job_words
from tuningfork.studio.view.library_query import STATES, LibraryQuery, pages_around

_MODELS = "/tuningfork/v1/tunedModels"
_AT_WORK = {"state": ",".join(STATES["running"]), "orderBy": "createTime", "pageSize": "20"}
_BUSY_MS, _IDLE_MS = 2_000, 15_000


@dataclass(frozen=True, slots=True)
class Row:
    """One model, ready to be shown."""

    id: str
    name: str
    badge: job_words.Badge
    sentence: str
    done: float | None
    base: str
    owner: str
    mine: bool
    may_change: bool
    may_delete: bool
    loss: str
    loss_kind: str
    examples: int | None
    created: str | None
    at_work: bool
    callable: bool
    warnings: int


async def library(visit: Visit) -> Response:
    """The page."""
    query = LibraryQuery.of(visit.query)
    # Asked for whatever the list shows, since what is at work says how often to look.
    at_work, found = await asyncio.gather(visit.api.get(_MODELS, _AT_WORK), visit.api.get(_MODELS, query.for_api()))
    rows = [_row(each, visit) for each in found.get("tunedModels", ())]
    busy = [_row(each, visit) for each in at_work.get("tunedModels", ())]
    above = busy if query.page == 1 and not query.is_filtered else []
    counts = {each["state"]: int(each.get("count", 0)) for each in found.get("states", ())}
    return visit.render(
        "library.html",
        every_ms=_BUSY_MS if busy else _IDLE_MS,
        active="library",
        query=query,
        rows=rows,
        busy=above,
        total=int(found.get("totalSize", 0)),
        everything=sum(counts.values()),
        counts={group: sum(counts.get(state, 0) for state in states) for group, states in STATES.items()},
        bases=[(base, job_words.short_base(base)) for base in (each["baseModel"] for each in found.get("bases", ()))],
        page_count=int(found.get("pageCount", 1)),
        pages=pages_around(query.page, int(found.get("pageCount", 1))),
    )


def _row(model: Json, visit: Visit) -> Row:
    words: dict[str, Any] = {"texts": visit.texts, "now": visit.now}
    identity = job_words.model_id(str(model.get("tunedModel", "")))
    role = model.get("role", "")
    return Row(
        id=identity,
        name=str(model.get("displayName") or identity),
        badge=job_words.badge(model, **words),
        sentence=job_words.sentence(model, **words),
        done=job_words.share_done(model),
        base=job_words.short_base(str(model.get("baseModel", ""))),
        owner=str(model.get("owner", "")),
        mine=role == "OWNER",
        may_change=role in {"OWNER", "WRITER"},
        may_delete=role == "OWNER",
        loss=job_words.loss(model.get("loss"), visit.texts),
        loss_kind=str(model.get("lossKind", "")),
        examples=int(model["exampleCount"]) if "exampleCount" in model else None,
        created=model.get("createTime"),
        at_work=job_words.is_running(model),
        callable=bool(model.get("callable")),
        warnings=len(model.get("findings", ())),
    )


PAGES = (Page("GET", "/library", library, is_shared=True),)
