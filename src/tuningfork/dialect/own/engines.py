"""What the engines of the server hold and do, for whoever runs the server."""

from dataclasses import dataclass

from tuningfork.dialect.call import Binding, Direct, MethodCall
from tuningfork.dialect.own.methods import OwnMethod
from tuningfork.service.answering.engines import Engines
from tuningfork.wire.google.proto_json.encode import Typed
from tuningfork.wire.google.queries import refuse_query
from tuningfork.wire.own.engines import render_engines


@dataclass(frozen=True, slots=True)
class EngineMethods:
    """The method of engines."""

    engines: Engines

    def bindings(self) -> tuple[Binding[Typed], ...]:
        """The one method. Whoever polls it may send the tag of the last answer."""
        return (Binding("GET", "/engines", OwnMethod.GET_ENGINES, Direct(self.get), tagged=True),)

    def get(self, call: MethodCall) -> Typed:
        """engines.get: jobs in training, adapters, memory by process, the queue by owner, errors, work, the disk."""
        refuse_query(call.query)
        return render_engines(self.engines.report(call.principal))
