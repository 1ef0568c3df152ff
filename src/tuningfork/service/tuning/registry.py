"""The use cases of registered models: versions by their numbers, and the checkpoint that a version answers with."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime

from tuningfork.domain.errors import InvalidArgument
from tuningfork.domain.permission import Action, Principal
from tuningfork.domain.references import TunedRef
from tuningfork.domain.refusals import ModelNotUsable, Purpose
from tuningfork.domain.tuned_model import (
    DEFAULT_VERSION,
    MAX_REGISTERED_NAME_CHARACTERS,
    Changeable,
    ModelChange,
    ModelState,
    ProjectLocation,
)
from tuningfork.service.paging import Page, place_of, size_of, token_of
from tuningfork.service.tuning import violations
from tuningfork.service.tuning.registered import (
    NoSuchModel,
    Registered,
    check,
    key_of,
    listed,
    may,
    place_in,
    refused,
    version_of,
    versions_of,
)
from tuningfork.service.tuning.tuning import Tuning
from tuningfork.store import checkpoints, registry, tuned_models
from tuningfork.store.database import Database, Transaction

_NAMES = {Changeable.DISPLAY_NAME, Changeable.DESCRIPTION}


class Registry:
    """The use cases. `clock` gives the time of a change."""

    def __init__(self, database: Database, tuning: Tuning, clock: Callable[[], datetime]) -> None:
        self._database = database
        self._tuning = tuning
        self._clock = clock

    def version(
        self, principal: Principal, place: ProjectLocation, number: int, version: str = DEFAULT_VERSION
    ) -> Registered:
        """One version of the model with this number, by the version's number or alias.

        Raises:
            NotFound: there is no such version in this project and location, or the caller has no role on it.
            PermissionDenied: the caller may not read it.

        """
        with self._database.read() as connection:
            return version_of(connection, principal, place, number, version, Action.GET)

    def versions(self, principal: Principal, place: ProjectLocation, number: int) -> tuple[Registered, ...]:
        """All versions of the model with this number that the caller may read, the first one first.

        Raises:
            NotFound: there is none.

        """
        with self._database.read() as connection:
            found = tuple(
                each
                for each in versions_of(connection, place, number)
                if may(connection, principal, each.model.id, Action.GET)
            )
        if not found:
            raise NoSuchModel
        return found

    def list(
        self,
        principal: Principal,
        place: ProjectLocation,
        *,
        page_size: int | None,
        page_token: str,
        wanted: Callable[[Registered], bool],
        constant: str,
    ) -> Page[Registered]:
        """A page of the registered models of which `wanted` holds, each in its default version, the newest first.

        Args:
            principal: the caller, who sees the models on which they, their groups or their project have a role.
            place: the project and location.
            page_size: the requested size; None or 0: the default.
            page_token: the token of the previous page; "": the first page.
            wanted: which of them are shown.
            constant: what else must stay the same from page to page, such as the filter.

        Raises:
            InvalidArgument: the size is negative, or the token is not one of this list.

        """
        size = size_of(page_size)
        constant = f"models {place.project} {place.location} {constant}"
        shown: list[Registered] = []
        with self._database.read() as connection:
            after = place_in(place_of(page_token, constant, (int, str))) if page_token else None
            for each in listed(connection, principal, place, after):
                registered = _as_default(connection, place, each)
                if registered is not None and wanted(registered):
                    shown.append(registered)
                if len(shown) > size:
                    break
        token = token_of(key_of(shown[size - 1].model), constant) if len(shown) > size else ""
        return Page(tuple(shown[:size]), token)

    def callee(
        self, principal: Principal, place: ProjectLocation, number: int, version: str = DEFAULT_VERSION
    ) -> TunedRef:
        """The tuned model behind a model's number and version.

        Raises:
            NotFound: there is no such version, or the caller has no role on it.
            PermissionDenied: the caller may not ask it for text.

        """
        with self._database.read() as connection:
            found = version_of(connection, principal, place, number, version, Action.GENERATE)
            return TunedRef(found.model.id)

    def change(
        self,
        principal: Principal,
        place: ProjectLocation,
        number: int,
        version: str,
        change: ModelChange,
        default_checkpoint: int | None,
    ) -> Registered:
        """Change a version's display name or description, and which of its checkpoints it answers with.

        Raises:
            NotFound: there is no such version, or the caller has no role on it.
            PermissionDenied: the caller may not write it.
            FailedPrecondition: another checkpoint is wanted, and the model is not ACTIVE.
            InvalidArgument: everything that is wrong with the change; or there is no such checkpoint.

        """
        if found := violations.of_change(change, most_name_characters=MAX_REGISTERED_NAME_CHARACTERS):
            raise InvalidArgument(violations=found)
        with self._database.write() as connection:
            before = version_of(connection, principal, place, number, version, Action.UPDATE)
            tuned_models.hold(connection, before.model.id)
            before = version_of(connection, principal, place, number, version, Action.UPDATE)
            model = replace(before.model, update_time=self._clock())
            if default_checkpoint is not None:
                if model.state is not ModelState.ACTIVE:
                    raise ModelNotUsable(TunedRef(model.id), model.state, Purpose.CHOOSE_CHECKPOINT)
                _check_checkpoint(before, default_checkpoint)
                checkpoints.set_default(connection, model.id, default_checkpoint)
                model = replace(model, default_checkpoint=default_checkpoint)
            fields = change.fields & _NAMES
            model = replace(model, **{field.value: getattr(change, field.value) for field in fields})
            tuned_models.update(connection, model, fields)
        return replace(before, tuned=replace(before.tuned, model=model))

    def merge_aliases(
        self, principal: Principal, place: ProjectLocation, number: int, version: str, aliases: Sequence[str]
    ) -> Registered:
        """Give a version these aliases, taking them from other versions; `-name` takes an alias from this version.

        Raises:
            NotFound: there is no such version, or the caller has no role on it.
            PermissionDenied: the caller may not write all versions whose aliases change.
            InvalidArgument: the default alias would belong to no version, or to one that cannot be called.

        """
        removed = {each.removeprefix("-") for each in aliases if each.startswith("-")}
        added = [each for each in aliases if not each.startswith("-")]
        with self._database.write() as connection:
            target = version_of(connection, principal, place, number, version, Action.UPDATE)
            if DEFAULT_VERSION in added and not target.can_be_called:
                described = f"version {target.model.version} cannot be called, so it cannot be the default one"
                raise refused("version_aliases", described)
            if DEFAULT_VERSION in removed and target.is_default:
                described = f"{DEFAULT_VERSION} must belong to a version; give it to another one instead"
                raise refused("version_aliases", described)
            for each in registry.versions_of(connection, place, number):
                is_target = each.id == target.model.id
                gone = removed if is_target else set(added)
                kept = [name for name in each.version_aliases if name not in gone]
                wanted = [*kept, *(name for name in added if name not in kept)] if is_target else kept
                if wanted != list(each.version_aliases):
                    check(connection, principal, each.id, Action.UPDATE, NoSuchModel)
                    registry.set_aliases(connection, each.id, wanted)
            return version_of(connection, principal, place, number, str(target.model.version), Action.GET)

    def delete(self, principal: Principal, place: ProjectLocation, number: int) -> None:
        """Delete all registered versions of a model, with their jobs and all their files.

        Raises:
            NotFound: there is no such model, or the caller has no role on any version.
            PermissionDenied: the caller does not own all versions; nothing is deleted.

        """
        with self._database.read() as connection:
            # A version whose job has left no checkpoint is not registered yet; its job goes on.
            versions = [each.model for each in versions_of(connection, place, number)]
            if not any(may(connection, principal, each.id, Action.GET) for each in versions):
                raise NoSuchModel
            for each in versions:
                check(connection, principal, each.id, Action.DELETE, NoSuchModel)
        for each in versions:
            self._tuning.delete(principal, each.id)

    def delete_version(self, principal: Principal, place: ProjectLocation, number: int, version: str) -> None:
        """Delete one version. The default version can be deleted only if it is the last one.

        Raises:
            NotFound: there is no such version, or the caller has no role on it.
            PermissionDenied: the caller does not own it.
            InvalidArgument: it is the default version, and there are others.

        """
        with self._database.read() as connection:
            found = version_of(connection, principal, place, number, version, Action.DELETE)
            others = len(versions_of(connection, place, number)) > 1
        if others and found.is_default:
            described = f"version {found.model.version} is the default one; make another version the default first"
            raise refused("name", described)
        self._tuning.delete(principal, found.model.id)


def _as_default(connection: Transaction, place: ProjectLocation, found: Registered) -> Registered | None:
    """The model if it is registered and the default version of its number; else None."""
    if not found.checkpoints:
        return None
    if found.is_default and found.can_be_called:
        return found
    versions = versions_of(connection, place, found.model.registry_model)
    default = next((each for each in versions if each.is_default), None)
    return default if default is not None and default.model.id == found.model.id else None


def _check_checkpoint(registered: Registered, number: int) -> None:
    known = [each.number for each in registered.checkpoints]
    if number not in known:
        allowed = f"one of {', '.join(map(str, known))}" if len(known) > 1 else str(*known)
        described = f"default_checkpoint_id must be {allowed}; {number} was given"
        raise refused("default_checkpoint_id", described)
