"""One tuned model: what it is doing, its losses, its checkpoints and settings, and what can be done with it."""

import asyncio
from collections.abc import Mapping
from typing import Any

from starlette.responses import Response, StreamingResponse

from tuningfork.studio.frame.api_client import ApiRefusal, Json
from tuningfork.studio.frame.visit import Page, Visit
from tuningfork.studio.pages.sharing import people_of
from tuningfork.studio.texts.formats import parse_time
from tuningfork.studio.view import job_words
from tuningfork.studio.view.losses import csv_lines
from tuningfork.studio.view.model_report import ModelReport
from tuningfork.studio.view.probes import probes_of

OWN, GEMINI = "/tuningfork/v1/tunedModels/", "/v1beta/tunedModels/"
_FIRST_MS, _BUSY_MS, _WAITING_MS, _IDLE_MS = 500, 1_000, 2_000, 30_000
_NEW_SECONDS = 15


async def model(visit: Visit) -> Response:
    """The page."""
    identity = visit.path["id"]
    job, kept, probes, people = await asyncio.gather(
        visit.api.get(visit.api.path(OWN, identity, "/job")),
        _if_allowed(visit, visit.api.path(OWN, identity, "/checkpoints")),
        _if_allowed(visit, visit.api.path(OWN, identity, "/probes")),
        people_of(visit, identity),
    )
    return visit.render(
        "model.html",
        every_ms=_interval(job, visit),
        active="library",
        id=identity,
        job=job,
        name=str(job.get("displayName") or identity),
        badge=job_words.badge(job, visit.texts, visit.now),
        sentence=job_words.sentence(job, visit.texts, visit.now),
        done=job_words.share_done(job),
        at_work=job_words.is_running(job),
        report=ModelReport.of(job, kept, visit.texts),
        probes=probes_of(probes),
        people=people,
        mine=job.get("role") == "OWNER",
        may_change=job.get("role") in {"OWNER", "WRITER"},
        api_url=str(visit.request.base_url).rstrip("/"),
    )


async def _if_allowed(visit: Visit, path: str) -> Json:
    """The answer, or nothing: a part of the page that the visitor may not see, or that there is none of yet."""
    try:
        return await visit.api.get(path)
    except ApiRefusal as error:
        if error.signed_out or error.status >= 500:
            raise
        return {}


def _interval(job: Json, visit: Visit) -> int:
    """More often while a job is young: a small one is done in three seconds."""
    if job.get("state") == "RUNNING":
        began = job.get("startTime")
        young = began is not None and (visit.now - parse_time(began)).total_seconds() < _NEW_SECONDS
        return _FIRST_MS if young else _BUSY_MS
    return _WAITING_MS if job_words.is_running(job) else _IDLE_MS


async def losses(visit: Visit) -> Response:
    """Every loss of the model as a table for spreadsheets."""
    identity = visit.path["id"]
    path = visit.api.path(OWN, identity, "/series")
    series = await visit.api.get(path)
    answers = [series]
    while series.get("more"):
        after = {
            "afterStep": str(series.get("nextAfterStep", 0)),
            "afterValidationStep": str(series.get("nextAfterValidationStep", 0)),
        }
        series = await visit.api.get(path, after)
        answers.append(series)
    headers = {"content-disposition": f'attachment; filename="{identity}-losses.csv"'}
    return StreamingResponse(iter(csv_lines(answers)), headers=headers, media_type="text/csv; charset=utf-8")


async def stop(visit: Visit) -> Response:
    """The job stops after its step; what it has learned so far is kept."""
    identity = visit.path["id"]
    await visit.api.send("POST", visit.api.path(GEMINI, identity, ":cancel"), {})
    return visit.redirect(f"/models/{identity}", ("model.stop.told", {}))


async def rename(visit: Visit) -> Response:
    """Another name and another description."""
    identity, fields = visit.path["id"], await visit.form()
    body = {"displayName": fields.get("name", "").strip(), "description": fields.get("description", "").strip()}
    mask = {"updateMask": "displayName,description"}
    await visit.api.send("PATCH", visit.api.path(GEMINI, identity), body, mask)
    return visit.redirect(f"/models/{identity}", ("model.rename.told", {}))


async def use_checkpoint(visit: Visit) -> Response:
    """The model answers with the weights of another checkpoint."""
    identity, fields = visit.path["id"], await visit.form()
    number = fields.get("checkpoint", "")
    body = {"checkpoint": int(number) if number.isdecimal() and len(number) < 10 else 0}
    await visit.api.send("POST", visit.api.path(OWN, identity, ":useCheckpoint"), body)
    return visit.redirect(f"/models/{identity}#checkpoints", ("model.checkpoints.told", {"number": body["checkpoint"]}))


async def ask_delete(visit: Visit) -> Response:
    """The question whether to delete, as a page, for browsers without scripts."""
    return await _delete_form(visit, "")


async def delete(visit: Visit) -> Response:
    """The model and all its files are gone, once its name was typed."""
    identity, fields = visit.path["id"], await visit.form()
    job = await visit.api.get(visit.api.path(OWN, identity, "/job"))
    name = str(job.get("displayName") or identity)
    if fields.get("typed", "").strip() not in {name.strip(), identity}:
        return await _delete_form(visit, visit.texts("model.delete.differs", name=name))
    await visit.api.send("DELETE", visit.api.path(GEMINI, identity))
    return visit.redirect("/library", ("model.delete.told", {"name": name}))


async def _delete_form(visit: Visit, error: str) -> Response:
    identity = visit.path["id"]
    job = await visit.api.get(visit.api.path(OWN, identity, "/job"))
    names: Mapping[str, Any] = {
        "id": identity,
        "name": str(job.get("displayName") or identity),
        "at_work": job_words.is_running(job),
        "error": error,
    }
    return visit.render("delete.html", status=400 if error else 200, active="library", **names)


PAGES = (
    Page("GET", "/models/{id}", model, is_shared=True),
    Page("GET", "/models/{id}/losses.csv", losses),
    Page("POST", "/models/{id}/stop", stop),
    Page("POST", "/models/{id}/rename", rename),
    Page("POST", "/models/{id}/use-checkpoint", use_checkpoint),
    Page("GET", "/models/{id}/delete", ask_delete),
    Page("POST", "/models/{id}/delete", delete),
)
