"""Registered models and endpoints as their use cases read them: found by numbers, and only by those who may know.

A model is registered from its first checkpoint on, which may be while its job still trains. Whoever has no role on a
model is told that there is none.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from tuningfork.domain.checkpoint import Checkpoint
from tuningfork.domain.errors import FieldViolation, InvalidArgument, NotFound, Reason
from tuningfork.domain.permission import Action, Principal
from tuningfork.domain.refusals import ResourceNotFound, RoleInsufficient
from tuningfork.domain.tuned_model import DEFAULT_VERSION, ModelState, ProjectLocation, TunedModel, TunedModelId
from tuningfork.service.identity.keys import model_for
from tuningfork.service.paging import made_up
from tuningfork.service.tuning.tuned import Tuned, with_jobs
from tuningfork.store import checkpoints, registry, tuned_models
from tuningfork.store.database import Transaction

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_SCANNED = 50
"""How many models are read at a time, to find those that a filter holds of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Registered:
    """One version of a model: the tuned model with its job, and its checkpoints in the order of their numbers."""

    tuned: Tuned
    checkpoints: tuple[Checkpoint, ...]

    @property
    def model(self) -> TunedModel:
        """The tuned model."""
        return self.tuned.model

    @property
    def default(self) -> Checkpoint | None:
        """The checkpoint that the model answers with; None as long as its job trains."""
        wanted = self.model.default_checkpoint
        return next((each for each in self.checkpoints if each.number == wanted), None)

    @property
    def can_be_called(self) -> bool:
        """Whether the model answers by its name; before, each checkpoint answers at its own endpoint alone."""
        return self.model.state is ModelState.ACTIVE

    @property
    def is_default(self) -> bool:
        """Whether it is the default version of its number."""
        return DEFAULT_VERSION in self.model.version_aliases


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """An endpoint: the checkpoint that is called there, and its model."""

    registered: Registered
    checkpoint: Checkpoint


class NoSuchModel(NotFound):
    """There is no such model, or no such version, or nobody with the caller's roles may know."""

    def __init__(self) -> None:
        super().__init__("The Model does not exist.")


class NoSuchEndpoint(NotFound):
    """There is no such endpoint, or nobody with the caller's roles may know."""

    def __init__(self) -> None:
        super().__init__("The Endpoint does not exist.")


def may(connection: Transaction, principal: Principal, model_id: TunedModelId, action: Action) -> bool:
    """Whether one of the caller's roles on the model allows this."""
    try:
        model_for(connection, principal, model_id, action)
    except (ResourceNotFound, RoleInsufficient):
        return False
    return True


def check(
    connection: Transaction, principal: Principal, model_id: TunedModelId, action: Action, missing: type[NotFound]
) -> None:
    """Check that the caller may do this; `missing` is raised if they have no role on the model at all.

    The weakest role allows reading.
    """
    if not may(connection, principal, model_id, Action.GET):
        raise missing
    model_for(connection, principal, model_id, action)


def version_of(
    connection: Transaction, principal: Principal, place: ProjectLocation, number: int, version: str, action: Action
) -> Registered:
    """One version of the model with this number, by the version's number or alias.

    Raises:
        NotFound: there is no such version here, or the caller has no role on it.
        PermissionDenied: the caller may not do this.

    """
    versions = versions_of(connection, place, number)
    named = (each for each in versions if version in (str(each.model.version), *each.model.version_aliases))
    found = next(named, None)
    if found is None:
        raise NoSuchModel
    check(connection, principal, found.model.id, action, NoSuchModel)
    return found


def versions_of(connection: Transaction, place: ProjectLocation, number: int) -> tuple[Registered, ...]:
    """All registered versions of the model with this number, the first one first; empty if there is none here.

    As long as the version that is to be the default one cannot be called, since its job still trains or has failed, the
    newest of those that can be called is the default one; if there is none, the newest of all.
    """
    found = registered_of(connection, registry.versions_of(connection, place, number))
    registered = tuple(each for each in found if each.checkpoints)
    chosen = [each for each in registered if each.is_default]
    if not registered or (chosen and chosen[0].can_be_called):
        return registered
    able = [each for each in registered if each.can_be_called]
    default = (able or chosen or list(registered))[-1]
    return tuple(_with_default(each, is_default=each is default) for each in registered)


def _with_default(found: Registered, *, is_default: bool) -> Registered:
    """The version, as the default one or not."""
    others = tuple(name for name in found.model.version_aliases if name != DEFAULT_VERSION)
    model = replace(found.model, version_aliases=(*others, DEFAULT_VERSION) if is_default else others)
    return replace(found, tuned=replace(found.tuned, model=model))


def served_at(
    connection: Transaction, principal: Principal, place: ProjectLocation, endpoint: int, action: Action
) -> Served:
    """The endpoint with this number.

    Raises:
        NotFound: there is no such endpoint here, or the caller has no role on its model.
        PermissionDenied: the caller may not do this.

    """
    found = registry.find_endpoint(connection, place, endpoint)
    if found is None:
        raise NoSuchEndpoint
    model, checkpoint = found
    check(connection, principal, model.id, action, NoSuchEndpoint)
    [registered] = registered_of(connection, [model])
    return Served(registered=registered, checkpoint=checkpoint)


def registered_of(connection: Transaction, models: Sequence[TunedModel]) -> tuple[Registered, ...]:
    """Each of these models with its job and checkpoints."""
    return tuple(
        Registered(tuned=tuned, checkpoints=checkpoints.checkpoints_of(connection, tuned.job.id))
        for tuned in with_jobs(connection, models, snapshots=False)
    )


def listed(
    connection: Transaction,
    principal: Principal,
    place: ProjectLocation,
    after: tuned_models.Place | None,
) -> Iterator[Registered]:
    """The models of a project and location on which the caller has a role, the newest first."""
    while True:
        search = tuned_models.Search(
            principal=principal, belonging_to=place, newest_first=True, after=after, limit=_SCANNED
        )
        found = tuned_models.search(connection, search)
        yield from registered_of(connection, found)
        if len(found) < _SCANNED:
            return
        after = tuned_models.Place(create_time=found[-1].create_time, model_id=found[-1].id)


def key_of(model: TunedModel) -> list[str | int]:
    """Where the model is in lists, for the token of a page."""
    return [(model.create_time - _EPOCH) // _MICROSECOND, model.id]


def place_in(key: Sequence[str | int]) -> tuned_models.Place:
    """The place of a model in lists, from what `key_of` made.

    Raises:
        InvalidArgument: it was made by somebody else.

    """
    microseconds, model_id = key
    try:
        create_time = _EPOCH + int(microseconds) * _MICROSECOND
    except OverflowError as error:
        raise made_up() from error
    return tuned_models.Place(create_time=create_time, model_id=TunedModelId(str(model_id)))


def refused(field: str, description: str) -> InvalidArgument:
    """The error about one field of a request."""
    violation = FieldViolation(field=field, description=description, reason=Reason.NOT_ALLOWED)
    return InvalidArgument(violations=(violation,))
