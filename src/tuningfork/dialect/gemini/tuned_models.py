"""ModelService's methods of tuned models."""

from dataclasses import dataclass

from tuningfork.dialect.call import Binding, Direct, MethodCall, translated_errors
from tuningfork.dialect.gemini.methods import GeminiMethod
from tuningfork.service.tuning.tuning import Tuning
from tuningfork.wire.gemini import operations
from tuningfork.wire.gemini import tuning as wire
from tuningfork.wire.google.proto_json.encode import Typed
from tuningfork.wire.google.queries import refuse_query, render_empty

_TAKES_CONVERSATIONS = "v1alpha"


@dataclass(frozen=True, slots=True)
class TunedModelMethods:
    """Creates, gets, lists, updates, cancels and deletes tuned models."""

    tuning: Tuning

    def bindings(self) -> tuple[Binding[Typed], ...]:
        """Rows 7 to 11 and 17 of the route table."""
        one = "/tunedModels/{tuned_model:id}"
        return (
            Binding("POST", "/tunedModels", GeminiMethod.CREATE_TUNED_MODEL, Direct(self.create)),
            Binding("GET", "/tunedModels", GeminiMethod.LIST_TUNED_MODELS, Direct(self.list)),
            Binding("GET", one, GeminiMethod.GET_TUNED_MODEL, Direct(self.get)),
            Binding("PATCH", one, GeminiMethod.UPDATE_TUNED_MODEL, Direct(self.update)),
            Binding("DELETE", one, GeminiMethod.DELETE_TUNED_MODEL, Direct(self.delete)),
            Binding("POST", f"{one}:cancel", GeminiMethod.CANCEL_TUNED_MODEL, Direct(self.cancel)),
        )

    def create(self, call: MethodCall) -> Typed:
        """tunedModels.create; `v1alpha` takes conversations too."""
        if call.version == _TAKES_CONVERSATIONS:
            wanted, words = wire.parse_multiturn_create(call.body, call.query)
        else:
            wanted, words = wire.parse_create(call.body, call.query), wire.CREATE
        with translated_errors(words):
            tuned = self.tuning.create(call.principal, wanted)
        reads = wire.reads_multiplier(call.client)
        return operations.render_operation(tuned.model, tuned.job, version=call.version, multiplier=reads)

    def list(self, call: MethodCall) -> Typed:
        """tunedModels.list."""
        wanted = wire.parse_list(call.query)
        with translated_errors(wire.LIST):
            page = self.tuning.list(
                call.principal,
                page_size=wanted.page_size,
                page_token=wanted.page_token,
                filter=wanted.filter,
                snapshots=call.wants("tuned_models", "tuning_task", "snapshots"),
            )
        return wire.render_tuned_models(
            ((tuned.model, tuned.job) for tuned in page.items),
            page.next_page_token,
            multiplier=wire.reads_multiplier(call.client),
        )

    def get(self, call: MethodCall) -> Typed:
        """tunedModels.get."""
        refuse_query(call.query)
        tuned = self.tuning.get(call.principal, call.tuned_model, snapshots=call.wants("tuning_task", "snapshots"))
        return wire.render_tuned_model(tuned.model, tuned.job, multiplier=wire.reads_multiplier(call.client))

    def update(self, call: MethodCall) -> Typed:
        """tunedModels.patch."""
        change = wire.parse_update(call.body, call.query)
        with translated_errors(wire.UPDATE):
            tuned = self.tuning.update(call.principal, call.tuned_model, change)
        return wire.render_tuned_model(tuned.model, tuned.job, multiplier=wire.reads_multiplier(call.client))

    def delete(self, call: MethodCall) -> Typed:
        """tunedModels.delete."""
        refuse_query(call.query)
        self.tuning.delete(call.principal, call.tuned_model)
        return render_empty()

    def cancel(self, call: MethodCall) -> Typed:
        """tunedModels.cancel, which no published service has but which some clients call."""
        refuse_query(call.query)
        operations.parse_cancel(call.body)
        self.tuning.cancel(call.principal, call.tuned_model)
        return render_empty()
