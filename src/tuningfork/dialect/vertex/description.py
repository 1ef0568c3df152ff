"""What the methods of Vertex AI's API take and give: each method with the tables of its messages."""

from collections.abc import Mapping

from tuningfork.dialect.description import Description
from tuningfork.dialect.gemini.description import Exchange, described
from tuningfork.dialect.method import Method
from tuningfork.dialect.vertex.methods import VertexMethod
from tuningfork.dialect.vertex.serving_description import SERVING_EXCHANGES
from tuningfork.wire.google.queries import EMPTY
from tuningfork.wire.vertex import registry_messages as registry
from tuningfork.wire.vertex import tuning_messages as tuning

EXCHANGES: Mapping[Method, Exchange] = {
    VertexMethod.CREATE_TUNING_JOB: Exchange(body=tuning.TUNING_JOB, answer=tuning.TUNING_JOB),
    VertexMethod.LIST_TUNING_JOBS: Exchange(
        query=tuning.LIST_TUNING_JOBS_QUERY, answer=tuning.LIST_TUNING_JOBS_RESPONSE
    ),
    VertexMethod.GET_TUNING_JOB: Exchange(answer=tuning.TUNING_JOB),
    VertexMethod.CANCEL_TUNING_JOB: Exchange(body=tuning.CANCEL_TUNING_JOB_REQUEST, answer=EMPTY),
    VertexMethod.REBASE_TUNED_MODEL: Exchange(body=EMPTY, answer=registry.OPERATION),
    VertexMethod.OPTIMIZE_PROMPT: Exchange(body=EMPTY, answer=EMPTY),
    VertexMethod.PROCESS_DATA: Exchange(body=EMPTY, answer=registry.OPERATION),
    VertexMethod.VALIDATE_REWARD: Exchange(body=EMPTY, answer=EMPTY),
    VertexMethod.GET_TUNING_OPERATION: Exchange(answer=registry.OPERATION),
    VertexMethod.LIST_TUNING_OPERATIONS: Exchange(answer=registry.LIST_OPERATIONS_RESPONSE),
}


def describe() -> Description:
    """What the methods of Vertex AI's API take and give."""
    exchanges = {method.name.lower(): each for method, each in EXCHANGES.items()}
    exchanges |= {method.name.lower(): each for method, each in SERVING_EXCHANGES.items()}
    return described(exchanges)
