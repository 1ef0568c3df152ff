"""The methods of models, endpoints, text and metrics, in one table."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from tuningfork.dialect.call import Binding
from tuningfork.dialect.vertex.endpoints import EndpointMethods
from tuningfork.dialect.vertex.generation import GenerationMethods
from tuningfork.dialect.vertex.metrics import MetricMethods
from tuningfork.dialect.vertex.models import ModelMethods
from tuningfork.dialect.vertex.refusals import RefusedMethods
from tuningfork.service.answering.generation import Generation
from tuningfork.service.tuning.endpoints import Endpoints
from tuningfork.service.tuning.experiments import Experiments
from tuningfork.service.tuning.registry import Registry
from tuningfork.wire.google.proto_json.encode import Typed


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """The use cases that the methods call. `clock` gives the time of answers and operations."""

    generation: Generation
    registry: Registry
    endpoints: Endpoints
    experiments: Experiments
    clock: Callable[[], datetime]

    def bindings(self) -> tuple[Binding[Typed], ...]:
        """Every method, bound to its verb and path."""
        return (
            *GenerationMethods(self.generation, self.registry, self.endpoints, self.clock).bindings(),
            *ModelMethods(self.registry, self.generation, self.clock).bindings(),
            *EndpointMethods(self.endpoints, self.clock).bindings(),
            *MetricMethods(self.experiments).bindings(),
            *RefusedMethods().bindings(),
        )
