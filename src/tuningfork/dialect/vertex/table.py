"""All methods of Vertex AI's API that this server has."""

from dataclasses import dataclass

from tuningfork.dialect.call import Binding
from tuningfork.dialect.form import Dialect, Form
from tuningfork.dialect.vertex.description import describe
from tuningfork.dialect.vertex.serving import Serving
from tuningfork.dialect.vertex.tuning_jobs import TuningJobMethods
from tuningfork.service.tuning.numbered_jobs import NumberedJobs
from tuningfork.wire.google.proto_json.encode import Typed
from tuningfork.wire.vertex.packages import VERSIONS


@dataclass(frozen=True, slots=True, kw_only=True)
class VertexUseCases:
    """The use cases that the methods of the dialect call."""

    jobs: NumberedJobs
    serving: Serving


def bindings(use_cases: VertexUseCases) -> tuple[Binding[Typed], ...]:
    """Every method, bound to its verb and path."""
    return (*TuningJobMethods(use_cases.jobs).bindings(), *use_cases.serving.bindings())


def vertex(use_cases: VertexUseCases, form: Form[Typed]) -> Dialect[Typed]:
    """Vertex AI's API as a dialect, in this form."""
    return Dialect(
        prefixes={f"/{version}": version for version in VERSIONS},
        bindings=bindings(use_cases),
        form=form,
        describe=describe,
    )
