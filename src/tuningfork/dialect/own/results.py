"""What validation sets have shown, and the checkpoints of tuned models. The Gemini API has neither."""

from dataclasses import dataclass

from tuningfork.dialect.call import Binding, Direct, MethodCall, translated_errors
from tuningfork.dialect.gemini.methods import GeminiMethod
from tuningfork.service.tuning.results import KeptCheckpoints, Results
from tuningfork.wire.google.proto_json.encode import Typed
from tuningfork.wire.google.queries import refuse_query
from tuningfork.wire.own import results as wire


@dataclass(frozen=True, slots=True)
class ResultMethods:
    """Methods about evaluations and checkpoints. They need the scopes of getting and updating models."""

    results: Results

    def bindings(self) -> tuple[Binding[Typed], ...]:
        """Two for callers who may read the model, and one for those who may change it."""
        one = "/tunedModels/{tuned_model:id}"
        get, update = GeminiMethod.GET_TUNED_MODEL, GeminiMethod.UPDATE_TUNED_MODEL
        return (
            Binding("GET", f"{one}/evaluations", get, Direct(self.evaluations), counted_as="evaluations"),
            Binding("GET", f"{one}/checkpoints", get, Direct(self.checkpoints), counted_as="checkpoints"),
            Binding("POST", f"{one}:useCheckpoint", update, Direct(self.use), counted_as="use_checkpoint"),
        )

    def evaluations(self, call: MethodCall) -> Typed:
        """tunedModels.evaluations: the results on the validation set, in the order of steps, in pages."""
        page_size, page_token = wire.parse_list(call.query)
        with translated_errors(wire.LIST):
            found = self.results.evaluations(
                call.principal, call.tuned_model, page_size=page_size, page_token=page_token
            )
        page = found.page
        return wire.render_evaluations(
            found.tuned.job, page.items, page.next_page_token, best=found.best, stopped_early=found.why_early
        )

    def checkpoints(self, call: MethodCall) -> Typed:
        """tunedModels.checkpoints: the checkpoints of one model, each with its losses."""
        refuse_query(call.query)
        return _rendered(self.results.checkpoints(call.principal, call.tuned_model))

    def use(self, call: MethodCall) -> Typed:
        """tunedModels.useCheckpoint: answer with the weights of a checkpoint from now on; the answer lists all."""
        refuse_query(call.query)
        number = wire.parse_use(call.body)
        with translated_errors(wire.USE):
            return _rendered(self.results.use(call.principal, call.tuned_model, number))


def _rendered(kept: KeptCheckpoints) -> Typed:
    return wire.render_checkpoints(kept.tuned.model, kept.items)
