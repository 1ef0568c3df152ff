"""The last two steps of making a tuned model: its settings, and the start."""

from uuid import uuid4

from starlette.responses import Response

from tuningfork.studio.frame.api_client import ApiRefusal
from tuningfork.studio.frame.visit import Page, Visit
from tuningfork.studio.pages.staged import (
    ask_again,
    base_models,
    check_of,
    data_of,
    dataset_path,
    estimate_of,
    refusal_text,
    settings_of,
    step_path,
    tuned_models,
)
from tuningfork.studio.view.readiness import missing_of
from tuningfork.studio.view.tuning_settings import form_values


async def choose_settings(visit: Visit) -> Response:
    """The form of settings, and what the tuning would take with them."""
    data = await data_of(visit)
    settings = await settings_of(visit, data)
    estimate = await estimate_of(visit, data, settings)
    # A part that is asked for while somebody types shows the estimate only.
    bases, tuned = ((), ()) if visit.fragment else (await base_models(visit), await tuned_models(visit))
    return visit.render(
        "create_settings.html",
        every_ms=ask_again(pending=estimate.pending),
        active="create",
        step="settings",
        data=data,
        settings=settings,
        wrong=settings.not_numbers(),
        bases=bases,
        tuned=tuned,
        estimate=estimate,
    )


async def keep_settings(visit: Visit) -> Response:
    """Keep what was typed, and go on."""
    data = await data_of(visit)
    draft = {**data.draft, "settings": form_values(await visit.form())}
    await visit.api.send("PATCH", dataset_path(visit), {"draft": draft})
    return visit.redirect(step_path(visit, "start"))


async def show_start(visit: Visit) -> Response:
    """What will be done, and the button that begins it or says what is missing."""
    return await _start(visit)


async def start(visit: Visit) -> Response:
    """Begin the tuning, and go to its page. The same form sent twice begins one."""
    form = await visit.form()
    data = await data_of(visit)
    settings = await settings_of(visit, data)
    query = {**settings.query(), "requestId": form.get("request", "") or str(uuid4())}
    try:
        begun = await visit.api.send("POST", "/tuningfork/v1/tunedModels", settings.body(data.name), query)
    except ApiRefusal as refusal:
        return await _start(visit, error=refusal_text(refusal))
    name = str(begun["metadata"]["tunedModel"]).removeprefix("tunedModels/")
    return visit.redirect(visit.api.path("/models/", name), notice=("create.started", {}))


async def _start(visit: Visit, *, error: str = "") -> Response:
    data = await data_of(visit)
    settings = await settings_of(visit, data)
    findings, not_checked = await check_of(visit, settings)
    estimate = await estimate_of(visit, data, settings)
    pending = estimate.pending or not (findings or not_checked)
    return visit.render(
        "create_start.html",
        status=400 if error else 200,
        every_ms=ask_again(pending=pending),
        active="create",
        step="start",
        data=data,
        settings=settings,
        estimate=estimate,
        missing=missing_of(data, findings, settings, estimate.refused or not_checked, visit.texts),
        pending=pending,
        request_id=str(uuid4()),
        error=error,
    )


PAGES = (
    Page("GET", "/create/{dataset}/settings", choose_settings),
    Page("POST", "/create/{dataset}/settings", keep_settings),
    Page("GET", "/create/{dataset}/start", show_start),
    Page("POST", "/create/{dataset}/start", start),
)
