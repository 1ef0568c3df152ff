"""The messages of the Gemini API's errors. They are those of the real service where these were observed."""

from functools import singledispatch

from tuningfork.domain.errors import TuningforkError
from tuningfork.domain.permission import Action, Role
from tuningfork.domain.references import BaseRef, CheckpointRef, TunedRef
from tuningfork.domain.refusals import (
    BaseModelNotFound,
    BaseModelRefused,
    BaseReplaced,
    Feature,
    FeatureNotServed,
    GranteeTaken,
    JobRef,
    JobUnfinished,
    LastTurnNotUsers,
    ModelNotUsable,
    OwnershipFixed,
    PermissionRef,
    Purpose,
    Resource,
    ResourceNotFound,
    ResourceTaken,
    RoleInsufficient,
    WeightsLost,
)
from tuningfork.domain.tuned_model import ModelState
from tuningfork.wire.gemini.names import name_of, tuned_name
from tuningfork.wire.gemini.service import SERVICE
from tuningfork.wire.google.errors import ErrorWords
from tuningfork.wire.google.requests import BaseModelUnsupported
from tuningfork.wire.google.sentences import sentence_of

_FEATURES = {Feature.JSON_MODE: "JSON mode", Feature.SYSTEM_INSTRUCTION: "Developer instruction"}


@singledispatch
def message_of(error: TuningforkError, version: str) -> str:  # noqa: ARG001 - most errors tell no version
    """The message of an error to a caller of this version of the API."""
    return sentence_of(error, SERVICE)


@message_of.register
def _(error: ResourceNotFound, _version: str) -> str:
    if isinstance(error.resource, CheckpointRef):
        return f"Checkpoint {error.resource.number} of {name_of(error.resource)} does not exist."
    return f"{_kind(error.resource)} {name_of(error.resource)} does not exist."


@message_of.register
def _(error: BaseModelNotFound, version: str) -> str:
    method = error.method if isinstance(error, BaseModelUnsupported) else "generateContent"
    return (
        f"{name_of(error.model)} is not found for API version {version}, or is not supported for {method}. "
        "Call ListModels to see the list of available models and their supported methods."
    )


@message_of.register
def _(error: BaseModelRefused, _version: str) -> str:
    return f"Model {name_of(error.model)} cannot be used on this server: {error.reason}."


@message_of.register
def _(error: ResourceTaken, _version: str) -> str:
    return f"{_kind(error.resource)} {name_of(error.resource)} already exists."


@message_of.register
def _(error: GranteeTaken, _version: str) -> str:
    taken = error.taken
    advice = "It may do everything." if taken.role is Role.OWNER else "Change its role, or delete it first."
    return (
        f"A permission for {taken.email or 'EVERYONE'} on {tuned_name(taken.model_id)} already exists: "
        f"{name_of(PermissionRef(taken.model_id, taken.id))} ({taken.grantee_type.value}, {taken.role.value}). {advice}"
    )


@message_of.register
def _(error: RoleInsufficient, _version: str) -> str:
    if error.action is Action.TRANSFER:
        return "You need to be the owner of the resource to transfer ownership"
    return f"You do not have permission to access tuned model {name_of(error.model)}"


@message_of.register
def _(error: ModelNotUsable, _version: str) -> str:
    name, state = name_of(error.model), error.state.value
    match error.wanted_for:
        case Purpose.GENERATE:
            fault = "is not ready" if error.state is ModelState.CREATING else "cannot be used"
            return f"Tuned model {name} {fault} for inference: its state is {state}."
        case Purpose.TUNE_ON:
            return f"Tuned model {name} cannot be tuned further: its state is {state}, and it must be ACTIVE."
        case Purpose.EXPORT:
            return f"Tuned model {name} has no adapter: its state is {state}."
        case Purpose.CHOOSE_CHECKPOINT:
            return f"Tuned model {name} has no checkpoint to choose yet: its state is {state}, and it must be ACTIVE."


@message_of.register
def _(error: WeightsLost, _version: str) -> str:
    fault = "missing on this server" if error.missing else "damaged"
    return (
        f"Tuned model {name_of(error.model)} cannot be used: its weights are {fault}. The server's operator can "
        "restore them from a backup; without one, delete the model and tune it again."
    )


@message_of.register
def _(error: BaseReplaced, _version: str) -> str:
    return (
        f"Tuned model {name_of(error.model)} cannot be used: it was made over other weights than its base model has on "
        "this server now. The server's operator can put the earlier weights back, and serve the new ones under another "
        "name; or delete the model and tune it again."
    )


@message_of.register
def _(error: JobUnfinished, _version: str) -> str:
    return (
        f"Operation {name_of(error.job)} has not ended, and deleting it would not stop it. "
        f"Cancel it, or delete {tuned_name(error.job.model)}."
    )


@message_of.register
def _(error: OwnershipFixed, _version: str) -> str:
    return (
        f"Permission {name_of(error.permission)} is the owner's; it can be neither changed nor deleted. "
        "tunedModels.transferOwnership makes somebody else the owner."
    )


@message_of.register
def _(error: FeatureNotServed, _version: str) -> str:
    return f"{_FEATURES[error.feature]} is not enabled for {name_of(error.model)}"


@message_of.register
def _(_error: LastTurnNotUsers, _version: str) -> str:
    return "Please ensure that multiturn requests ends with a user role or a function response"


def _kind(resource: Resource) -> str:
    match resource:
        case TunedRef() | CheckpointRef():
            return "Tuned model"
        case BaseRef():
            return "Model"
        case PermissionRef():
            return "Permission"
        case JobRef():
            return "Operation"


GEMINI_ERRORS = ErrorWords(
    service=SERVICE,
    usual_version="v1beta",
    about_quotas={
        "description": "Learn more about Gemini API quotas",
        "url": "https://ai.google.dev/gemini-api/docs/rate-limits",
    },
    message_of=message_of,
)
"""The texts of the Gemini API's errors. The link is that of the real service's errors about quotas."""
