"""The names of models, jobs and permissions in the Gemini API.

Source: gemini-api section 3; the patterns of google/api/resource.proto in the interface definitions.
"""

import re

from tuningfork.domain.base_model import BaseModelName
from tuningfork.domain.errors import FieldViolation, InvalidArgument
from tuningfork.domain.references import BaseRef, CheckpointRef, ModelRef, TunedRef
from tuningfork.domain.refusals import JobRef, PermissionRef, Resource
from tuningfork.domain.tuned_model import TunedModelId

BASE_PREFIX = "models/"
_TUNED = re.compile(r"tunedModels/(?P<id>[a-z0-9-]{1,63})")
_TUNED_PREFIX = "tunedModels/"


def name_of(resource: Resource) -> str:
    """The resource name, such as `tunedModels/{id}/operations/{job}`. A checkpoint has the name of its model."""
    match resource:
        case BaseRef(name):
            return name
        case TunedRef(model) | CheckpointRef(model, _):
            return tuned_name(model)
        case JobRef(model, job):
            return f"{tuned_name(model)}/operations/{job}"
        case PermissionRef(model, permission):
            return f"{tuned_name(model)}/permissions/{permission}"


def tuned_name(model: TunedModelId) -> str:
    """The name of a tuned model, `tunedModels/{id}`."""
    return f"{_TUNED_PREFIX}{model}"


def tuned_id(name: str) -> TunedModelId | None:
    """The id in `tunedModels/{id}`; None if this is not the name of any tuned model."""
    found = _TUNED.fullmatch(name)
    return None if found is None else TunedModelId(found["id"])


def base_ref(model: str) -> BaseRef:
    """The base model of this id, `models/{id}`."""
    return BaseRef(BaseModelName(f"{BASE_PREFIX}{model}"))


def model_ref(name: str) -> ModelRef:
    """The model with the name `models/{id}` or `tunedModels/{id}`, whether or not it exists.

    Raises:
        InvalidArgument: the name has another form.

    """
    if name.startswith(BASE_PREFIX):
        return BaseRef(BaseModelName(name))
    if name.startswith(_TUNED_PREFIX):
        return TunedRef(TunedModelId(name.removeprefix(_TUNED_PREFIX)))
    raise InvalidArgument(violations=(FieldViolation(field="model", description="unexpected model name format"),))
