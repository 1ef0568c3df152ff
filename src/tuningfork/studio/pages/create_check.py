"""The third step of making a tuned model: what is wrong with the examples, and what is learned of each."""

from starlette.responses import Response

from tuningfork.studio.frame.api_client import ApiRefusal
from tuningfork.studio.frame.visit import Page, Visit
from tuningfork.studio.pages.create_columns import preview_of
from tuningfork.studio.pages.staged import (
    ask_again,
    check_of,
    data_of,
    dataset_path,
    refusal_text,
    settings_of,
    step_path,
)


async def show_check(visit: Visit) -> Response:
    """The findings, the rows, and one example as the tuning sees it."""
    return await _check(visit)


async def mend(visit: Visit) -> Response:
    """Do what a button of a finding says, or take back the last change."""
    form = await visit.form()
    try:
        if form.get("action") == "undo":
            await visit.api.send("POST", dataset_path(visit, ":undo"), {})
            return visit.redirect(step_path(visit, "check"), notice=("create.undone", {}))
        settings = await settings_of(visit, await data_of(visit))
        asked = {"finding": form.get("finding", ""), "fix": form.get("fix", ""), **settings.start_of()}
        done = await visit.api.send("POST", dataset_path(visit, ":fix"), asked)
    except ApiRefusal as refusal:
        return await _check(visit, error=refusal_text(refusal))
    changed = int(done.get("changedRowCount", 0))
    return visit.redirect(step_path(visit, "check"), notice=("create.fixed", {"count": changed}))


async def _check(visit: Visit, *, error: str = "") -> Response:
    data = await data_of(visit)
    settings = await settings_of(visit, data)
    # A part of the page asks for what it shows alone.
    findings, not_checked = (None, "") if visit.fragment == "learned" else await check_of(visit, settings)
    waits = visit.fragment is None and findings is None and not not_checked
    start = min(max(_number(visit.query.get("example", "1")) - 1, 0), max(data.row_count - 1, 0))
    if not data.row_count:
        example, no_preview = None, visit.texts("create.mask.none")
    elif waits or visit.fragment == "findings":
        example, no_preview = None, ""
    else:
        example, no_preview = await preview_of(visit, settings, start=start)
    return visit.render(
        "create_check.html",
        status=400 if error else 200,
        every_ms=ask_again(pending=visit.fragment is None and (waits or not (example or no_preview))),
        active="create",
        step="check",
        data=data,
        names=[column.label for column in data.columns],
        findings=findings,
        not_checked=not_checked,
        shown=findings.named(visit.query.get("finding", "")) if findings else None,
        example=example,
        number_shown=start + 1,
        no_preview=no_preview,
        error=error,
    )


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else 1


PAGES = (
    Page("GET", "/create/{dataset}/check", show_check),
    Page("POST", "/create/{dataset}/check", mend),
)
