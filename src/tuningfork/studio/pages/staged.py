"""What the steps of making a tuned model share: the data set that is worked on, and what was typed for it."""

import asyncio
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from tuningfork.studio.frame.api_client import ApiRefusal
from tuningfork.studio.frame.visit import Visit
from tuningfork.studio.view.estimate import Estimate, estimate_in
from tuningfork.studio.view.findings import Findings, findings_of
from tuningfork.studio.view.staged_data import StagedData, staged_data
from tuningfork.studio.view.tuning_settings import TypedSettings, field_of, typed_settings

Json = Mapping[str, Any]

DATASETS = "/tuningfork/v1/datasets"

_AT_ONCE_SECONDS = 1.5
"""How long a page waits for what reads the examples. After a start the server first loads its base model for that."""

_PATIENCE_SECONDS = 300.0
"""How long a part of a page waits for it, which the page's script has asked for."""

_REFUSALS_SHOWN = {
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.CONFLICT,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.TOO_MANY_REQUESTS,
}
"""Answers that say what is wrong with what was sent. A form shows them; for others there is a page."""


def dataset_path(visit: Visit, *rest: str) -> str:
    """The path in the API of the data set that this page is about, and what comes after."""
    return visit.api.path(f"{DATASETS}/", visit.path["dataset"], *rest)


def step_path(visit: Visit, step: str) -> str:
    """The path, below the Studio's prefix, of the page for a step of this data set."""
    rest = "" if step == "data" else f"/{step}"
    return visit.api.path("/create/", visit.path["dataset"], rest)


async def data_of(visit: Visit) -> StagedData:
    """The data set that this page is about."""
    return staged_data(await visit.api.get(dataset_path(visit)))


async def base_models(visit: Visit) -> tuple[Json, ...]:
    """The base models that can be tuned."""
    listed = await visit.api.get("/v1beta/models", {"pageSize": "1000"})
    return tuple(
        model for model in listed.get("models", ()) if "createTunedModel" in model.get("supportedGenerationMethods", ())
    )


async def tuned_models(visit: Visit) -> tuple[Json, ...]:
    """The newest tuned models that answer."""
    query = {"pageSize": "200", "state": "SUCCEEDED,CANCELLED"}
    listed = await visit.api.get("/tuningfork/v1/tunedModels", query)
    return tuple(model for model in listed.get("tunedModels", ()) if model.get("callable"))


async def settings_of(visit: Visit, data: StagedData) -> TypedSettings:
    """What is typed in the form of settings. Before anything is chosen, the first base model is."""
    typed = typed_settings(data.draft, display_name=data.display_name)
    if typed["source"]:
        return typed
    bases = await base_models(visit)
    return TypedSettings({**typed.values, "source": str(bases[0]["name"]) if bases else ""})


async def asked_of(visit: Visit, what: str, body: Json, query: Mapping[str, str] | None = None) -> Json | None:
    """What the API says of the examples, such as `:check`; None: it was not ready at once."""
    path = dataset_path(visit, what)
    # The rows of a finding can only be shown when it is known.
    waits = visit.fragment is not None or "finding" in visit.query
    patience = _PATIENCE_SECONDS if waits else _AT_ONCE_SECONDS
    try:
        async with asyncio.timeout(patience):
            return await visit.api.send("POST", path, body, query, seconds=_PATIENCE_SECONDS)
    except TimeoutError:
        return None


def ask_again(*, pending: bool) -> int:
    """After how many milliseconds a part of the page asks for what is not ready; 0: all is."""
    return 1 if pending else 0


async def check_of(visit: Visit, settings: TypedSettings) -> tuple[Findings | None, str]:
    """What the API's check has found. None: it could not be checked, and why; or "", and it is not ready yet."""
    try:
        check = await asked_of(visit, ":check", settings.start_of())
    except ApiRefusal as refusal:
        return None, refusal_text(refusal)
    return (None if check is None else findings_of(check, visit.texts)), ""


async def estimate_of(visit: Visit, data: StagedData, settings: TypedSettings) -> Estimate:
    """What tuning on the data set with these settings would take."""
    try:
        values = await asked_of(visit, ":estimate", settings.body(data.name), settings.query())
    except ApiRefusal as refusal:
        return Estimate(refused=refusal_text(refusal), about=_field_of(refusal))
    return Estimate(pending=True) if values is None else estimate_in(values)


def refusal_text(refusal: ApiRefusal) -> str:
    """The API's own words, where they are about what was sent.

    Raises:
        ApiRefusal: they are about something else: who is signed in, or what is not there.

    """
    if refusal.status not in _REFUSALS_SHOWN or refusal.signed_out:
        raise refusal
    return refusal.message


def _field_of(refusal: ApiRefusal) -> str:
    paths = [str(each.get("field", "")) for detail in refusal.details for each in detail.get("fieldViolations", ())]
    return next((field for field in map(field_of, paths) if field), "")
