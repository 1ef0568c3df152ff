"""The methods of Vertex AI's GenAiTuningService: names, scopes and budgets."""

from tuningfork.dialect.method import Asks, Method
from tuningfork.dialect.scopes import Scope
from tuningfork.domain.permission import Action
from tuningfork.service.quotas import Cost
from tuningfork.wire.vertex.service import PACKAGE

SCOPES = (Scope.CLOUD_PLATFORM.value,)
"""Any of these is enough for each method of Vertex AI."""

OPERATIONS = "google.longrunning.Operations"
"""The service of operations, which all of Google's APIs share."""
_TUNING = f"{PACKAGE}.GenAiTuningService"


def asks(service: str, name: str, action: Action | None, cost: Cost = Cost.REQUEST) -> Asks:
    """What a method of this service asks of a call."""
    return Asks(full_name=f"{service}.{name}", scopes=SCOPES, action=action, cost=cost)


class VertexMethod(Method):
    """A method of tuning jobs, named as its interface definition names it."""

    # The call needs no role on the new model. If it goes on from another tuned model, it needs a role on that one.
    CREATE_TUNING_JOB = asks(_TUNING, "CreateTuningJob", Action.TUNE_ON)
    # Jobs that the caller has no role on are left out of the list instead of refused.
    LIST_TUNING_JOBS = asks(_TUNING, "ListTuningJobs", None)
    GET_TUNING_JOB = asks(_TUNING, "GetTuningJob", Action.GET, Cost.NOTHING)
    CANCEL_TUNING_JOB = asks(_TUNING, "CancelTuningJob", Action.CANCEL)
    REBASE_TUNED_MODEL = asks(_TUNING, "RebaseTunedModel", None)
    OPTIMIZE_PROMPT = asks(_TUNING, "OptimizePrompt", None)
    PROCESS_DATA = asks(_TUNING, "ProcessData", None)
    VALIDATE_REWARD = asks(_TUNING, "ValidateReinforcementTuningReward", None)
    GET_TUNING_OPERATION = asks(OPERATIONS, "GetOperation", Action.GET)
    LIST_TUNING_OPERATIONS = asks(OPERATIONS, "ListOperations", Action.GET)
