"""Errors about models, jobs and permissions. Each has a reference, which every dialect names in its own way.

NotFound
├── ResourceNotFound         there is no such tuned model, job or permission
└── BaseModelNotFound        no base model of this name can be used for what was asked
AlreadyExists
├── ResourceTaken            the chosen id is taken
└── GranteeTaken             whom the permission is for has one already
PermissionDenied
└── RoleInsufficient         the caller's role on the tuned model does not allow the action
FailedPrecondition
├── BaseModelRefused         the base model's files cannot be used
├── ModelNotUsable           the tuned model is still being made, or has failed
├── WeightsLost              the tuned model's weights are missing on this server, or damaged
├── BaseReplaced             the tuned model's base has other weights now
└── JobUnfinished            the job has not ended
ResourceExhausted
└── ProjectQuotaExceeded     the project has as many tuning jobs as it may have
InvalidArgument
├── OwnershipFixed           an owner's permission is neither changed nor deleted
├── FeatureNotServed         the model does not have what the request asks for
└── LastTurnNotUsers         the conversation does not end with the user
"""

from dataclasses import dataclass
from enum import StrEnum

from tuningfork.domain.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
)
from tuningfork.domain.permission import Action, Permission, PermissionId
from tuningfork.domain.references import BaseRef, ModelRef, TunedRef
from tuningfork.domain.tuned_model import ModelState, TunedModelId
from tuningfork.domain.tuning_job import JobId


@dataclass(frozen=True, slots=True)
class JobRef:
    """The tuning job that makes a tuned model."""

    model: TunedModelId
    id: JobId


@dataclass(frozen=True, slots=True)
class PermissionRef:
    """A permission on a tuned model."""

    model: TunedModelId
    id: PermissionId


Resource = ModelRef | JobRef | PermissionRef
"""Everything that has a name in some dialect."""


class ResourceNotFound(NotFound):
    """There is no such tuned model, checkpoint, job or permission."""

    def __init__(self, resource: Resource) -> None:
        self.resource = resource
        super().__init__(f"{resource} does not exist")


class BaseModelNotFound(NotFound):
    """The named base model, or the base of the named tuned model, is not served or lacks the method."""

    def __init__(self, model: ModelRef) -> None:
        self.model = model
        super().__init__(f"{model} cannot be used for this")


class BaseModelRefused(FailedPrecondition):
    """The base model is served, and cannot be used because of what is in its files; `reason` says what to change."""

    def __init__(self, model: BaseRef, reason: str) -> None:
        self.model = model
        self.reason = reason
        super().__init__(f"{model} cannot be used: {reason}")


class ResourceTaken(AlreadyExists):
    """The chosen id is taken; pick another."""

    def __init__(self, resource: Resource) -> None:
        self.resource = resource
        super().__init__(f"{resource} exists already")


class GranteeTaken(AlreadyExists):
    """The grantee has a permission on the model already: `taken`."""

    def __init__(self, taken: Permission) -> None:
        self.taken = taken
        super().__init__(f"{taken.email or taken.grantee_type} has a permission already: {taken.role}")


class RoleInsufficient(PermissionDenied):
    """No role that the caller has on the tuned model allows the action."""

    def __init__(self, model: TunedRef, action: Action) -> None:
        self.model = model
        self.action = action
        super().__init__(f"no role of the caller on {model} allows to {action}")


class Purpose(StrEnum):
    """The uses of a tuned model for which it must be ACTIVE."""

    GENERATE = "generate"
    TUNE_ON = "tune on"
    EXPORT = "export"
    CHOOSE_CHECKPOINT = "choose a checkpoint of"


class ModelNotUsable(FailedPrecondition):
    """The tuned model is not ACTIVE: it is still being made, or its job has failed."""

    def __init__(self, model: TunedRef, state: ModelState, wanted_for: Purpose) -> None:
        self.model = model
        self.state = state
        self.wanted_for = wanted_for
        super().__init__(f"{model} is {state}, which is too early or too late to {wanted_for}")


class WeightsLost(FailedPrecondition):
    """The weights of a tuned model that was made are not on this server, or they are not what was written."""

    def __init__(self, model: ModelRef, *, missing: bool) -> None:
        self.model = model
        self.missing = missing
        super().__init__(f"the weights of {model} are {'missing' if missing else 'damaged'} on this server")


class BaseReplaced(FailedPrecondition):
    """The tuned model was made over other weights than its base model has on this server now."""

    def __init__(self, model: ModelRef) -> None:
        self.model = model
        super().__init__(f"{model} was made over other weights than its base has now")


class JobUnfinished(FailedPrecondition):
    """The job has not ended, and the called method would not stop it."""

    def __init__(self, job: JobRef) -> None:
        self.job = job
        super().__init__(f"{job} has not ended")


class OwnershipFixed(InvalidArgument):
    """The permission is the owner's, which can only change by a transfer of ownership."""

    def __init__(self, permission: PermissionRef) -> None:
        self.permission = permission
        super().__init__(f"{permission} is the owner's")


class Feature(StrEnum):
    """Features that some models lack."""

    JSON_MODE = "JSON mode"
    SYSTEM_INSTRUCTION = "system instructions"


class FeatureNotServed(InvalidArgument):
    """The model does not have what the request asks for."""

    def __init__(self, feature: Feature, model: ModelRef) -> None:
        self.feature = feature
        self.model = model
        super().__init__(f"{model} has no {feature}")


class LastTurnNotUsers(InvalidArgument):
    """The last turn of the conversation is not the user's."""

    def __init__(self) -> None:
        super().__init__("the last turn must be the user's")


class ProjectQuotaExceeded(ResourceExhausted):
    """The project has as many tuning jobs as it may have."""

    def __init__(self, most: int) -> None:
        super().__init__(f"A project may have {most} tuning jobs at a time; try again when one of them has ended.")
        self.most = most
