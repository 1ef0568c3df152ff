"""The methods of models, endpoints, text and metrics: names, scopes and budgets."""

from tuningfork.dialect.method import Method
from tuningfork.dialect.vertex.methods import OPERATIONS, asks
from tuningfork.domain.permission import Action
from tuningfork.service.quotas import Cost

_PACKAGE = "google.cloud.aiplatform.v1"

_PREDICTION = f"{_PACKAGE}.PredictionService"
_UTILITY = f"{_PACKAGE}.LlmUtilityService"
_MODELS = f"{_PACKAGE}.ModelService"
_GARDEN = f"{_PACKAGE}.ModelGardenService"
_ENDPOINTS = f"{_PACKAGE}.EndpointService"
_METADATA = f"{_PACKAGE}.MetadataService"
_TENSORBOARDS = f"{_PACKAGE}.TensorboardService"


class ServingMethod(Method):
    """A method, named as its interface definition names it."""

    GENERATE_CONTENT = asks(_PREDICTION, "GenerateContent", Action.GENERATE, Cost.TOKENS)
    STREAM_GENERATE_CONTENT = asks(_PREDICTION, "StreamGenerateContent", Action.GENERATE, Cost.TOKENS)
    PREDICT = asks(_PREDICTION, "Predict", None)
    COUNT_TOKENS = asks(_PREDICTION, "CountTokens", Action.GENERATE)
    COMPUTE_TOKENS = asks(_UTILITY, "ComputeTokens", Action.GENERATE)
    GET_MODEL = asks(_MODELS, "GetModel", Action.GET, Cost.NOTHING)
    # Models that the caller has no role on are left out of lists instead of refused.
    LIST_MODELS = asks(_MODELS, "ListModels", None)
    LIST_MODEL_VERSIONS = asks(_MODELS, "ListModelVersions", Action.GET)
    LIST_MODEL_VERSION_CHECKPOINTS = asks(_MODELS, "ListModelVersionCheckpoints", Action.GET)
    UPDATE_MODEL = asks(_MODELS, "UpdateModel", Action.UPDATE)
    MERGE_VERSION_ALIASES = asks(_MODELS, "MergeVersionAliases", Action.UPDATE)
    DELETE_MODEL = asks(_MODELS, "DeleteModel", Action.DELETE)
    DELETE_MODEL_VERSION = asks(_MODELS, "DeleteModelVersion", Action.DELETE)
    GET_PUBLISHER_MODEL = asks(_GARDEN, "GetPublisherModel", None)
    LIST_PUBLISHER_MODELS = asks(_GARDEN, "ListPublisherModels", None)
    GET_ENDPOINT = asks(_ENDPOINTS, "GetEndpoint", Action.GET, Cost.NOTHING)
    LIST_ENDPOINTS = asks(_ENDPOINTS, "ListEndpoints", None)
    UPDATE_ENDPOINT = asks(_ENDPOINTS, "UpdateEndpoint", None)
    CREATE_ENDPOINT = asks(_ENDPOINTS, "CreateEndpoint", None)
    DELETE_ENDPOINT = asks(_ENDPOINTS, "DeleteEndpoint", Action.UPDATE)
    DEPLOY_MODEL = asks(_ENDPOINTS, "DeployModel", Action.UPDATE)
    UNDEPLOY_MODEL = asks(_ENDPOINTS, "UndeployModel", Action.UPDATE)
    GET_OPERATION = asks(OPERATIONS, "GetOperation", None, Cost.NOTHING)
    LIST_OPERATIONS = asks(OPERATIONS, "ListOperations", None)
    CANCEL_OPERATION = asks(OPERATIONS, "CancelOperation", None)
    DELETE_OPERATION = asks(OPERATIONS, "DeleteOperation", None)
    WAIT_OPERATION = asks(OPERATIONS, "WaitOperation", None)
    GET_CONTEXT = asks(_METADATA, "GetContext", Action.GET, Cost.NOTHING)
    LIST_CONTEXTS = asks(_METADATA, "ListContexts", Action.GET, Cost.NOTHING)
    GET_TENSORBOARD = asks(_TENSORBOARDS, "GetTensorboard", Action.GET, Cost.NOTHING)
    GET_TENSORBOARD_EXPERIMENT = asks(_TENSORBOARDS, "GetTensorboardExperiment", Action.GET, Cost.NOTHING)
    GET_TENSORBOARD_RUN = asks(_TENSORBOARDS, "GetTensorboardRun", Action.GET, Cost.NOTHING)
    LIST_TENSORBOARD_RUNS = asks(_TENSORBOARDS, "ListTensorboardRuns", Action.GET, Cost.NOTHING)
    GET_TIME_SERIES = asks(_TENSORBOARDS, "GetTensorboardTimeSeries", Action.GET, Cost.NOTHING)
    LIST_TIME_SERIES = asks(_TENSORBOARDS, "ListTensorboardTimeSeries", Action.GET, Cost.NOTHING)
    READ_TIME_SERIES = asks(_TENSORBOARDS, "ReadTensorboardTimeSeriesData", Action.GET, Cost.NOTHING)
    BATCH_READ_TIME_SERIES = asks(_TENSORBOARDS, "BatchReadTensorboardTimeSeriesData", Action.GET, Cost.NOTHING)
    NOT_SERVED = asks(_PREDICTION, "NotServed", None)
    """Methods that are refused by name."""
