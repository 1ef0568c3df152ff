"""The names of models in requests to tune."""

import re

from tuningfork.domain.tuned_model import ProjectLocation
from tuningfork.wire.vertex.names import split_version

_MODEL = re.compile(r"projects/(?P<project>[^/]+)/locations/(?P<location>[^/]+)/models/(?P<model>[^/]+)")
_PREFIXES = re.compile(r"(publishers/[^/]+/)?models/")


def parse_model_name(text: str) -> tuple[ProjectLocation, int, str] | None:
    """The project and location, the number and the version of a model's full name; None: it is not one.

    A name without a version means the default one.
    """
    found = _MODEL.fullmatch(text)
    if found is None:
        return None
    number, version = split_version(found["model"])
    return None if number is None else (ProjectLocation(found["project"], found["location"]), number, version)


def bare_base_name(text: str) -> str:
    """The name of a base model without `models/` or `publishers/google/models/`, which some clients put before it."""
    return _PREFIXES.sub("", text, count=1) if _PREFIXES.match(text) else text
