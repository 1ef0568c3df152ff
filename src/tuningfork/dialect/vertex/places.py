"""The project and location in the path of a call, and what its caller may do there."""

from collections.abc import Iterator
from contextlib import contextmanager

from tuningfork.dialect.call import MethodCall
from tuningfork.domain.errors import FieldViolation, InvalidArgument
from tuningfork.domain.permission import LOCAL_PRINCIPAL
from tuningfork.domain.refusals import RoleInsufficient
from tuningfork.domain.tuned_model import ProjectLocation
from tuningfork.wire.vertex.errors import IamDenied
from tuningfork.wire.vertex.names import location_name
from tuningfork.wire.vertex.service import DEFAULT_LOCATION, NO_LOCATION

PARENTS = ("/projects/{project:id}/locations/{location:id}", "")
"""What paths begin with. Clients with an API key alone leave it out."""

_ANY_PROJECT = {"", LOCAL_PRINCIPAL.project}
"""The projects of keys that are bound to none."""
_WILDCARD = "-"


def place_of(call: MethodCall, permission: str = "locations.get") -> ProjectLocation:
    """The project and location that a call is about. Without any in its path, the caller's, in the default location.

    Args:
        call: the call.
        permission: what the method asks for, such as `tuningJobs.get`, for the error.

    Raises:
        PermissionDenied: the caller's key is bound to another project.
        InvalidArgument: the project or the location is `-`, which stands for all of them.

    """
    return checked_place(call, _named(call), permission)


def checked_place(call: MethodCall, named: ProjectLocation, permission: str) -> ProjectLocation:
    """The place that a call names, in its path or elsewhere. The location `None` is the default one.

    Raises:
        PermissionDenied: the caller's key is bound to another project.
        InvalidArgument: the project or the location is `-`.

    """
    location = DEFAULT_LOCATION if named.location == NO_LOCATION else named.location
    place = ProjectLocation(named.project, location)
    for name, given in (("project", place.project), ("location", place.location)):
        if given == _WILDCARD:
            described = f"{name} must be the name of one {name}; {given!r} was given"
            raise InvalidArgument(described, violations=(FieldViolation(field="parent", description=described),))
    if call.principal.project not in _ANY_PROJECT | {place.project}:
        raise IamDenied(permission, location_name(place))
    return place


@contextmanager
def roles_named(permission: str, resource: str) -> Iterator[None]:
    """Tell a role that does not suffice as a lack of this permission on this resource, within the `with` block."""
    try:
        yield
    except RoleInsufficient as error:
        raise IamDenied(permission, resource) from error


def _named(call: MethodCall) -> ProjectLocation:
    project, location = call.path.get("project"), call.path.get("location")
    if project is None or location is None:
        return ProjectLocation(call.principal.project, DEFAULT_LOCATION)
    return ProjectLocation(project, location)
