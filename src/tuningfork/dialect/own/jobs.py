"""One tuning job in full, and its losses from a step on. The Gemini API has no fields for most of it."""

from dataclasses import dataclass

from tuningfork.dialect.call import Binding, Direct, MethodCall
from tuningfork.dialect.gemini.methods import GeminiMethod
from tuningfork.service.tuning.detailing import Detailing
from tuningfork.wire.google.proto_json.encode import Typed
from tuningfork.wire.google.queries import refuse_query
from tuningfork.wire.own import jobs, series


@dataclass(frozen=True, slots=True)
class JobMethods:
    """Methods about one job, for callers who may read the tuned model. They need the scopes of getting the model."""

    detailing: Detailing

    def bindings(self) -> tuple[Binding[Typed], ...]:
        """Both. Whoever polls them may send the tag of the last answer."""
        one, method = "/tunedModels/{tuned_model:id}", GeminiMethod.GET_TUNED_MODEL
        return (
            Binding("GET", f"{one}/job", method, Direct(self.job), counted_as="job", tagged=True),
            Binding("GET", f"{one}/series", method, Direct(self.series), counted_as="series", tagged=True),
        )

    def job(self, call: MethodCall) -> Typed:
        """tunedModels.job: state, place in the queue, estimates, losses, events and settings of one model's job."""
        refuse_query(call.query)
        return jobs.render_job(self.detailing.detail(call.principal, call.tuned_model))

    def series(self, call: MethodCall) -> Typed:
        """tunedModels.series: the losses after `afterStep`, and those on the validation set after another step."""
        after, after_validation = series.parse_series(call.query)
        found = self.detailing.series(
            call.principal, call.tuned_model, after_step=max(0, after), after_validation_step=after_validation
        )
        return series.render_series(found, max(0, after), after_validation)
