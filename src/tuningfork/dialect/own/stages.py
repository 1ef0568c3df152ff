"""What tuning jobs are doing, more closely than their operations tell. The Gemini API has no field for it."""

from dataclasses import dataclass

from tuningfork.dialect.call import Binding, Direct, MethodCall
from tuningfork.dialect.gemini.methods import GeminiMethod
from tuningfork.service.tuning.staging import Staging
from tuningfork.wire.google.proto_json.encode import Typed
from tuningfork.wire.google.queries import refuse_query
from tuningfork.wire.own import stages as wire


@dataclass(frozen=True, slots=True)
class StageMethods:
    """Methods about stages, for callers who may read the tuned models."""

    staging: Staging

    def bindings(self) -> tuple[Binding[Typed], ...]:
        """Of one model's job and of all. They need the scopes of getting and listing models."""
        one = "/tunedModels/{tuned_model:id}/stage"
        return (
            Binding("GET", one, GeminiMethod.GET_TUNED_MODEL, Direct(self.get), counted_as="stage"),
            Binding("GET", "/stages", GeminiMethod.LIST_TUNED_MODELS, Direct(self.list), counted_as="stages"),
        )

    def get(self, call: MethodCall) -> Typed:
        """tunedModels.stage: what one model's job is doing, and about how long it takes for the rest of its steps."""
        refuse_query(call.query)
        return wire.render_stage(self.staging.of(call.principal, call.tuned_model))

    def list(self, call: MethodCall) -> Typed:
        """stages.list: what the jobs of the caller's models are doing; jobs that have ended are left out.

        So a page may have fewer entries than requested.
        """
        page_size, page_token = wire.parse_list(call.query)
        page = self.staging.list(call.principal, page_size=page_size, page_token=page_token)
        return wire.render_stages(page.items, page.next_page_token)
