"""The messages of Vertex AI's errors. They are those of the real service where these were observed."""

from dataclasses import replace
from functools import singledispatch

from tuningfork.domain.errors import (
    ApiKeyNotValid,
    CallerUnknown,
    Code,
    PermissionDenied,
    TuningforkError,
)
from tuningfork.domain.references import BaseRef, CheckpointRef, TunedRef
from tuningfork.domain.refusals import BaseModelNotFound, JobRef, PermissionRef, ProjectQuotaExceeded, ResourceNotFound
from tuningfork.wire.gemini.errors import message_of as gemini_message_of
from tuningfork.wire.gemini.names import name_of
from tuningfork.wire.google.errors import ErrorInfo, ErrorWords, Printed
from tuningfork.wire.vertex.service import SERVICE, VERSION
from tuningfork.wire.vertex.tuning_names import bare_base_name


class IamDenied(PermissionDenied):
    """The caller lacks a permission of Vertex AI's on a resource, which is named without its service."""

    def __init__(self, permission: str, resource: str) -> None:
        self.permission = f"{SERVICE.partition('.')[0]}.{permission}"
        self.resource = f"//{SERVICE}/{resource}"
        super().__init__(f"Permission '{self.permission}' denied on resource '{self.resource}' (or it may not exist).")

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.permission.partition(".")[2], self.resource.removeprefix(f"//{SERVICE}/"))


@singledispatch
def message_of(error: TuningforkError, version: str) -> str:
    """The message of an error to a caller of this version of the API."""
    return gemini_message_of(error, version)


@message_of.register
def _(error: IamDenied, _version: str) -> str:
    return error.message


@message_of.register
def _(error: ResourceNotFound, _version: str) -> str:
    match error.resource:
        case JobRef():
            kind = "TuningJob"
        case TunedRef() | CheckpointRef() | BaseRef():
            kind = "Model"
        case PermissionRef():
            kind = "Permission"
    return f"The {kind} does not exist."


@message_of.register
def _(_error: ProjectQuotaExceeded, _version: str) -> str:
    return "The following quota metrics exceed quota limits: aiplatform.googleapis.com/global_concurrent_tuning_jobs"


@message_of.register
def _(error: BaseModelNotFound, _version: str) -> str:
    return f"Base model {bare_base_name(name_of(error.model))} is not supported"


def _printed(error: TuningforkError, shown: Printed) -> Printed:
    """The error as Vertex AI prints it: 401 for missing and wrong credentials, since clients refresh theirs then."""
    match error:
        case CallerUnknown() | ApiKeyNotValid():
            return replace(shown, code=Code.UNAUTHENTICATED)
        case IamDenied():
            metadata = (("permission", error.permission), ("resource", error.resource))
            info = ErrorInfo(reason="IAM_PERMISSION_DENIED", domain=SERVICE, metadata=metadata)
            return replace(shown, info=info)
        case _:
            return shown


VERTEX_ERRORS = ErrorWords(
    service=SERVICE,
    usual_version=VERSION,
    about_quotas={
        "description": "Vertex AI quotas and limits",
        "url": "https://cloud.google.com/vertex-ai/docs/quotas",
    },
    message_of=message_of,
    finish=_printed,
)
"""The texts of Vertex AI's errors. Gemini's are used for faults that both have."""
