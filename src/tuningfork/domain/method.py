"""The methods of the API by their full names."""

from enum import StrEnum

_GEMINI = "google.ai.generativelanguage.v1beta"
_OPERATIONS = "google.longrunning.Operations"


class Method(StrEnum):
    """A method, named as its interface definition names it; ours begin with `tuningfork.v1`."""

    LIST_MODELS = f"{_GEMINI}.ModelService.ListModels"
    GET_MODEL = f"{_GEMINI}.ModelService.GetModel"
    CREATE_TUNED_MODEL = f"{_GEMINI}.ModelService.CreateTunedModel"
    LIST_TUNED_MODELS = f"{_GEMINI}.ModelService.ListTunedModels"
    GET_TUNED_MODEL = f"{_GEMINI}.ModelService.GetTunedModel"
    UPDATE_TUNED_MODEL = f"{_GEMINI}.ModelService.UpdateTunedModel"
    DELETE_TUNED_MODEL = f"{_GEMINI}.ModelService.DeleteTunedModel"
    # No interface definition has it; two SDKs send it.
    CANCEL_TUNED_MODEL = f"{_GEMINI}.ModelService.CancelTunedModel"
    GENERATE_CONTENT = f"{_GEMINI}.GenerativeService.GenerateContent"
    STREAM_GENERATE_CONTENT = f"{_GEMINI}.GenerativeService.StreamGenerateContent"
    COUNT_TOKENS = f"{_GEMINI}.GenerativeService.CountTokens"
    GENERATE_TEXT = f"{_GEMINI}.TextService.GenerateText"
    CREATE_PERMISSION = f"{_GEMINI}.PermissionService.CreatePermission"
    GET_PERMISSION = f"{_GEMINI}.PermissionService.GetPermission"
    LIST_PERMISSIONS = f"{_GEMINI}.PermissionService.ListPermissions"
    UPDATE_PERMISSION = f"{_GEMINI}.PermissionService.UpdatePermission"
    DELETE_PERMISSION = f"{_GEMINI}.PermissionService.DeletePermission"
    TRANSFER_OWNERSHIP = f"{_GEMINI}.PermissionService.TransferOwnership"
    GET_OPERATION = f"{_OPERATIONS}.GetOperation"
    LIST_OPERATIONS = f"{_OPERATIONS}.ListOperations"
    CANCEL_OPERATION = f"{_OPERATIONS}.CancelOperation"
    DELETE_OPERATION = f"{_OPERATIONS}.DeleteOperation"
    PREVIEW_TUNED_MODEL = "tuningfork.v1.PreviewTunedModel"
    EXPORT_ADAPTER = "tuningfork.v1.ExportAdapter"
    CREATE_ACCESS_TOKEN = "tuningfork.v1.CreateAccessToken"  # noqa: S105 - a name, no secret
