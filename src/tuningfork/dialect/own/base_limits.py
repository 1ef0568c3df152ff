"""What requests to base models may contain: programs that offer settings ask before they send a request."""

from dataclasses import dataclass

from tuningfork.dialect.call import Binding, Direct, MethodCall
from tuningfork.dialect.gemini.methods import GeminiMethod
from tuningfork.service.answering.generation import Generation
from tuningfork.wire.google.proto_json.encode import Typed
from tuningfork.wire.google.queries import refuse_query
from tuningfork.wire.own.base_limits import render_limits


@dataclass(frozen=True, slots=True)
class BaseLimitMethods:
    """The method of limits."""

    generation: Generation

    def bindings(self) -> tuple[Binding[Typed], ...]:
        """The one method, for whoever may list base models."""
        list_models = GeminiMethod.LIST_MODELS
        return (Binding("GET", "/models", list_models, Direct(self.list), counted_as="base_limits", tagged=True),)

    def list(self, call: MethodCall) -> Typed:
        """models.list: every base model under each of its names, with the limits of that name."""
        refuse_query(call.query)
        return render_limits(self.generation.models())
