"""Methods that this server does not have, refused by name."""

from dataclasses import dataclass

from tuningfork.dialect.call import Binding, Direct, MethodCall
from tuningfork.dialect.vertex.places import PARENTS, place_of
from tuningfork.dialect.vertex.serving_methods import ServingMethod
from tuningfork.domain.errors import Unimplemented
from tuningfork.wire.google.proto_json.encode import Typed

_REFUSED = {
    "batchPredictionJobs": "There are no batches on this server; send the requests to generateContent.",
    "models:upload": "Adapters are imported by `tuningfork import`, or POST /tuningfork/v1/tunedModels:import.",
    "models:copy": "Models are not copied; grant permissions on them instead.",
    "cachedContents": "Contents are not cached by name; prompts that begin alike are read once anyway.",
}
"""What follows a project and a location in paths of POST requests, and why there is no such method."""


@dataclass(frozen=True, slots=True)
class RefusedMethods:
    """The methods that clients were seen to call and that no use case serves."""

    def bindings(self) -> tuple[Binding[Typed], ...]:
        """Below projects alone."""
        [parent, *_] = PARENTS
        return tuple(
            Binding("POST", f"{parent}/{path}", ServingMethod.NOT_SERVED, Direct(_Refusal(path, why).answer))
            for path, why in _REFUSED.items()
        )


@dataclass(frozen=True, slots=True)
class _Refusal:
    path: str
    why: str

    def answer(self, call: MethodCall) -> Typed:
        """A method that this server does not have."""
        place_of(call)
        raise Unimplemented(f"{self.path} is not served: {self.why}")
