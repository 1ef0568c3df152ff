"""Puts Vertex AI's dialect together, with the loop that prepares its jobs."""

from collections.abc import Callable

from tuningfork.api.google.form import GoogleForm
from tuningfork.dialect.form import Dialect
from tuningfork.dialect.vertex.serving import Serving
from tuningfork.dialect.vertex.table import VertexUseCases, vertex
from tuningfork.domain.base_model import PublicModel
from tuningfork.preparer import Preparer
from tuningfork.server.bucket_tuning import Parts, bucket_tuning
from tuningfork.service.answering.generation import Generation
from tuningfork.service.quotas import Quotas
from tuningfork.service.tuning.endpoints import Endpoints
from tuningfork.service.tuning.experiments import Experiments
from tuningfork.service.tuning.registry import Registry
from tuningfork.service.tuning.tuning import Tuning
from tuningfork.settings import Settings
from tuningfork.store.leases import ServerId
from tuningfork.wire.google.proto_json.encode import Typed
from tuningfork.wire.vertex.errors import VERTEX_ERRORS

_FORM = GoogleForm(VERTEX_ERRORS)


def vertex_of(
    settings: Settings,
    parts: Parts,
    tuning: Tuning,
    generation: Generation,
    quotas: Quotas,
    *,
    server: ServerId,
    queued: Callable[[], None],
    check_base: Callable[[PublicModel], None],
) -> tuple[Dialect[Typed], Preparer]:
    """The dialect for these settings, and the loop; see `bucket_tuning` for the arguments."""
    made = bucket_tuning(settings, parts, tuning, quotas, server=server, queued=queued, check_base=check_base)
    database, _, _, clock, _, _ = parts
    serving = Serving(
        generation=generation,
        registry=Registry(database, tuning, clock),
        endpoints=Endpoints(database),
        experiments=Experiments(database),
        clock=clock,
    )
    return vertex(VertexUseCases(jobs=made.jobs, serving=serving), _FORM), made.preparer
