"""Who else may use, change or own a tuned model."""

from dataclasses import dataclass

from starlette.responses import Response

from tuningfork.studio.frame.api_client import ApiRefusal, Json
from tuningfork.studio.frame.visit import Page, Visit

_MODELS = "/v1beta/tunedModels/"
_ROLES = ("READER", "WRITER")


@dataclass(frozen=True, slots=True)
class Grant:
    """A role that somebody has. `id` is empty if nobody can take it away."""

    id: str
    kind: str
    email: str
    role: str


async def people_of(visit: Visit, identity: str) -> tuple[Grant, ...] | None:
    """Everybody with a role on the model; None: the visitor may not see them."""
    path = visit.api.path(_MODELS, identity, "/permissions")
    found: list[Json] = []
    token = ""
    try:
        while True:
            query = {"pageSize": "200", **({"pageToken": token} if token else {})}
            page = await visit.api.get(path, query)
            found.extend(page.get("permissions", ()))
            token = page.get("nextPageToken", "")
            if not token:
                break
    except ApiRefusal as error:
        if error.status == 403:
            return None
        raise
    grants = (
        Grant(
            id=str(each.get("name", "")).rpartition("/")[2],
            kind=str(each.get("granteeType", "USER")),
            email=str(each.get("emailAddress", "")),
            role=str(each.get("role", "")),
        )
        for each in found
    )
    return tuple(sorted(grants, key=lambda grant: (grant.role != "OWNER", grant.kind, grant.email)))


async def share(visit: Visit) -> Response:
    """Somebody gets a role."""
    identity, fields = visit.path["id"], await visit.form()
    kind = fields.get("kind") if fields.get("kind") in {"USER", "GROUP", "EVERYONE"} else "USER"
    body = {"granteeType": kind, "role": fields.get("role") if fields.get("role") in _ROLES else "READER"}
    email = fields.get("email", "").strip()
    if kind != "EVERYONE":
        body["emailAddress"] = email
    await visit.api.send("POST", visit.api.path(_MODELS, identity, "/permissions"), body)
    return _back(visit, "model.sharing.shared", visit.texts("model.sharing.everyone") if kind == "EVERYONE" else email)


async def change(visit: Visit) -> Response:
    """Somebody gets another role, or none any more."""
    identity, fields = visit.path["id"], await visit.form()
    path = visit.api.path(_MODELS, identity, "/permissions/", visit.path["permission"])
    if fields.get("role") in _ROLES:
        await visit.api.send("PATCH", path, {"role": fields["role"]}, {"updateMask": "role"})
        return _back(visit, "model.sharing.changed", fields.get("who", ""))
    await visit.api.send("DELETE", path)
    return _back(visit, "model.sharing.removed", fields.get("who", ""))


async def transfer(visit: Visit) -> Response:
    """The model belongs to somebody else; the visitor may change it still."""
    identity, fields = visit.path["id"], await visit.form()
    email = fields.get("email", "").strip()
    if fields.get("typed", "").strip() != fields.get("name", "").strip():
        return visit.redirect(f"/models/{identity}#sharing", ("model.sharing.differs", {}))
    path = visit.api.path(_MODELS, identity, ":transferOwnership")
    await visit.api.send("POST", path, {"emailAddress": email})
    return _back(visit, "model.sharing.transferred", email)


def _back(visit: Visit, notice: str, who: str) -> Response:
    return visit.redirect(f"/models/{visit.path['id']}#sharing", (notice, {"who": who}))


PAGES = (
    Page("POST", "/models/{id}/share", share),
    Page("POST", "/models/{id}/permissions/{permission}", change),
    Page("POST", "/models/{id}/transfer", transfer),
)
