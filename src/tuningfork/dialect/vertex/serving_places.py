"""The project and the location that a request names in its path, or means without one."""

from tuningfork.dialect.call import MethodCall
from tuningfork.domain.errors import FieldViolation, InvalidArgument, PermissionDenied
from tuningfork.domain.permission import LOCAL_PRINCIPAL
from tuningfork.domain.tuned_model import ProjectLocation

PARENTS = ("/projects/{project:id}/locations/{location:id}", "")
"""What paths begin with. Programs that send an API key and no project send paths without one."""

USUAL_LOCATION = "us-central1"
"""The location of paths without one, and of those that have `None` in its place, as google-genai 1.x writes it."""


def place_of(call: MethodCall) -> ProjectLocation:
    """The project and location of a call.

    Raises:
        InvalidArgument: the path has a wildcard.
        PermissionDenied: the caller's key belongs to another project.

    """
    own = call.principal.project or LOCAL_PRINCIPAL.project
    project, location = call.path.get("project", own), call.path.get("location", USUAL_LOCATION)
    if "-" in (project, location):
        described = "the path must name one project and one location; - was given"
        raise InvalidArgument(violations=(FieldViolation(field="parent", description=described),))
    if own not in (project, LOCAL_PRINCIPAL.project):
        raise PermissionDenied(f"the key belongs to project {own}")
    return ProjectLocation(project=project, location=USUAL_LOCATION if location == "None" else location)
