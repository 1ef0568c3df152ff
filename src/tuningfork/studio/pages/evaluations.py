"""Evaluations: all of a visitor's, and one with its scores and its rows, losses first."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

from starlette.responses import Response

from tuningfork.studio.frame.api_client import ApiRefusal, Json
from tuningfork.studio.frame.visit import Page, Visit
from tuningfork.studio.pages.evaluation_form import EVALUATIONS, newest_kept_back
from tuningfork.studio.pages.staged import DATASETS, refusal_text
from tuningfork.studio.view import evaluation as words
from tuningfork.studio.view.evaluation_query import EvaluationQuery
from tuningfork.studio.view.failures_as_data import lines_of
from tuningfork.studio.view.job_words import Badge
from tuningfork.studio.view.library_query import pages_around

_BUSY_MS, _WAITING_MS = 1_000, 2_000
_WINDOW = 200
_WHOLE_CELLS = "1000000"


@dataclass(frozen=True, slots=True)
class Row:
    """One evaluation in the list, ready to be shown. `scores`: what each model has by the first measure."""

    id: str
    name: str
    badge: Badge
    sentence: str
    done: float | None
    source: str
    scores: tuple[tuple[str, str], ...]
    created: str | None


async def evaluations(visit: Visit) -> Response:
    """The list."""
    model = visit.query.get("model", "")
    query = {"model": f"tunedModels/{model}"} if model else {}
    found = (await visit.api.get(EVALUATIONS, query)).get("evaluations", ())
    rows = [_row(each, visit) for each in found]
    busy = any(map(words.is_running, found))
    return visit.render(
        "evaluations.html",
        every_ms=_WAITING_MS if busy else 0,
        active="evaluations",
        rows=rows,
        model=model,
        kept=None if rows else await newest_kept_back(visit),
    )


def _row(run: Json, visit: Visit) -> Row:
    measure = next(iter(run.get("measures", ())), "")
    models = words.models_of(run, "", visit.texts)
    return Row(
        id=words.evaluation_id(run),
        name=str(run.get("displayName") or words.evaluation_id(run)),
        badge=words.badge(run, visit.texts),
        sentence=words.sentence(run, visit.texts),
        done=words.share_done(run) if words.is_running(run) else None,
        source=words.source(run, visit.texts),
        scores=tuple((each.title, each.scores[measure].text if measure in each.scores else "") for each in models),
        created=run.get("createTime"),
    )


async def evaluation(visit: Visit) -> Response:
    """One evaluation: its scores, and its rows."""
    run = await visit.api.get(_path(visit))
    query = _query(visit, run)
    found: Json = {} if visit.fragment == "scores" else await visit.api.get(_path(visit, "/rows"), query.for_api())
    looked_at = query.model or str(found.get("model", "")) or _usual(run)
    models = words.models_of(run, looked_at, visit.texts)
    total = int(found.get("totalSize", 0))
    identity = words.evaluation_id(run)
    return visit.render(
        "evaluation.html",
        every_ms=_BUSY_MS if words.is_running(run) else 0,
        active="evaluations",
        id=identity,
        name=str(run.get("displayName") or identity),
        run=run,
        badge=words.badge(run, visit.texts),
        sentence=words.sentence(run, visit.texts),
        source=words.source(run, visit.texts),
        at_work=words.is_running(run),
        done=words.share_done(run),
        models=models,
        looked_at=looked_at,
        looked_at_title=next((each.title for each in models if each.is_looked_at), ""),
        measures=tuple(run.get("measures", ())),
        remarks=list(words.remarks(run, models, query.measure, visit.texts)),
        query=query,
        rows=words.rows_of(found, run, query.measure, visit.texts),
        counts={str(each["verdict"]): int(each.get("count", 0)) for each in found.get("verdicts", ())},
        verdicts=words.VERDICTS,
        total=total,
        page_count=query.page_count(total),
        pages=pages_around(query.page, query.page_count(total)),
    )


async def stop(visit: Visit) -> Response:
    """The evaluation ends; what was answered is kept."""
    await visit.api.send("POST", _path(visit, ":stop"), {})
    return visit.redirect(_page(visit), ("evaluate.stop_told", {}))


async def delete(visit: Visit) -> Response:
    """The evaluation is gone, with its answers."""
    await visit.api.send("DELETE", _path(visit))
    return visit.redirect("/evaluations", ("evaluate.deleted", {}))


async def add_failures(visit: Visit) -> Response:
    """A data set of the rows that a model lost, which can be looked at and tuned on."""
    form, run = await visit.form(), await visit.api.get(_path(visit))
    query = EvaluationQuery.of({**form, "verdict": "LOST"}, _names(run), _measures(run))
    lost = [row async for row in _every_row(visit, query)]
    if not lost:
        return visit.redirect(_page(visit), ("evaluate.no_failures", {}))
    name = visit.texts("evaluate.failures_name", name=str(run.get("displayName", "")))
    try:
        made = await visit.api.upload(DATASETS, lines_of(lost), {"name": "failures.jsonl", "displayName": name[:128]})
    except ApiRefusal as refusal:
        return visit.redirect(_page(visit), ("evaluate.not_added", {"reason": refusal_text(refusal)}))
    identity = str(made.get("name", "")).removeprefix("datasets/")
    return visit.redirect(visit.api.path("/create/", identity, "/check"), ("evaluate.added", {"count": len(lost)}))


async def _every_row(visit: Visit, query: EvaluationQuery) -> AsyncIterator[Json]:
    start, total = 0, 1
    while start < total:
        asked = {**query.for_api(), "start": str(start), "count": str(_WINDOW), "cellCharacters": _WHOLE_CELLS}
        window = await visit.api.get(_path(visit, "/rows"), asked)
        total, start = int(window.get("totalSize", 0)), start + _WINDOW
        for row in window.get("rows", ()):
            yield row


def _query(visit: Visit, run: Json) -> EvaluationQuery:
    return EvaluationQuery.of(visit.query, _names(run), _measures(run))


def _names(run: Json) -> frozenset[str]:
    return frozenset(str(each["name"]) for each in run.get("models", ()))


def _measures(run: Json) -> tuple[str, ...]:
    return tuple(run.get("measures", ())) or words.MEASURES


def _usual(run: Json) -> str:
    """The model that the API looks at unless it is told which: the last tuned one, or else the last."""
    names = [str(each["name"]) for each in run.get("models", ())]
    tuned = [name for name in names if name.startswith("tunedModels/")]
    return (tuned or names or [""])[-1]


def _path(visit: Visit, rest: str = "") -> str:
    return visit.api.path(f"{EVALUATIONS}/", visit.path["id"], rest)


def _page(visit: Visit) -> str:
    return visit.api.path("/evaluations/", visit.path["id"])


PAGES = (
    Page("GET", "/evaluations", evaluations),
    Page("GET", "/evaluations/{id}", evaluation),
    Page("POST", "/evaluations/{id}/stop", stop),
    Page("POST", "/evaluations/{id}/delete", delete),
    Page("POST", "/evaluations/{id}/add-failures", add_failures),
)
