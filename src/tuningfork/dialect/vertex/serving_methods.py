"""The methods of models, endpoints, text and metrics: names, scopes and budgets."""

from tuningfork.dialect.gemini.methods import Scope
from tuningfork.dialect.method import Asks, Method
from tuningfork.domain.permission import Action
from tuningfork.service.quotas import Cost

_PACKAGE = "google.cloud.aiplatform.v1"


def _asks(service: str, name: str, action: Action | None, cost: Cost = Cost.REQUEST) -> Asks:
    return Asks(full_name=f"{service}.{name}", scopes=(Scope.CLOUD_PLATFORM.value,), action=action, cost=cost)


_PREDICTION = f"{_PACKAGE}.PredictionService"
_UTILITY = f"{_PACKAGE}.LlmUtilityService"
_MODELS = f"{_PACKAGE}.ModelService"
_GARDEN = f"{_PACKAGE}.ModelGardenService"
_ENDPOINTS = f"{_PACKAGE}.EndpointService"
_METADATA = f"{_PACKAGE}.MetadataService"
_TENSORBOARDS = f"{_PACKAGE}.TensorboardService"
_OPERATIONS = "google.longrunning.Operations"


class ServingMethod(Method):
    """A method, named as its interface definition names it."""

    GENERATE_CONTENT = _asks(_PREDICTION, "GenerateContent", Action.GENERATE, Cost.TOKENS)
    STREAM_GENERATE_CONTENT = _asks(_PREDICTION, "StreamGenerateContent", Action.GENERATE, Cost.TOKENS)
    PREDICT = _asks(_PREDICTION, "Predict", None)
    COUNT_TOKENS = _asks(_PREDICTION, "CountTokens", Action.GENERATE)
    COMPUTE_TOKENS = _asks(_UTILITY, "ComputeTokens", Action.GENERATE)
    GET_MODEL = _asks(_MODELS, "GetModel", Action.GET, Cost.NOTHING)
    # Models that the caller has no role on are left out of lists instead of refused.
    LIST_MODELS = _asks(_MODELS, "ListModels", None)
    LIST_MODEL_VERSIONS = _asks(_MODELS, "ListModelVersions", Action.GET)
    LIST_MODEL_VERSION_CHECKPOINTS = _asks(_MODELS, "ListModelVersionCheckpoints", Action.GET)
    UPDATE_MODEL = _asks(_MODELS, "UpdateModel", Action.UPDATE)
    MERGE_VERSION_ALIASES = _asks(_MODELS, "MergeVersionAliases", Action.UPDATE)
    DELETE_MODEL = _asks(_MODELS, "DeleteModel", Action.DELETE)
    DELETE_MODEL_VERSION = _asks(_MODELS, "DeleteModelVersion", Action.DELETE)
    GET_PUBLISHER_MODEL = _asks(_GARDEN, "GetPublisherModel", None)
    LIST_PUBLISHER_MODELS = _asks(_GARDEN, "ListPublisherModels", None)
    GET_ENDPOINT = _asks(_ENDPOINTS, "GetEndpoint", Action.GET, Cost.NOTHING)
    LIST_ENDPOINTS = _asks(_ENDPOINTS, "ListEndpoints", None)
    UPDATE_ENDPOINT = _asks(_ENDPOINTS, "UpdateEndpoint", None)
    CREATE_ENDPOINT = _asks(_ENDPOINTS, "CreateEndpoint", None)
    DELETE_ENDPOINT = _asks(_ENDPOINTS, "DeleteEndpoint", Action.UPDATE)
    DEPLOY_MODEL = _asks(_ENDPOINTS, "DeployModel", Action.UPDATE)
    UNDEPLOY_MODEL = _asks(_ENDPOINTS, "UndeployModel", Action.UPDATE)
    GET_OPERATION = _asks(_OPERATIONS, "GetOperation", None, Cost.NOTHING)
    LIST_OPERATIONS = _asks(_OPERATIONS, "ListOperations", None)
    CANCEL_OPERATION = _asks(_OPERATIONS, "CancelOperation", None)
    DELETE_OPERATION = _asks(_OPERATIONS, "DeleteOperation", None)
    WAIT_OPERATION = _asks(_OPERATIONS, "WaitOperation", None)
    GET_CONTEXT = _asks(_METADATA, "GetContext", Action.GET, Cost.NOTHING)
    LIST_CONTEXTS = _asks(_METADATA, "ListContexts", Action.GET, Cost.NOTHING)
    GET_TENSORBOARD = _asks(_TENSORBOARDS, "GetTensorboard", Action.GET, Cost.NOTHING)
    GET_TENSORBOARD_EXPERIMENT = _asks(_TENSORBOARDS, "GetTensorboardExperiment", Action.GET, Cost.NOTHING)
    GET_TENSORBOARD_RUN = _asks(_TENSORBOARDS, "GetTensorboardRun", Action.GET, Cost.NOTHING)
    LIST_TENSORBOARD_RUNS = _asks(_TENSORBOARDS, "ListTensorboardRuns", Action.GET, Cost.NOTHING)
    GET_TIME_SERIES = _asks(_TENSORBOARDS, "GetTensorboardTimeSeries", Action.GET, Cost.NOTHING)
    LIST_TIME_SERIES = _asks(_TENSORBOARDS, "ListTensorboardTimeSeries", Action.GET, Cost.NOTHING)
    READ_TIME_SERIES = _asks(_TENSORBOARDS, "ReadTensorboardTimeSeriesData", Action.GET, Cost.NOTHING)
    BATCH_READ_TIME_SERIES = _asks(_TENSORBOARDS, "BatchReadTensorboardTimeSeriesData", Action.GET, Cost.NOTHING)
    NOT_SERVED = _asks(_PREDICTION, "NotServed", None)
    """Methods that are refused by name."""
