"""The queue: which jobs wait and are at work, and stopping one; for whoever runs the server, also those of others."""

from dataclasses import dataclass

from tuningfork.dialect.call import Binding, Direct, MethodCall
from tuningfork.dialect.own.methods import OwnMethod
from tuningfork.service.operating.unfinished import Unfinished
from tuningfork.wire.google.proto_json.encode import Typed
from tuningfork.wire.google.queries import refuse_query, render_empty
from tuningfork.wire.own.queue import render_queue


@dataclass(frozen=True, slots=True)
class QueueMethods:
    """Methods about jobs that have not ended."""

    unfinished: Unfinished

    def bindings(self) -> tuple[Binding[Typed], ...]:
        """Both. Whoever polls the queue may send the tag of the last answer."""
        cancel = "/queue/{tuned_model:id}:cancel"
        return (
            Binding("GET", "/queue", OwnMethod.GET_QUEUE, Direct(self.get), tagged=True),
            Binding("POST", cancel, OwnMethod.CANCEL_JOB, Direct(self.cancel)),
        )

    def get(self, call: MethodCall) -> Typed:
        """queue.get: the jobs that have not ended, in the order in which they are taken up, with their progress."""
        refuse_query(call.query)
        return render_queue(self.unfinished.list(call.principal), self.unfinished.clock())

    def cancel(self, call: MethodCall) -> Typed:
        """queue.cancel: the job stops after its step and keeps what it has learned; one that waits ends at once."""
        refuse_query(call.query)
        self.unfinished.cancel(call.principal, call.tuned_model)
        return render_empty()
