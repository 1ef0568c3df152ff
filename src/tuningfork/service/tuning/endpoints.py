"""The use cases of endpoints: each checkpoint is called at one of its own, also while its job still trains."""

from collections.abc import Callable, Iterator
from dataclasses import replace

from tuningfork.domain.permission import Action, Principal
from tuningfork.domain.references import CheckpointRef
from tuningfork.domain.tuned_model import ProjectLocation
from tuningfork.service.paging import Page, place_of, size_of, token_of
from tuningfork.service.tuning.registered import (
    NoSuchEndpoint,
    Registered,
    Served,
    check,
    key_of,
    listed,
    may,
    place_in,
    refused,
    registered_of,
    served_at,
)
from tuningfork.store import registry, tuned_models
from tuningfork.store.database import Database, Transaction


class Endpoints:
    """The use cases."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, principal: Principal, place: ProjectLocation, endpoint: int) -> Served:
        """The endpoint with this number.

        Raises:
            NotFound: there is no such endpoint in this project and location, or the caller has no role on its model.
            PermissionDenied: the caller may not read it.

        """
        with self._database.read() as connection:
            return served_at(connection, principal, place, endpoint, Action.GET)

    def callee(self, principal: Principal, place: ProjectLocation, endpoint: int) -> CheckpointRef:
        """The checkpoint that is called at an endpoint.

        Raises:
            NotFound: there is no such endpoint, nothing is deployed there, or the caller has no role on its model.
            PermissionDenied: the caller may not ask it for text.

        """
        with self._database.read() as connection:
            found = registry.find_endpoint(connection, place, endpoint)
            if found is None or not found[1].is_deployed:
                raise NoSuchEndpoint
            model, checkpoint = found
            check(connection, principal, model.id, Action.GENERATE, NoSuchEndpoint)
            return CheckpointRef(model.id, checkpoint.number)

    def list(
        self,
        principal: Principal,
        place: ProjectLocation,
        *,
        page_size: int | None,
        page_token: str,
        wanted: Callable[[Served], bool],
        constant: str,
    ) -> Page[Served]:
        """A page of the endpoints of registered models, as `Registry.list`; a model's last checkpoint's comes first."""
        size = size_of(page_size)
        constant = f"endpoints {place.project} {place.location} {constant}"
        shown: list[Served] = []
        with self._database.read() as connection:
            for each in _endpoints(connection, principal, place, page_token, constant):
                if wanted(each):
                    shown.append(each)
                if len(shown) > size:
                    break
        if len(shown) <= size:
            return Page(tuple(shown), "")
        last = shown[size - 1]
        return Page(tuple(shown[:size]), token_of([*key_of(last.registered.model), last.checkpoint.number], constant))

    def undeploy(self, principal: Principal, place: ProjectLocation, endpoint: int, deployed: str) -> Served:
        """Take what is deployed from an endpoint; requests there are not answered any more. Its weights stay.

        Raises:
            NotFound: there is no such endpoint, or the caller has no role on its model.
            PermissionDenied: the caller may not write the model.
            InvalidArgument: nothing with this id is deployed there.

        """
        with self._database.write() as connection:
            served = served_at(connection, principal, place, endpoint, Action.UPDATE)
            if not (served.checkpoint.is_deployed and deployed == str(endpoint)):
                described = f"deployed_model_id must be that of a model deployed at the endpoint; {deployed!r} is none"
                raise refused("deployed_model_id", described)
            return _set_deployed(connection, served, is_deployed=False)

    def deploy(self, principal: Principal, place: ProjectLocation, endpoint: int) -> Served:
        """Deploy an endpoint's own checkpoint there again, after somebody has undeployed it.

        Raises:
            NotFound: there is no such endpoint, or the caller has no role on its model.
            PermissionDenied: the caller may not write the model.

        """
        with self._database.write() as connection:
            served = served_at(connection, principal, place, endpoint, Action.UPDATE)
            return _set_deployed(connection, served, is_deployed=True)

    def delete(self, principal: Principal, place: ProjectLocation, endpoint: int) -> None:
        """Remove an endpoint at which nothing is deployed.

        Raises:
            NotFound: there is no such endpoint, or the caller has no role on its model.
            PermissionDenied: the caller may not write the model.
            InvalidArgument: something is deployed there.

        """
        with self._database.write() as connection:
            served = served_at(connection, principal, place, endpoint, Action.UPDATE)
            if served.checkpoint.is_deployed:
                raise refused("name", "a model is deployed at the endpoint; undeploy it first")
            registry.remove_endpoint(connection, served.checkpoint)


def _set_deployed(connection: Transaction, served: Served, *, is_deployed: bool) -> Served:
    registry.set_deployed(connection, served.checkpoint, deployed=is_deployed)
    return replace(served, checkpoint=replace(served.checkpoint, is_deployed=is_deployed))


def _endpoints(
    connection: Transaction, principal: Principal, place: ProjectLocation, page_token: str, constant: str
) -> Iterator[Served]:
    """The endpoints of all models from the page's begin on."""
    after = None
    if page_token:
        *key, number = place_of(page_token, constant, (int, str, int))
        after = place_in(key)
        begun = tuned_models.find(connection, after.model_id)
        if begun is not None and may(connection, principal, begun.id, Action.GET):
            yield from _served_by(registered_of(connection, [begun])[0], before=int(number))
    for each in listed(connection, principal, place, after):
        yield from _served_by(each)


def _served_by(registered: Registered, before: int | None = None) -> Iterator[Served]:
    """The endpoints of a model's checkpoints, of the last one first; those of lower numbers than `before` only."""
    for checkpoint in reversed(registered.checkpoints):
        if checkpoint.has_endpoint and (before is None or checkpoint.number < before):
            yield Served(registered=registered, checkpoint=checkpoint)
