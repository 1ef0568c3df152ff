"""What the methods of models, endpoints, text and metrics take and give: each with the tables of its messages."""

from collections.abc import Mapping

from tuningfork.dialect.gemini.description import Exchange
from tuningfork.dialect.vertex.serving_methods import ServingMethod
from tuningfork.wire.google.proto_json.descriptors import Message
from tuningfork.wire.google.queries import EMPTY
from tuningfork.wire.vertex import generation_messages as generation
from tuningfork.wire.vertex import metrics_messages as metrics
from tuningfork.wire.vertex import registry_messages as registry
from tuningfork.wire.vertex.packages import PACKAGES


def _named(message: Message) -> Message:
    """The message under the name of the API's first version."""
    return PACKAGES["v1"].message(message)


_ANSWER = _named(generation.GENERATE_CONTENT_RESPONSE)
_ASKED = _named(generation.GENERATE_CONTENT_REQUEST)
_MODEL = _named(registry.MODEL)
_ENDPOINT = _named(registry.ENDPOINT)
_LIST = metrics.LIST_QUERY

SERVING_EXCHANGES: Mapping[ServingMethod, Exchange] = {
    ServingMethod.GENERATE_CONTENT: Exchange(body=_ASKED, answer=_ANSWER),
    ServingMethod.STREAM_GENERATE_CONTENT: Exchange(body=_ASKED, answer=_ANSWER),
    ServingMethod.PREDICT: Exchange(body=EMPTY, answer=EMPTY),
    ServingMethod.COUNT_TOKENS: Exchange(
        body=_named(generation.COUNT_TOKENS_REQUEST), answer=_named(generation.COUNT_TOKENS_RESPONSE)
    ),
    ServingMethod.COMPUTE_TOKENS: Exchange(
        body=_named(generation.COMPUTE_TOKENS_REQUEST), answer=_named(generation.COMPUTE_TOKENS_RESPONSE)
    ),
    ServingMethod.GET_MODEL: Exchange(answer=_MODEL),
    ServingMethod.LIST_MODELS: Exchange(query=registry.LIST_MODELS_QUERY, answer=_named(registry.LIST_MODELS_RESPONSE)),
    ServingMethod.LIST_MODEL_VERSIONS: Exchange(
        query=registry.LIST_VERSIONS_QUERY, answer=_named(registry.LIST_VERSIONS_RESPONSE)
    ),
    ServingMethod.LIST_MODEL_VERSION_CHECKPOINTS: Exchange(
        query=registry.LIST_CHECKPOINTS_QUERY, answer=_named(registry.LIST_CHECKPOINTS_RESPONSE)
    ),
    ServingMethod.UPDATE_MODEL: Exchange(query=registry.UPDATE_QUERY, body=_MODEL, answer=_MODEL),
    ServingMethod.MERGE_VERSION_ALIASES: Exchange(body=_named(registry.MERGE_ALIASES_REQUEST), answer=_MODEL),
    ServingMethod.DELETE_MODEL: Exchange(answer=registry.OPERATION),
    ServingMethod.DELETE_MODEL_VERSION: Exchange(answer=registry.OPERATION),
    ServingMethod.GET_PUBLISHER_MODEL: Exchange(
        query=registry.GET_PUBLISHER_MODEL_QUERY, answer=_named(registry.PUBLISHER_MODEL)
    ),
    ServingMethod.LIST_PUBLISHER_MODELS: Exchange(
        query=registry.LIST_PUBLISHER_MODELS_QUERY, answer=_named(registry.LIST_PUBLISHER_MODELS_RESPONSE)
    ),
    ServingMethod.GET_ENDPOINT: Exchange(answer=_ENDPOINT),
    ServingMethod.LIST_ENDPOINTS: Exchange(
        query=registry.LIST_ENDPOINTS_QUERY, answer=_named(registry.LIST_ENDPOINTS_RESPONSE)
    ),
    ServingMethod.CREATE_ENDPOINT: Exchange(body=_ENDPOINT, answer=registry.OPERATION),
    ServingMethod.UPDATE_ENDPOINT: Exchange(body=_ENDPOINT, answer=_ENDPOINT),
    ServingMethod.DELETE_ENDPOINT: Exchange(answer=registry.OPERATION),
    ServingMethod.DEPLOY_MODEL: Exchange(body=_named(registry.DEPLOY_REQUEST), answer=registry.OPERATION),
    ServingMethod.UNDEPLOY_MODEL: Exchange(body=_named(registry.UNDEPLOY_REQUEST), answer=registry.OPERATION),
    ServingMethod.GET_OPERATION: Exchange(answer=registry.OPERATION),
    ServingMethod.LIST_OPERATIONS: Exchange(answer=registry.LIST_OPERATIONS_RESPONSE),
    ServingMethod.CANCEL_OPERATION: Exchange(body=EMPTY, answer=EMPTY),
    ServingMethod.DELETE_OPERATION: Exchange(answer=EMPTY),
    ServingMethod.WAIT_OPERATION: Exchange(body=EMPTY, answer=registry.OPERATION),
    ServingMethod.GET_CONTEXT: Exchange(answer=_named(metrics.CONTEXT)),
    ServingMethod.LIST_CONTEXTS: Exchange(
        query=metrics.LIST_CONTEXTS_QUERY, answer=_named(metrics.LIST_CONTEXTS_RESPONSE)
    ),
    ServingMethod.GET_TENSORBOARD: Exchange(answer=_named(metrics.TENSORBOARD)),
    ServingMethod.GET_TENSORBOARD_EXPERIMENT: Exchange(answer=_named(metrics.TENSORBOARD_EXPERIMENT)),
    ServingMethod.GET_TENSORBOARD_RUN: Exchange(answer=_named(metrics.TENSORBOARD_RUN)),
    ServingMethod.LIST_TENSORBOARD_RUNS: Exchange(query=_LIST, answer=_named(metrics.LIST_RUNS_RESPONSE)),
    ServingMethod.GET_TIME_SERIES: Exchange(answer=_named(metrics.TENSORBOARD_TIME_SERIES)),
    ServingMethod.LIST_TIME_SERIES: Exchange(query=_LIST, answer=_named(metrics.LIST_TIME_SERIES_RESPONSE)),
    ServingMethod.READ_TIME_SERIES: Exchange(query=metrics.READ_QUERY, answer=_named(metrics.READ_RESPONSE)),
    ServingMethod.BATCH_READ_TIME_SERIES: Exchange(
        query=metrics.BATCH_READ_QUERY, answer=_named(metrics.BATCH_READ_RESPONSE)
    ),
    ServingMethod.NOT_SERVED: Exchange(body=EMPTY, answer=EMPTY),
}
