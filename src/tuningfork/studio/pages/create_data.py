"""The first step of making a tuned model: where the examples come from."""

from importlib.resources import files

from starlette.responses import Response

from tuningfork.studio.frame.api_client import ApiRefusal
from tuningfork.studio.frame.visit import Page, Visit
from tuningfork.studio.pages.staged import DATASETS, base_models, data_of, dataset_path, refusal_text, step_path
from tuningfork.studio.view.staged_data import lines_of, staged_data

_EXAMPLE, _EXAMPLE_BASE = "numbers.csv", "models/tuningfork-mini-001"
_EMPTY_TABLE = b"text_input,output\n"
_SHOWN_DATASETS = "20"
_SHOWN_ROWS = "5"


async def choose_data(visit: Visit) -> Response:
    """The page that asks for examples, and lists the data that was begun earlier."""
    return await _chooser(visit)


async def stage_data(visit: Visit) -> Response:
    """Keep what the form holds as a data set, and go on with it."""
    form = await visit.form()
    pasted = form.get("text", "")
    match form.get("from"):
        case "example":
            content, name, step = (
                files("tuningfork.studio").joinpath(_EXAMPLE).read_bytes(),
                _EXAMPLE,
                "check",
            )
        case "typed":
            content, name, step = _EMPTY_TABLE, "typed.csv", "check"
        case _:
            content, name, step = pasted.encode(), "pasted.tsv", "data"
    query = {
        "name": name,
        "displayName": form.get("displayName", "").strip() or visit.texts(f"create.name.{_kind(name)}"),
    }
    try:
        made = staged_data(await visit.api.upload(DATASETS, content, query))
    except ApiRefusal as refusal:
        return await _chooser(visit, error=refusal_text(refusal), text=pasted)
    if name == _EXAMPLE and (
        bases := [each["name"] for each in await base_models(visit) if each["name"] == _EXAMPLE_BASE]
    ):
        # Fifteen examples of counting are enough for the base model that knows numbers, and for few others.
        path = visit.api.path(f"{DATASETS}/", made.id)
        await visit.api.send("PATCH", path, {"draft": {"settings": {"source": bases[0]}}})
    rest = "" if step == "data" else f"/{step}"
    return visit.redirect(visit.api.path("/create/", made.id, rest))


async def show_data(visit: Visit) -> Response:
    """What is in the data set, and its first rows."""
    data = await data_of(visit)
    query = {"start": "0", "count": _SHOWN_ROWS, "cellCharacters": "200"}
    window = await visit.api.get(dataset_path(visit, "/rows"), query)
    rows = [lines_of(row) for row in window.get("rows", ())]
    return visit.render("create_dataset.html", active="create", step="data", data=data, rows=rows)


async def change_data(visit: Visit) -> Response:
    """Give the data set another name, or delete it."""
    form = await visit.form()
    if form.get("action") == "delete":
        await visit.api.send("DELETE", dataset_path(visit))
        return visit.redirect("/create", notice=("create.deleted", {}))
    await visit.api.send("PATCH", dataset_path(visit), {"displayName": form.get("displayName", "").strip()})
    return visit.redirect(step_path(visit, "columns"))


async def _chooser(visit: Visit, *, error: str = "", text: str = "") -> Response:
    listed = await visit.api.get(DATASETS, {"pageSize": _SHOWN_DATASETS})
    return visit.render(
        "create_data.html",
        status=400 if error else 200,
        active="create",
        earlier=[staged_data(each) for each in listed.get("datasets", ())],
        error=error,
        text=text,
    )


def _kind(name: str) -> str:
    return name.partition(".")[0]


PAGES = (
    Page("GET", "/create", choose_data),
    Page("POST", "/create", stage_data),
    Page("GET", "/create/{dataset}", show_data),
    Page("POST", "/create/{dataset}", change_data),
)
