"""The second step of making a tuned model: what each column is for."""

from starlette.responses import Response

from tuningfork.studio.frame.api_client import ApiRefusal
from tuningfork.studio.frame.visit import Page, Visit
from tuningfork.studio.pages.staged import (
    ask_again,
    asked_of,
    data_of,
    dataset_path,
    refusal_text,
    settings_of,
    step_path,
)
from tuningfork.studio.view.mask import MaskedExample, masked_example
from tuningfork.studio.view.staged_data import ROLES, StagedData, lines_of
from tuningfork.studio.view.tuning_settings import TypedSettings

_SHOWN_ROWS = "5"


async def choose_columns(visit: Visit) -> Response:
    """The roles and prefixes of the columns, and what the model will see of an example."""
    return await _columns(visit, await data_of(visit))


async def keep_columns(visit: Visit) -> Response:
    """Keep what was chosen, and go on."""
    form = await visit.form()
    data = await data_of(visit)
    chosen = [
        {"role": form.get(f"role{index}", "IGNORE"), "prefix": form.get(f"prefix{index}", "")}
        for index in range(len(data.columns))
    ]
    try:
        await visit.api.send("PATCH", dataset_path(visit), {"columns": chosen})
    except ApiRefusal as refusal:
        return await _columns(visit, data, error=refusal_text(refusal))
    return visit.redirect(step_path(visit, "check"))


async def preview_of(visit: Visit, settings: TypedSettings, *, start: int = 0) -> tuple[MaskedExample | None, str]:
    """One example as the tuning sees it. None: there is none, and why; or "", and it is not ready yet."""
    body = {**settings.start_of(), "start": start, "count": 1}
    try:
        shown = await asked_of(visit, ":preview", body)
    except ApiRefusal as refusal:
        return None, refusal_text(refusal)
    if shown is None:
        return None, ""
    examples = shown.get("examples", ())
    return (masked_example(examples[0]), "") if examples else (None, visit.texts("create.mask.none"))


async def _columns(visit: Visit, data: StagedData, *, error: str = "") -> Response:
    settings = await settings_of(visit, data)
    example, no_preview = await preview_of(visit, settings)
    query = {"start": "0", "count": _SHOWN_ROWS, "cellCharacters": "200"}
    window = {} if visit.fragment else await visit.api.get(dataset_path(visit, "/rows"), query)
    return visit.render(
        "create_columns.html",
        status=400 if error else 200,
        every_ms=ask_again(pending=example is None and not no_preview),
        active="create",
        step="columns",
        data=data,
        rows=[lines_of(row) for row in window.get("rows", ())],
        roles=ROLES,
        example=example,
        no_preview=no_preview,
        error=error,
    )


PAGES = (
    Page("GET", "/create/{dataset}/columns", choose_columns),
    Page("POST", "/create/{dataset}/columns", keep_columns),
)
