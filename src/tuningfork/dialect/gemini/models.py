"""ModelService's methods of base models."""

from dataclasses import dataclass

from tuningfork.dialect.call import Binding, Direct, MethodCall, translated_errors
from tuningfork.dialect.gemini.methods import GeminiMethod
from tuningfork.service.answering.generation import Generation
from tuningfork.wire.gemini import models as wire
from tuningfork.wire.gemini.names import base_ref
from tuningfork.wire.google.proto_json.encode import Typed
from tuningfork.wire.google.queries import refuse_query


@dataclass(frozen=True, slots=True)
class ModelMethods:
    """Gets and lists base models."""

    generation: Generation

    def bindings(self) -> tuple[Binding[Typed], ...]:
        """Rows 1 and 2 of the route table."""
        return (
            Binding("GET", "/models", GeminiMethod.LIST_MODELS, Direct(self.list)),
            Binding("GET", "/models/{model:id}", GeminiMethod.GET_MODEL, Direct(self.get)),
        )

    def list(self, call: MethodCall) -> Typed:
        """models.list."""
        return wire.render_models_page(self.generation.models(), call.query)

    def get(self, call: MethodCall) -> Typed:
        """models.get."""
        refuse_query(call.query)
        with translated_errors(wire.GET):
            return wire.render_model(self.generation.model(base_ref(call.path["model"])))
