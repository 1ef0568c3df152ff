"""What the losses of tuning jobs give reason to warn of. The Gemini API has no field for it."""

from dataclasses import dataclass

from tuningfork.dialect.call import Binding, Direct, MethodCall
from tuningfork.dialect.gemini.methods import GeminiMethod
from tuningfork.service.tuning.diagnosing import Diagnosing
from tuningfork.wire.google.proto_json.encode import Typed
from tuningfork.wire.google.queries import refuse_query
from tuningfork.wire.own import diagnoses as wire


@dataclass(frozen=True, slots=True)
class DiagnosisMethods:
    """Methods about findings, for callers who may read the tuned models."""

    diagnosing: Diagnosing

    def bindings(self) -> tuple[Binding[Typed], ...]:
        """Of one model and of all. They need the scopes of getting and listing models."""
        one = "/tunedModels/{tuned_model:id}/diagnosis"
        return (
            Binding("GET", one, GeminiMethod.GET_TUNED_MODEL, Direct(self.get), counted_as="diagnosis"),
            Binding("GET", "/diagnoses", GeminiMethod.LIST_TUNED_MODELS, Direct(self.list), counted_as="diagnoses"),
        )

    def get(self, call: MethodCall) -> Typed:
        """tunedModels.diagnosis: the findings in one model's losses so far, with what to try."""
        refuse_query(call.query)
        found = self.diagnosing.of(call.principal, call.tuned_model)
        return wire.render_diagnosis(found.job, found.findings)

    def list(self, call: MethodCall) -> Typed:
        """diagnoses.list: the kinds of findings of the caller's models; models without any are left out.

        So a page may have fewer entries than requested.
        """
        page_size, page_token = wire.parse_list(call.query)
        page = self.diagnosing.list(call.principal, page_size=page_size, page_token=page_token)
        return wire.render_diagnoses([(each.job, each.kinds) for each in page.items], page.next_page_token)
