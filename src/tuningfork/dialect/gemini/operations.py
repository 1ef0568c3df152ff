"""The long-running operations that tuning jobs look like from outside."""

from dataclasses import dataclass

from tuningfork.dialect.call import Binding, Direct, MethodCall, relocating
from tuningfork.domain.method import Method
from tuningfork.domain.tuning_job import JobId
from tuningfork.service.tuning import Tuning
from tuningfork.wire.gemini import operations as wire
from tuningfork.wire.gemini.tuning import reads_multiplier, refuse_query, render_empty
from tuningfork.wire.proto_json.encode import Typed


@dataclass(frozen=True, slots=True)
class OperationMethods:
    """google.longrunning.Operations, below a tuned model, and of all models together."""

    tuning: Tuning

    def bindings(self) -> tuple[Binding, ...]:
        """Rows 23 to 26 of the route table, and the list of all, which is published without a row (section 2)."""
        all_of_them = "/tunedModels/{tuned_model:id}/operations"
        one = f"{all_of_them}/{{operation:id}}"
        return (
            Binding("GET", "/operations", Method.LIST_OPERATIONS, Direct(self.list_all)),
            Binding("GET", all_of_them, Method.LIST_OPERATIONS, Direct(self.list)),
            Binding("GET", one, Method.GET_OPERATION, Direct(self.get)),
            Binding("POST", f"{one}:cancel", Method.CANCEL_OPERATION, Direct(self.cancel)),
            Binding("DELETE", one, Method.DELETE_OPERATION, Direct(self.delete)),
        )

    def list_all(self, call: MethodCall) -> Typed:
        """operations.list without a model: a page of the caller's models, by their operations.

        With a filter it may be shorter than was asked for.
        """
        wanted = wire.parse_list(call.query)
        with relocating(wire.LIST):
            page = self.tuning.list(call.principal, page_size=wanted.page_size, page_token=wanted.page_token)
        return wire.render_operations(
            ((each.model, each.job) for each in page.items if wanted.done in (None, each.job.state.is_final)),
            page.next_page_token,
            multiplier=reads_multiplier(call.client),
        )

    def list(self, call: MethodCall) -> Typed:
        """operations.list."""
        wanted = wire.parse_list(call.query)
        page = self.tuning.list_operations(
            call.principal,
            call.tuned_model,
            done=wanted.done,
            page_size=wanted.page_size,
            page_token=wanted.page_token,
        )
        return wire.render_operations(
            ((tuned.model, tuned.job) for tuned in page.items),
            page.next_page_token,
            multiplier=reads_multiplier(call.client),
        )

    def get(self, call: MethodCall) -> Typed:
        """operations.get."""
        refuse_query(call.query)
        tuned = self.tuning.get_operation(call.principal, call.tuned_model, JobId(call.path["operation"]))
        return wire.render_operation(tuned.model, tuned.job, multiplier=reads_multiplier(call.client))

    def cancel(self, call: MethodCall) -> Typed:
        """operations.cancel."""
        refuse_query(call.query)
        wire.parse_cancel(call.body)
        self.tuning.cancel(call.principal, call.tuned_model, JobId(call.path["operation"]))
        return render_empty()

    def delete(self, call: MethodCall) -> Typed:
        """operations.delete, which says that nobody waits for the result; the operation lives as long as its model."""
        refuse_query(call.query)
        self.tuning.dismiss_operation(call.principal, call.tuned_model, JobId(call.path["operation"]))
        return render_empty()
