"""Probe prompts of a job, and the answers to them before the training and after its epochs."""

from dataclasses import dataclass

from tuningfork.dialect.call import Binding, Direct, MethodCall
from tuningfork.dialect.gemini.methods import GeminiMethod
from tuningfork.service.tuning.probing import Probing
from tuningfork.wire.google.proto_json.encode import Typed
from tuningfork.wire.google.queries import refuse_query
from tuningfork.wire.own.probes import render_probes


@dataclass(frozen=True, slots=True)
class ProbeMethods:
    """The method of probes, for callers who may read the tuned model."""

    probing: Probing

    def bindings(self) -> tuple[Binding[Typed], ...]:
        """The one method. Whoever polls it may send the tag of the last answer."""
        path, method = "/tunedModels/{tuned_model:id}/probes", GeminiMethod.GET_TUNED_MODEL
        return (Binding("GET", path, method, Direct(self.probes), counted_as="probes", tagged=True),)

    def probes(self, call: MethodCall) -> Typed:
        """tunedModels.probes: the probe prompts of one model's job, each with its answers so far."""
        refuse_query(call.query)
        return render_probes(self.probing.shown(call.principal, call.tuned_model))
