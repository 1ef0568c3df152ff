"""ModelService's methods of base models."""

from dataclasses import dataclass

from tuningfork.dialect.call import Binding, Direct, MethodCall
from tuningfork.domain.method import Method
from tuningfork.service.generation import Generation
from tuningfork.wire.gemini import models as wire
from tuningfork.wire.gemini.tuning import refuse_query
from tuningfork.wire.proto_json.encode import Typed


@dataclass(frozen=True, slots=True)
class ModelMethods:
    """Looking at base models."""

    generation: Generation

    def bindings(self) -> tuple[Binding, ...]:
        """Rows 1 and 2 of the route table."""
        return (
            Binding("GET", "/models", Method.LIST_MODELS, Direct(self.list)),
            Binding("GET", "/models/{model:id}", Method.GET_MODEL, Direct(self.get)),
        )

    def list(self, call: MethodCall) -> Typed:
        """models.list."""
        return wire.render_models_page(self.generation.models(), call.query)

    def get(self, call: MethodCall) -> Typed:
        """models.get."""
        refuse_query(call.query)
        return wire.render_model(self.generation.model(call.resource))
