"""Writes what is wrong with a request as Vertex AI does: one message with all errors and their fields."""

from collections.abc import Mapping, Sequence

from tuningfork.domain.errors import FieldViolation, InvalidArgument, TuningforkError
from tuningfork.domain.refusals import BaseModelNotFound
from tuningfork.wire.gemini.names import name_of
from tuningfork.wire.vertex.tuning_names import bare_base_name

_PLACES: Mapping[str, str] = {
    "base_model": "tuning_job.base_model",
    "source": "tuning_job.pre_tuned_model.tuned_model_name",
    "display_name": "tuning_job.tuned_model_display_name",
    "description": "tuning_job.description",
    "labels": "tuning_job.labels",
    "adapter_rank": "tuning_job.supervised_tuning_spec.hyper_parameters.adapter_size",
    "hyperparameters": "tuning_job.supervised_tuning_spec.hyper_parameters",
    "training_uri": "tuning_job.supervised_tuning_spec.training_dataset_uri",
    "validation_uri": "tuning_job.supervised_tuning_spec.validation_dataset_uri",
}


def found_errors(violations: Sequence[FieldViolation]) -> InvalidArgument:
    """One error for all violations, whose fields are those of the request. A sentence that stands alone is the message.

    The form is that of the real service (vertex-api, section 9.2).
    """
    if len(violations) == 1 and violations[0].description.endswith("for this base model."):
        return InvalidArgument(violations[0].description, violations=tuple(violations))
    listed = "".join(
        f"{number}.Field: {each.field}; Message: {each.description}\t" for number, each in enumerate(violations, 1)
    )
    return InvalidArgument(f"List of found errors:\t{listed}", violations=tuple(violations))


def translated(error: TuningforkError) -> TuningforkError:
    """An error of the use case as an error about the fields of a request to create a tuning job."""
    match error:
        case InvalidArgument(violations=violations) if violations:
            return found_errors([_placed(each) for each in violations])
        case BaseModelNotFound():
            described = f"Base model {bare_base_name(name_of(error.model))} is not supported"
            violation = FieldViolation(field=_PLACES["base_model"], description=described)
            return InvalidArgument(described, violations=(violation,))
        case _:
            return error


def _placed(violation: FieldViolation) -> FieldViolation:
    first, dot, rest = violation.field.partition(".")
    place = f"{_PLACES[first]}{dot}{rest}" if first in _PLACES else violation.field
    return FieldViolation(field=place, description=violation.description, reason=violation.reason)
