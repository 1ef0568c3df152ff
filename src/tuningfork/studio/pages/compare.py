"""Two to four tuned models side by side: their losses in one chart, and how their settings and data differ."""

import asyncio
from dataclasses import dataclass

from starlette.responses import Response

from tuningfork.studio.frame.api_client import ApiRefusal, Json
from tuningfork.studio.frame.visit import Page, Visit
from tuningfork.studio.view import job_words
from tuningfork.studio.view.comparison import LEAST, LETTERS, MOST, Comparison

_MODELS = "/tuningfork/v1/tunedModels"
_LISTED = {"pageSize": "200"}
_BUSY_MS, _IDLE_MS = 1_000, 30_000


@dataclass(frozen=True, slots=True)
class Compared:
    """One of the models: what it is called on this page, and what its job is doing."""

    letter: str
    id: str
    name: str
    badge: job_words.Badge
    sentence: str
    owner: str
    callable: bool
    at_work: bool
    epochs: int
    steps: int

    def for_chart(self) -> dict[str, object]:
        """What the chart's script needs of it."""
        values = {"letter": self.letter, "id": self.id, "name": self.name, "live": self.at_work}
        return {**values, "epochs": self.epochs, "steps": self.steps}


async def compare(visit: Visit) -> Response:
    """The page. With fewer than two models in its address it asks for them."""
    wanted = _wanted(visit)
    jobs = await asyncio.gather(*(_job(visit, each) for each in wanted))
    found = [job for job in jobs if job is not None]
    models = [_compared(letter, job, visit) for letter, job in zip(LETTERS, found, strict=False)]
    enough = len(models) >= LEAST
    # A part of the page shows no list to choose from.
    listed = {} if visit.fragment else await visit.api.get(_MODELS, _LISTED)
    return visit.render(
        "compare.html",
        every_ms=(_BUSY_MS if any(each.at_work for each in models) else _IDLE_MS) if enough else 0,
        active="library",
        models=models,
        chart=[each.for_chart() for each in models],
        enough=enough,
        missing=[name for name, job in zip(wanted, jobs, strict=True) if job is None],
        comparison=Comparison.of(found, visit.texts) if enough else None,
        known=_known(listed, models),
        places=range(MOST),
        askable=[each.id for each in models if each.callable],
    )


def _wanted(visit: Visit) -> list[str]:
    """The ids in the address, each once. `models=a,b` is the same as `models=a&models=b`."""
    asked = [name.strip() for each in visit.query.getlist("models") for name in each.split(",")]
    return list(dict.fromkeys(job_words.model_id(name) for name in asked if name))[:MOST]


async def _job(visit: Visit, identity: str) -> Json | None:
    """What there is to know of a model's job; None: it is not there, or not for this visitor."""
    try:
        return await visit.api.get(visit.api.path(f"{_MODELS}/", identity, "/job"))
    except ApiRefusal as error:
        if error.signed_out or error.status not in {400, 403, 404}:
            raise
        return None


def _compared(letter: str, job: Json, visit: Visit) -> Compared:
    identity = job_words.model_id(str(job.get("tunedModel", "")))
    return Compared(
        letter=letter,
        id=identity,
        name=str(job.get("displayName") or identity),
        badge=job_words.badge(job, visit.texts, visit.now),
        sentence=job_words.sentence(job, visit.texts, visit.now),
        owner=visit.texts("library.me") if job.get("role") == "OWNER" else str(job.get("owner", "")),
        callable=bool(job.get("callable")),
        at_work=job_words.is_running(job),
        epochs=int(job.get("epochCount", 0)),
        steps=int(job.get("totalSteps", 0)),
    )


def _known(listed: Json, models: list[Compared]) -> list[tuple[str, str]]:
    """The models that can be chosen, by id and name: the newest, and those that are shown already."""
    shown = {each.id: each.name for each in models}
    newest = {
        job_words.model_id(str(each["tunedModel"])): str(each.get("displayName") or each["tunedModel"])
        for each in listed.get("tunedModels", ())
    }
    return list((newest | {name: title for name, title in shown.items() if name not in newest}).items())


PAGES = (Page("GET", "/compare", compare, is_shared=True),)
