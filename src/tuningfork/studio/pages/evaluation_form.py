"""The form that begins an evaluation: which models, which held-out examples."""

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from starlette.responses import Response

from tuningfork.studio.frame.api_client import ApiRefusal, Json
from tuningfork.studio.frame.visit import Page, Visit
from tuningfork.studio.pages.staged import DATASETS, base_models, refusal_text, tuned_models
from tuningfork.studio.view.staged_data import StagedData, staged_data

EVALUATIONS = "/tuningfork/v1/evaluations"
MOST_MODELS = 4
_MOST_LOOKED_AT = 8
"""Of how many tuned models it is asked whether examples were kept back."""
_SHOWN_DATASETS = "50"
_NUMBERS = {"maxExamples": int, "maxOutputTokens": int, "temperature": float}


@dataclass(frozen=True, slots=True)
class Choice:
    """A model that can be asked: its name in the API, and what people call it."""

    name: str
    title: str


@dataclass(frozen=True, slots=True)
class KeptBack:
    """Examples that were kept back when a model was tuned."""

    name: str
    title: str
    count: int


async def new(visit: Visit) -> Response:
    """The form. The address may name models, and a data set that was uploaded for it."""
    return await _form(visit, {**dict(visit.query), "data": _data_of(visit.query.get("data", ""))}, "")


async def begin(visit: Visit) -> Response:
    """Begin the evaluation, and look at it."""
    form = await visit.form()
    models = list(dict.fromkeys(name for place in range(MOST_MODELS) if (name := form.get(f"model{place}", ""))))
    body: dict[str, object] = {"models": models, "requestId": form.get("requestId", "")}
    kind, _, name = form.get("data", "").partition(":")
    if name:
        body["keptBackBy" if kind == "kept" else "dataset"] = name
    for field, kind_of in _NUMBERS.items():
        typed = form.get(field, "").strip().replace(",", ".")
        try:
            body |= {field: kind_of(typed)} if typed else {}
        except ValueError:
            return await _form(visit, form, visit.texts("evaluate.form.no_number", given=typed[:40]), models)
    if form.get("own"):
        body = {**{name: value for name, value in body.items() if name != "temperature"}, "ownTemperature": True}
    try:
        made = await visit.api.send("POST", EVALUATIONS, body)
    except ApiRefusal as refusal:
        return await _form(visit, form, refusal_text(refusal), models)
    return visit.redirect(visit.api.path("/evaluations/", str(made["name"]).removeprefix("evaluations/")))


async def newest_kept_back(visit: Visit) -> KeptBack | None:
    """Examples that the newest model that has any was tuned without; None: there are none."""
    found = await _kept_back_by(visit, await tuned_models(visit))
    return found[0] if found else None


async def _kept_back_by(visit: Visit, tuned: Sequence[Json]) -> list[KeptBack]:
    found = await asyncio.gather(*(kept_back(visit, each) for each in tuned[:_MOST_LOOKED_AT]))
    return [each for each in found if each is not None]


async def kept_back(visit: Visit, model: Json) -> KeptBack | None:
    """The examples that were kept back when a model was tuned; None: there are none, or they may not be seen."""
    if model.get("role") not in {"OWNER", "WRITER"}:
        return None
    name = str(model.get("tunedModel", ""))
    identity = name.removeprefix("tunedModels/")
    try:
        job = await visit.api.get(visit.api.path("/tuningfork/v1/tunedModels/", identity, "/job"))
    except ApiRefusal as refusal:
        if refusal.signed_out:
            raise
        return None
    count = int(job.get("data", {}).get("validationExampleCount", 0))
    return KeptBack(name, str(model.get("displayName") or identity), count) if count else None


async def _form(visit: Visit, typed: Mapping[str, str], error: str, chosen: Sequence[str] | None = None) -> Response:
    bases, tuned, listed = await asyncio.gather(
        base_models(visit), tuned_models(visit), visit.api.get(DATASETS, {"pageSize": _SHOWN_DATASETS})
    )
    base_choices = [Choice(str(each["name"]), str(each.get("displayName") or each["name"])) for each in bases]
    tuned_choices = [
        Choice(str(each["tunedModel"]), str(each.get("displayName") or each["tunedModel"])) for each in tuned
    ]
    models = _asked(visit, tuned, bases) if chosen is None else list(chosen)
    known = {each.name for each in (*base_choices, *tuned_choices)}
    first = [each for each in tuned if each["tunedModel"] in {name.partition("/checkpoints")[0] for name in models}]
    others = [each for each in tuned if each not in first]
    return visit.render(
        "evaluation_new.html",
        status=400 if error else 200,
        active="evaluations",
        places=range(MOST_MODELS),
        models=models,
        bases=base_choices,
        tuned=tuned_choices,
        # A checkpoint, or a model that is not in the lists, which are bounded.
        further=[name for name in models if name not in known],
        kept=await _kept_back_by(visit, [*first, *others]),
        datasets=[data for each in listed.get("datasets", ()) if _fits(data := staged_data(each))],
        typed=typed,
        error=error,
        request_id=typed.get("requestId") or secrets.token_hex(12),
    )


def _fits(data: StagedData) -> bool:
    return data.row_count > 0


def _asked(visit: Visit, tuned: Sequence[Json], bases: Sequence[Json]) -> list[str]:
    """The models of the address; one tuned model is compared with its base. With none, the newest is."""
    named = [name.strip() for each in visit.query.getlist("models") for name in each.split(",") if name.strip()]
    names = list(dict.fromkeys(name if "/" in name else f"tunedModels/{name}" for name in named))[:MOST_MODELS]
    if not names:
        names = [str(each["tunedModel"]) for each in tuned[:1]] or [str(each["name"]) for each in bases[:1]]
    if len(names) == 1:
        one = names[0].partition("/checkpoints")[0]
        base = next((str(each.get("baseModel", "")) for each in tuned if each["tunedModel"] == one), "")
        return [base, *names] if base else names
    return names


def _data_of(given: str) -> str:
    """The value in the list of examples for what an address names: a data set's id, or a choice as it is."""
    return given if ":" in given or not given else f"dataset:datasets/{given}"


PAGES = (
    Page("GET", "/evaluations/new", new),
    Page("POST", "/evaluations/new", begin),
)
