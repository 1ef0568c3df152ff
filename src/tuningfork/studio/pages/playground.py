"""The playground: the same prompts for several models, side by side."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from starlette.responses import JSONResponse, Response

from tuningfork.studio.frame.api_client import ApiRefusal
from tuningfork.studio.frame.visit import Page, Visit
from tuningfork.studio.pages.staged import DATASETS, base_models, tuned_models
from tuningfork.studio.view.staged_data import StagedData, staged_data
from tuningfork.studio.view.text_diff import text_diff

Json = Mapping[str, Any]

MOST_COLUMNS = 4
_MOST_PROMPTS = 20


@dataclass(frozen=True, slots=True)
class Choice:
    """A model that can be asked: its name in the API, what people call it, and the base model that it was tuned on."""

    name: str
    title: str
    base: str = ""


async def playground(visit: Visit) -> Response:
    """The chosen models, and the prompts in the address."""
    bases = [
        Choice(str(each["name"]), str(each.get("displayName") or each["name"])) for each in await base_models(visit)
    ]
    tuned = [
        Choice(
            str(each["tunedModel"]), str(each.get("displayName") or each["tunedModel"]), str(each.get("baseModel", ""))
        )
        for each in await tuned_models(visit)
    ]
    return visit.render(
        "playground.html",
        active="playground",
        bases=bases,
        tuned=tuned,
        columns=_columns(visit, {each.name: each for each in (*tuned, *bases)}, tuned, bases),
        places=range(MOST_COLUMNS),
        prompts=visit.query.getlist("p")[:_MOST_PROMPTS] or [""],
        corrections=await _corrections(visit),
    )


async def difference(visit: Visit) -> Response:
    """How one answer differs from another, for the playground's script: pieces of text, each with what became of it."""
    form = await visit.form()
    pieces = text_diff(form.get("before", ""), form.get("after", ""))
    return JSONResponse({"pieces": [{"text": piece.text, "change": piece.change} for piece in pieces]})


def _columns(visit: Visit, known: Mapping[str, Choice], tuned: list[Choice], bases: list[Choice]) -> list[Choice]:
    """The models of the address. One tuned model alone is shown beside its base; with none, the newest is."""
    asked = [name for each in visit.query.getlist("models") for name in each.split(",") if name.strip()]
    names = list(dict.fromkeys(_whole_name(name.strip()) for name in asked))[:MOST_COLUMNS]
    # A model that is not in the lists may be there all the same: they are bounded.
    chosen = [known.get(name) or Choice(name, name) for name in names] or [*tuned[:1], *([] if tuned else bases[:1])]
    if len(chosen) == 1 and chosen[0].base:
        base = chosen[0].base
        return [known.get(base) or Choice(base, base), *chosen]
    return chosen


def _whole_name(name: str) -> str:
    """The name in the API; a bare id is a tuned model's."""
    return name if "/" in name else f"tunedModels/{name}"


async def _corrections(visit: Visit) -> StagedData | None:
    """The data set that corrected answers go to; None: none has been corrected."""
    name = visit.query.get("data", "")
    if not name:
        return None
    try:
        return staged_data(await visit.api.get(visit.api.path(f"{DATASETS}/", name)))
    except ApiRefusal as refusal:
        if refusal.signed_out:
            raise
        return None


PAGES = (
    Page("GET", "/playground", playground),
    Page("POST", "/playground/difference", difference),
)
