"""Base models as models of a publisher.

Source: google/cloud/aiplatform/v1beta1/{publisher_model,model_garden_service}.proto.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from tuningfork.domain.base_model import PublicModel
from tuningfork.wire.google.proto_json.decode import decode_query
from tuningfork.wire.google.proto_json.encode import Typed
from tuningfork.wire.vertex import registry_messages as messages
from tuningfork.wire.vertex.packages import PACKAGES


def parse_get(query: Mapping[str, str], repeated: Mapping[str, tuple[str, ...]]) -> None:
    """Check the parameters of a request for one model.

    Raises:
        InvalidArgument: a parameter is unknown.

    """
    decode_query(messages.GET_PUBLISHER_MODEL_QUERY, query, repeated)


def parse_list(query: Mapping[str, str], repeated: Mapping[str, tuple[str, ...]]) -> None:
    """Check the parameters of a request for all models, which are on one page.

    Raises:
        InvalidArgument: a parameter is unknown.

    """
    decode_query(messages.LIST_PUBLISHER_MODELS_QUERY, query, repeated)


def render_publisher_model(model: PublicModel, publisher: str, version: str) -> Typed:
    """One base model under one of its names, as this publisher's."""
    return Typed(PACKAGES[version].message(messages.PUBLISHER_MODEL), _fields(model, publisher))


def render_publisher_models(models: Sequence[PublicModel], publisher: str, version: str) -> Typed:
    """All base models under all of their names, as this publisher's."""
    page = {"publisher_models": [_fields(model, publisher) for model in models]}
    return Typed(PACKAGES[version].message(messages.LIST_PUBLISHER_MODELS_RESPONSE), page)


def _fields(model: PublicModel, publisher: str) -> dict[str, Any]:
    id_ = model.name.removeprefix("models/")
    return {
        "name": f"publishers/{publisher}/models/{id_}",
        "version_id": model.version or "default",
        "launch_stage": "GA",
        "publisher_model_template": (
            f"projects/{{project}}/locations/{{location}}/publishers/{publisher}/models/{id_}"
        ),
    }
