"""Programs that ask a model, ready to be copied."""

from urllib.parse import urlsplit

from starlette.responses import Response

from tuningfork.studio.frame.visit import Page, Visit
from tuningfork.studio.view.code_snippets import KEY_VARIABLE, ModelCall, code_snippets

_USUAL_PROMPT = "LXIII"


async def get_code(visit: Visit) -> Response:
    """The programs for a tuned model, with the prompt and the temperature of the form."""
    model_id = visit.path["id"]
    job = await visit.api.get(visit.api.path("/tuningfork/v1/tunedModels/", model_id, "/job"))
    temperature = visit.query.get("temperature", "0")
    call = ModelCall(
        address=server_address(visit),
        model=f"tunedModels/{model_id}",
        prompt=visit.query.get("prompt", _USUAL_PROMPT),
        temperature=_number(temperature),
    )
    return visit.render(
        "get_code.html",
        active="library",
        model_id=model_id,
        title=str(job.get("displayName") or model_id),
        call=call,
        temperature=temperature,
        snippets=code_snippets(call),
        key_variable=KEY_VARIABLE,
    )


def server_address(visit: Visit) -> str:
    """Where programs reach the API: where the browser reaches the Studio, unless the two are separate servers."""
    api = visit.api.api.url
    listens_at = (visit.request.scope.get("server") or ("", None))[1]
    if urlsplit(api).port != listens_at:
        return api
    return f"{visit.request.url.scheme}://{visit.request.url.netloc}"


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 <= value <= 2 else None


PAGES = (Page("GET", "/models/{id}/code", get_code),)
