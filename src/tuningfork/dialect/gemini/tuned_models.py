"""ModelService's methods of tuned models."""

from dataclasses import dataclass

from tuningfork.dialect.call import Binding, Direct, MethodCall, relocating
from tuningfork.domain.method import Method
from tuningfork.service.tuning import Tuning
from tuningfork.wire.gemini import operations
from tuningfork.wire.gemini import tuning as wire
from tuningfork.wire.proto_json.encode import Typed


@dataclass(frozen=True, slots=True)
class TunedModelMethods:
    """Creating, looking, listing, changing, cancelling, deleting."""

    tuning: Tuning

    def bindings(self) -> tuple[Binding, ...]:
        """Rows 7 to 11 and 17 of the route table."""
        one = "/tunedModels/{tuned_model:id}"
        return (
            Binding("POST", "/tunedModels", Method.CREATE_TUNED_MODEL, Direct(self.create)),
            Binding("GET", "/tunedModels", Method.LIST_TUNED_MODELS, Direct(self.list)),
            Binding("GET", one, Method.GET_TUNED_MODEL, Direct(self.get)),
            Binding("PATCH", one, Method.UPDATE_TUNED_MODEL, Direct(self.update)),
            Binding("DELETE", one, Method.DELETE_TUNED_MODEL, Direct(self.delete)),
            Binding("POST", f"{one}:cancel", Method.CANCEL_TUNED_MODEL, Direct(self.cancel)),
        )

    def create(self, call: MethodCall) -> Typed:
        """tunedModels.create."""
        wanted = wire.parse_create(call.body, call.query)
        with relocating(wire.CREATE):
            tuned = self.tuning.create(call.principal, wanted)
        return operations.render_operation(tuned.model, tuned.job, multiplier=wire.reads_multiplier(call.client))

    def list(self, call: MethodCall) -> Typed:
        """tunedModels.list."""
        wanted = wire.parse_list(call.query)
        page = self.tuning.list(
            call.principal, page_size=wanted.page_size, page_token=wanted.page_token, filter=wanted.filter
        )
        return wire.render_tuned_models(
            ((tuned.model, tuned.job) for tuned in page.items),
            page.next_page_token,
            multiplier=wire.reads_multiplier(call.client),
        )

    def get(self, call: MethodCall) -> Typed:
        """tunedModels.get."""
        wire.refuse_query(call.query)
        tuned = self.tuning.get(call.principal, call.tuned_model)
        return wire.render_tuned_model(tuned.model, tuned.job, multiplier=wire.reads_multiplier(call.client))

    def update(self, call: MethodCall) -> Typed:
        """tunedModels.patch."""
        change = wire.parse_update(call.body, call.query)
        with relocating(wire.UPDATE):
            tuned = self.tuning.update(call.principal, call.tuned_model, change)
        return wire.render_tuned_model(tuned.model, tuned.job, multiplier=wire.reads_multiplier(call.client))

    def delete(self, call: MethodCall) -> Typed:
        """tunedModels.delete."""
        wire.refuse_query(call.query)
        self.tuning.delete(call.principal, call.tuned_model)
        return wire.render_empty()

    def cancel(self, call: MethodCall) -> Typed:
        """tunedModels.cancel, which has no service behind it but clients that call it."""
        wire.refuse_query(call.query)
        operations.parse_cancel(call.body)
        self.tuning.cancel(call.principal, call.tuned_model)
        return wire.render_empty()
