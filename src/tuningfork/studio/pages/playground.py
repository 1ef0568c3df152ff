"""The playground: the same prompts for several models and checkpoints of them, side by side."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.responses import JSONResponse, Response

from tuningfork.studio.frame.api_client import ApiRefusal
from tuningfork.studio.frame.visit import Page, Visit
from tuningfork.studio.pages.staged import DATASETS, base_models, tuned_models
from tuningfork.studio.view.answer_limits import answer_limits
from tuningfork.studio.view.staged_data import StagedData, staged_data
from tuningfork.studio.view.text_diff import text_diff

Json = Mapping[str, Any]

MOST_COLUMNS = 4
_MOST_PROMPTS = 20
_OWN = "/tuningfork/v1"
_CHECKPOINTS = "/checkpoints/"


@dataclass(frozen=True, slots=True)
class Choice:
    """A model, or a checkpoint of one, that can be asked: its name in the API, what people call it, and its base."""

    name: str
    title: str
    base: str = ""

    @property
    def model(self) -> str:
        """The name of the model; that of a checkpoint is the model's with its number behind."""
        return self.name.partition(_CHECKPOINTS)[0]

    @property
    def path(self) -> str:
        """Where it is asked, without the verb."""
        return f"{_OWN if _CHECKPOINTS in self.name else '/v1beta'}/{self.name}"


async def playground(visit: Visit) -> Response:
    """The chosen models, and the prompts in the address."""
    listed_bases, listed_tuned, told = await asyncio.gather(base_models(visit), tuned_models(visit), _limits(visit))
    bases = [
        Choice(str(each["name"]), str(each.get("displayName") or each["name"]), str(each["name"]))
        for each in listed_bases
    ]
    tuned = [
        Choice(
            str(each["tunedModel"]), str(each.get("displayName") or each["tunedModel"]), str(each.get("baseModel", ""))
        )
        for each in listed_tuned
    ]
    known = {each.name: each for each in (*tuned, *bases)}
    columns = _columns(visit, known, tuned, bases)
    checkpoints = await _checkpoints(visit, columns, known)
    columns = [checkpoints.get(each.name, each) for each in columns]
    return visit.render(
        "playground.html",
        active="playground",
        bases=bases,
        tuned=tuned,
        checkpoints=list(checkpoints.values()),
        columns=columns,
        limits=answer_limits([(each.title, each.base) for each in columns], told),
        places=range(MOST_COLUMNS),
        prompts=visit.query.getlist("p")[:_MOST_PROMPTS] or [""],
        corrections=await _corrections(visit),
    )


async def _limits(visit: Visit) -> Json:
    """What requests to each base model may contain; empty: a server of an earlier version does not tell it."""
    try:
        return await visit.api.get(f"{_OWN}/models")
    except ApiRefusal as refusal:
        if refusal.signed_out or refusal.status != 404:
            raise
        return {}


async def _checkpoints(visit: Visit, columns: Sequence[Choice], known: Mapping[str, Choice]) -> dict[str, Choice]:
    """The checkpoints of the tuned models that are shown, by name; none of a model that has only one."""
    models = list(dict.fromkeys(each.model for each in columns if each.model.startswith("tunedModels/")))
    found = await asyncio.gather(*(_checkpoints_of(visit, known.get(name) or Choice(name, name)) for name in models))
    return {each.name: each for those in found for each in those}


async def _checkpoints_of(visit: Visit, model: Choice) -> list[Choice]:
    path = visit.api.path(f"{_OWN}/tunedModels/", model.name.removeprefix("tunedModels/"), "/checkpoints")
    try:
        kept = (await visit.api.get(path)).get("checkpoints", ())
    except ApiRefusal as refusal:
        if refusal.signed_out or refusal.status >= 500:
            raise
        return []
    if len(kept) < 2:
        return []
    titles = [(each, visit.texts("playground.step", name=model.title, step=int(each.get("step", 0)))) for each in kept]
    return [
        Choice(f"{model.name}{_CHECKPOINTS}{int(each.get('number', 0))}", title, model.base) for each, title in titles
    ]


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
    chosen = [known.get(name) or _unlisted(name, known) for name in names] or (tuned or bases)[:1]
    if len(chosen) == 1 and chosen[0].base not in {"", chosen[0].name}:
        base = chosen[0].base
        return [known.get(base) or Choice(base, base), *chosen]
    return chosen


def _unlisted(name: str, known: Mapping[str, Choice]) -> Choice:
    model = known.get(name.partition(_CHECKPOINTS)[0])
    return Choice(name, name, "" if model is None else model.base)


def _whole_name(name: str) -> str:
    """The name in the API; a bare id, also before a checkpoint's number, is a tuned model's."""
    return f"tunedModels/{name}" if "/" not in name.partition(_CHECKPOINTS)[0] else name


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
