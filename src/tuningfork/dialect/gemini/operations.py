"""The long-running operations that tuning jobs look like from outside."""

from dataclasses import dataclass

from tuningfork.dialect.call import Binding, Direct, MethodCall
from tuningfork.domain.method import Method
from tuningfork.domain.tuning_job import JobId
from tuningfork.service.tuning import Tuning
from tuningfork.wire.gemini import tuning as wire
from tuningfork.wire.proto_json.encode import Typed


@dataclass(frozen=True, slots=True)
class OperationMethods:
    """google.longrunning.Operations, below a tuned model."""

    tuning: Tuning

    def bindings(self) -> tuple[Binding, ...]:
        """Rows 23 to 26 of the route table."""
        one = "/tunedModels/{tuned_model:id}/operations/{operation:id}"
        return (
            Binding("GET", one, Method.GET_OPERATION, Direct(self.get)),
            Binding("POST", f"{one}:cancel", Method.CANCEL_OPERATION, Direct(self.cancel)),
        )

    def get(self, call: MethodCall) -> Typed:
        """operations.get."""
        wire.refuse_query(call.query)
        tuned = self.tuning.get_operation(call.principal, call.tuned_model, JobId(call.path["operation"]))
        return wire.render_operation(tuned.model, tuned.job)

    def cancel(self, call: MethodCall) -> Typed:
        """operations.cancel."""
        wire.refuse_query(call.query)
        wire.parse_cancel(call.body)
        self.tuning.cancel(call.principal, call.tuned_model, JobId(call.path["operation"]))
        return wire.render_empty()
