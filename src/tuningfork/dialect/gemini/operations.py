"""Long-running operations, which is how the API shows tuning jobs."""

from dataclasses import dataclass

from tuningfork.dialect.call import Binding, Direct, MethodCall, translated_errors
from tuningfork.dialect.gemini.methods import GeminiMethod
from tuningfork.domain.tuning_job import JobId
from tuningfork.service.tuning.tuning import Tuning
from tuningfork.wire.gemini import operations as wire
from tuningfork.wire.gemini.tuning import reads_multiplier
from tuningfork.wire.google.proto_json.encode import Typed
from tuningfork.wire.google.queries import refuse_query, render_empty


@dataclass(frozen=True, slots=True)
class OperationMethods:
    """The methods of google.longrunning.Operations, for one tuned model or for all of the caller's models."""

    tuning: Tuning

    def bindings(self) -> tuple[Binding[Typed], ...]:
        """Rows 23 to 26 of the route table, and the list of all, which is published without a row (section 2)."""
        all_of_them = "/tunedModels/{tuned_model:id}/operations"
        one = f"{all_of_them}/{{operation:id}}"
        return (
            Binding("GET", "/operations", GeminiMethod.LIST_OPERATIONS, Direct(self.list_all)),
            Binding("GET", all_of_them, GeminiMethod.LIST_OPERATIONS, Direct(self.list)),
            Binding("GET", one, GeminiMethod.GET_OPERATION, Direct(self.get)),
            Binding("POST", f"{one}:cancel", GeminiMethod.CANCEL_OPERATION, Direct(self.cancel)),
            Binding("DELETE", one, GeminiMethod.DELETE_OPERATION, Direct(self.delete)),
        )

    def list_all(self, call: MethodCall) -> Typed:
        """operations.list without a model: the operations of a page of the caller's models.

        With a filter, the page may have fewer operations than requested.
        """
        wanted = wire.parse_list(call.query)
        with translated_errors(wire.LIST_ALL):
            page = self.tuning.list(
                call.principal,
                page_size=wanted.page_size,
                page_token=wanted.page_token,
                snapshots=_wants_snapshots(call, "operations"),
            )
        return wire.render_operations(
            ((each.model, each.job) for each in page.items if wanted.done in (None, each.job.state.is_final)),
            page.next_page_token,
            version=call.version,
            multiplier=reads_multiplier(call.client),
        )

    def list(self, call: MethodCall) -> Typed:
        """operations.list."""
        wanted = wire.parse_list(call.query)
        with translated_errors(wire.LIST):
            page = self.tuning.list_operations(
                call.principal,
                call.tuned_model,
                done=wanted.done,
                page_size=wanted.page_size,
                page_token=wanted.page_token,
                snapshots=_wants_snapshots(call, "operations"),
            )
        return wire.render_operations(
            ((tuned.model, tuned.job) for tuned in page.items),
            page.next_page_token,
            version=call.version,
            multiplier=reads_multiplier(call.client),
        )

    def get(self, call: MethodCall) -> Typed:
        """operations.get."""
        refuse_query(call.query)
        job_id = JobId(call.path["operation"])
        tuned = self.tuning.get_operation(call.principal, call.tuned_model, job_id, snapshots=_wants_snapshots(call))
        reads = reads_multiplier(call.client)
        return wire.render_operation(tuned.model, tuned.job, version=call.version, multiplier=reads)

    def cancel(self, call: MethodCall) -> Typed:
        """operations.cancel."""
        refuse_query(call.query)
        wire.parse_cancel(call.body)
        self.tuning.cancel(call.principal, call.tuned_model, JobId(call.path["operation"]))
        return render_empty()

    def delete(self, call: MethodCall) -> Typed:
        """operations.delete: the caller needs the result no more. The operation stays readable as long as its model."""
        refuse_query(call.query)
        self.tuning.dismiss_operation(call.principal, call.tuned_model, JobId(call.path["operation"]))
        return render_empty()


def _wants_snapshots(call: MethodCall, *operation: str) -> bool:
    """Whether the caller wants snapshots in an operation, which lies at this path of the answer; they are in it twice.

    A mask reaches one level into metadata and response, so `response(tuningTask)` is with snapshots.
    """
    return call.wants(*operation, "metadata", "snapshots") or call.wants(*operation, "response", "tuning_task")
