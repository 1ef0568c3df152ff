"""What the server does: jobs in turn, engines, work, errors, the disk; keys and sessions, made and ended.

Operators see everything. Everybody else sees the jobs, the keys and the sessions that are their own.
"""

import asyncio
from dataclasses import dataclass
from http import HTTPStatus

from starlette.responses import Response

from tuningfork.studio.frame.api_client import ApiRefusal, Json
from tuningfork.studio.frame.session import fits_a_header
from tuningfork.studio.frame.visit import Page, Visit
from tuningfork.studio.view import operations as view

_OWN = "/tuningfork/v1"
_EVERY_MS = 5_000
_WRONG_KEY = {HTTPStatus.BAD_REQUEST, HTTPStatus.UNAUTHORIZED}


async def operations(visit: Visit) -> Response:
    """The page."""
    queue = await visit.api.get(f"{_OWN}/queue")
    everybodys = bool(queue.get("everybodys"))
    engines, keys, sessions = await asyncio.gather(
        visit.api.get(f"{_OWN}/engines") if everybodys else _nothing(),
        visit.api.get(f"{_OWN}/keys"),
        visit.api.get(f"{_OWN}/sessions", {"everybodys": "true"} if everybodys else {}),
    )
    disk = engines.get("disk", {})
    return visit.render(
        "operations.html",
        every_ms=_EVERY_MS,
        active="operations",
        everybodys=everybodys,
        jobs=view.queued_jobs(queue, visit.texts, visit.now),
        job_count=int(queue.get("totalSize", 0)),
        trainer=engines.get("trainer", {}),
        generator=engines.get("generator", {}),
        processes=engines.get("processes", ()),
        bars=view.bars_of(engines.get("minutes", ()), visit.now),
        minutes=[*reversed(engines.get("minutes", ()))],
        errors=sorted(engines.get("errors", ()), key=lambda each: str(each.get("lastTime", "")), reverse=True),
        kept=view.kept_of(disk),
        free_bytes=disk.get("freeBytes"),
        keys=view.keys_of(keys, visit.texts),
        sessions=[
            {**each, "browser": view.browser_of(str(each.get("displayName", "")))}
            for each in sessions.get("sessions", ())
        ],
    )


async def _nothing() -> Json:
    return {}


async def cancel(visit: Visit) -> Response:
    """The job stops after its step, or ends at once if it waits."""
    await visit.api.send("POST", visit.api.path(f"{_OWN}/queue/", visit.path["id"], ":cancel"))
    return visit.redirect("/operations", ("operations.jobs.told", {}))


@dataclass(frozen=True, slots=True)
class _Typed:
    """What somebody has typed into the form for a new key, and what was wrong with it, by field."""

    name: str = ""
    email: str = ""
    project: str = ""
    error: str = ""
    key_error: str = ""


async def ask_new_key(visit: Visit) -> Response:
    """The form for a new key."""
    return await _key_form(visit, _Typed())


async def make_key(visit: Visit) -> Response:
    """A new key, which this page shows and no other.

    A session makes no keys, since a key outlasts it. So the visitor types the key once more with which it is made.
    """
    fields = await visit.form()
    typed = _Typed(*(fields.get(name, "").strip() for name in ("name", "email", "project")))
    secret = fields.get("key", "").strip()
    with_secret = visit.api
    if visit.cookies.credential is not None:
        if not fits_a_header(secret):
            said = visit.texts("sign_in.unknown" if secret else "sign_in.empty")
            return await _key_form(visit, _with_key_error(typed, said))
        with_secret = visit.api.api.called_by(secret, visit.api.address)
    body = {"displayName": typed.name, "email": typed.email, "project": typed.project}
    try:
        made = await with_secret.send("POST", f"{_OWN}/keys", {name: value for name, value in body.items() if value})
    except ApiRefusal as refusal:
        if refusal.signed_out or (refusal.status in _WRONG_KEY and "API key" in refusal.message):
            return await _key_form(visit, _with_key_error(typed, visit.texts("sign_in.unknown")))
        told = _Typed(typed.name, typed.email, typed.project, error=refusal.message)
        return await _key_form(visit, told)
    key = view.key_of(made, visit.texts)
    return visit.render("operations_new_key.html", active="operations", made=key, secret=str(made.get("key", "")))


def _with_key_error(typed: _Typed, said: str) -> _Typed:
    return _Typed(typed.name, typed.email, typed.project, key_error=said)


async def _key_form(visit: Visit, typed: _Typed) -> Response:
    caller = await visit.api.get(f"{_OWN}/caller")
    wrong = bool(typed.error or typed.key_error)
    return visit.render(
        "operations_new_key.html",
        status=HTTPStatus.BAD_REQUEST if wrong else HTTPStatus.OK,
        active="operations",
        made=None,
        typed=typed,
        for_others=bool(caller.get("operator")),
        asks_for_key=visit.cookies.credential is not None,
    )


async def ask_revoke(visit: Visit) -> Response:
    """The question whether to revoke a key."""
    return await _revoke_form(visit, "")


async def revoke(visit: Visit) -> Response:
    """The key is refused from now on, once its name was typed."""
    fields = await visit.form()
    key = await _key(visit)
    if key is not None and fields.get("typed", "").strip() not in {key.name.strip(), key.id}:
        return await _revoke_form(visit, visit.texts("model.delete.differs", name=key.name))
    await visit.api.send("POST", visit.api.path(f"{_OWN}/keys/", visit.path["id"], ":revoke"))
    return visit.redirect("/operations#keys", ("operations.keys.revoked_told", {"name": key.name if key else ""}))


async def _key(visit: Visit) -> view.Key | None:
    found = view.keys_of(await visit.api.get(f"{_OWN}/keys"), visit.texts)
    return next((key for key in found if key.id == visit.path["id"]), None)


async def _revoke_form(visit: Visit, error: str) -> Response:
    key = await _key(visit)
    if key is None:
        raise ApiRefusal(HTTPStatus.NOT_FOUND, "NOT_FOUND", f"API key {visit.path['id']} does not exist.")
    status = HTTPStatus.BAD_REQUEST if error else HTTPStatus.OK
    return visit.render("operations_revoke.html", status=status, active="operations", key=key, error=error)


async def end_session(visit: Visit) -> Response:
    """The session ends for every tab that has it."""
    await visit.api.send("DELETE", visit.api.path(f"{_OWN}/sessions/", visit.path["id"]))
    return visit.redirect("/operations#sessions", ("operations.sessions.told", {}))


PAGES = (
    Page("GET", "/operations", operations),
    Page("POST", "/operations/jobs/{id}/cancel", cancel),
    Page("GET", "/operations/keys/new", ask_new_key),
    Page("POST", "/operations/keys/new", make_key),
    Page("GET", "/operations/keys/{id}/revoke", ask_revoke),
    Page("POST", "/operations/keys/{id}/revoke", revoke),
    Page("POST", "/operations/sessions/{id}/end", end_session),
)
