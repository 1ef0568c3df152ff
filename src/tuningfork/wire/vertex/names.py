"""The names of resources in Vertex AI's API: below a project and a location, with decimal numbers.

Source: vertex-api sections 2 and 7.2; google/api/resource.proto in the interface definitions.
"""

import re

from tuningfork.domain.tuned_model import DEFAULT_VERSION, ProjectLocation, TunedModel

_EXPERIMENT = "tuning-experiment-"
_RUN = "tuning-run-"
_NUMBER = re.compile(r"[1-9][0-9]{0,18}")


def place_of_model(model: TunedModel) -> ProjectLocation:
    """The project and location to which a model belongs."""
    return ProjectLocation(project=model.project, location=model.location)


def location_name(place: ProjectLocation) -> str:
    """`projects/{project}/locations/{location}`."""
    return f"projects/{place.project}/locations/{place.location}"


def job_name(place: ProjectLocation, number: int) -> str:
    """The name of a tuning job."""
    return f"{location_name(place)}/tuningJobs/{number}"


def model_name(place: ProjectLocation, number: int) -> str:
    """The name of a registered model, without a version."""
    return f"{location_name(place)}/models/{number}"


def version_name(model: TunedModel) -> str:
    """The name of a model's version, `.../models/{number}@{version}`."""
    return f"{model_name(place_of_model(model), model.registry_model)}@{model.version}"


def endpoint_name(place: ProjectLocation, number: int) -> str:
    """The name of an endpoint."""
    return f"{location_name(place)}/endpoints/{number}"


def operation_name(place: ProjectLocation, operation: str) -> str:
    """The name of an operation."""
    return f"{location_name(place)}/operations/{operation}"


def experiment_id(number: int) -> str:
    """The id of the experiment whose metrics are those of the job with this number."""
    return f"{_EXPERIMENT}{number}"


def run_id(number: int) -> str:
    """The id of the only run of a job's experiment."""
    return f"{_RUN}{number}"


def run_context_id(number: int) -> str:
    """The id of a run's context: programs strip the experiment's id and one character to find the run's."""
    return f"{experiment_id(number)}-{run_id(number)}"


def context_name(place: ProjectLocation, context: str) -> str:
    """The name of a context: of an experiment or of a run."""
    return f"{location_name(place)}/metadataStores/default/contexts/{context}"


def experiment_name(model: TunedModel) -> str:
    """The name of the experiment of the job that makes this model."""
    return context_name(place_of_model(model), experiment_id(model.number))


def tensorboard_name(place: ProjectLocation, number: int) -> str:
    """The name of a job's tensorboard."""
    return f"{location_name(place)}/tensorboards/{number}"


def number_in(text: str) -> int | None:
    """The number that a decimal text writes; None if it writes none, so that no resource has this id."""
    return int(text) if _NUMBER.fullmatch(text) else None


def experiment_number(context: str) -> int | None:
    """The job's number in the id of an experiment; None if it is none."""
    return number_in(context.removeprefix(_EXPERIMENT)) if context.startswith(_EXPERIMENT) else None


def run_context_number(context: str) -> int | None:
    """The job's number in the id of a run's context; None if it is none."""
    number = number_in(context.rpartition(_RUN)[2])
    return number if number is not None and context == run_context_id(number) else None


def split_version(model: str) -> tuple[int | None, str]:
    """The number of a model and its version or alias, from an id such as `111@2`; without `@` the default version.

    The number is None if no model has such an id.
    """
    number, at, version = model.partition("@")
    return number_in(number), version if at else DEFAULT_VERSION
