"""The methods of the Gemini API that this server has: names, scopes and budgets.

The scopes that each method needs are those of the table in gemini-api section 5.
"""

from tuningfork.dialect.method import Asks, Method
from tuningfork.dialect.scopes import Scope
from tuningfork.domain.permission import Action
from tuningfork.service.quotas import Cost

_ALWAYS = (Scope.CLOUD_PLATFORM.value, Scope.GENERATIVE_LANGUAGE.value)
CHANGES_TUNING = (*_ALWAYS, Scope.TUNING.value)
"""Any of these is enough to change tuned models."""
READS_TUNING = (*CHANGES_TUNING, Scope.TUNING_READONLY.value)
"""Any of these is enough to look at tuned models."""
_ANY = (*READS_TUNING, Scope.RETRIEVER.value, Scope.RETRIEVER_READONLY.value)

_PACKAGE = "google.ai.generativelanguage.v1beta"
_MODELS = f"{_PACKAGE}.ModelService"
_GENERATIVE = f"{_PACKAGE}.GenerativeService"
_PERMISSIONS = f"{_PACKAGE}.PermissionService"
_OPERATIONS = "google.longrunning.Operations"


def _asks(service: str, name: str, scopes: tuple[str, ...], action: Action | None, cost: Cost = Cost.REQUEST) -> Asks:
    return Asks(full_name=f"{service}.{name}", scopes=scopes, action=action, cost=cost)


class GeminiMethod(Method):
    """A method, named as its interface definition names it."""

    LIST_MODELS = _asks(_MODELS, "ListModels", _ANY, None)
    GET_MODEL = _asks(_MODELS, "GetModel", _ANY, None)
    # The call needs no role on the new model. If it tunes on top of another tuned model, it needs a role on that one.
    CREATE_TUNED_MODEL = _asks(_MODELS, "CreateTunedModel", CHANGES_TUNING, Action.TUNE_ON)
    # Models that the caller has no role on are left out of the list instead of refused.
    LIST_TUNED_MODELS = _asks(_MODELS, "ListTunedModels", READS_TUNING, None)
    GET_TUNED_MODEL = _asks(_MODELS, "GetTunedModel", READS_TUNING, Action.GET, Cost.NOTHING)
    UPDATE_TUNED_MODEL = _asks(_MODELS, "UpdateTunedModel", CHANGES_TUNING, Action.UPDATE)
    DELETE_TUNED_MODEL = _asks(_MODELS, "DeleteTunedModel", CHANGES_TUNING, Action.DELETE)
    # No interface definition has this method, but two SDKs call it.
    CANCEL_TUNED_MODEL = _asks(_MODELS, "CancelTunedModel", CHANGES_TUNING, Action.CANCEL)
    GENERATE_CONTENT = _asks(_GENERATIVE, "GenerateContent", _ANY, Action.GENERATE, Cost.TOKENS)
    STREAM_GENERATE_CONTENT = _asks(_GENERATIVE, "StreamGenerateContent", _ANY, Action.GENERATE, Cost.TOKENS)
    COUNT_TOKENS = _asks(_GENERATIVE, "CountTokens", _ANY, Action.GENERATE)
    GENERATE_TEXT = _asks(f"{_PACKAGE}.TextService", "GenerateText", _ANY, Action.GENERATE, Cost.TOKENS)
    CREATE_PERMISSION = _asks(_PERMISSIONS, "CreatePermission", _ANY, Action.SHARE)
    GET_PERMISSION = _asks(_PERMISSIONS, "GetPermission", _ANY, Action.SEE_PERMISSIONS)
    LIST_PERMISSIONS = _asks(_PERMISSIONS, "ListPermissions", _ANY, Action.SEE_PERMISSIONS)
    UPDATE_PERMISSION = _asks(_PERMISSIONS, "UpdatePermission", _ANY, Action.SHARE)
    DELETE_PERMISSION = _asks(_PERMISSIONS, "DeletePermission", _ANY, Action.SHARE)
    TRANSFER_OWNERSHIP = _asks(_PERMISSIONS, "TransferOwnership", _ANY, Action.TRANSFER)
    # The methods of operations need the same scopes as those of tuned models.
    GET_OPERATION = _asks(_OPERATIONS, "GetOperation", READS_TUNING, Action.GET, Cost.NOTHING)
    LIST_OPERATIONS = _asks(_OPERATIONS, "ListOperations", READS_TUNING, Action.GET)
    CANCEL_OPERATION = _asks(_OPERATIONS, "CancelOperation", CHANGES_TUNING, Action.CANCEL)
    DELETE_OPERATION = _asks(_OPERATIONS, "DeleteOperation", CHANGES_TUNING, Action.DELETE)
