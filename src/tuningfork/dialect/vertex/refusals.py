"""Methods that this server does not have, refused by name."""

from dataclasses import dataclass
from functools import partial

from tuningfork.dialect.call import Binding, Direct, MethodCall
from tuningfork.dialect.vertex.serving_methods import ServingMethod
from tuningfork.dialect.vertex.serving_places import PARENTS, place_of
from tuningfork.domain.errors import Unimplemented
from tuningfork.wire.google.proto_json.encode import Typed

_REFUSED = {
    "tuningJobs:optimizePrompt": "Prompts are not optimized on this server.",
    "tuningJobs:processData": "Training files are processed when a tuning job is created.",
    "tuningJobs:validateReinforcementTuningReward": "There is no reinforcement tuning on this server.",
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
        """Below projects and without one."""
        return tuple(
            Binding("POST", f"{parent}/{path}", ServingMethod.NOT_SERVED, Direct(partial(_refuse, path, why)))
            for parent in PARENTS
            for path, why in _REFUSED.items()
            # Without a project, `cachedContents` and `models` are names of the Gemini API.
            if parent or path.startswith("tuningJobs")
        )


def _refuse(path: str, why: str, call: MethodCall) -> Typed:
    place_of(call)
    raise Unimplemented(f"{path} is not served: {why}")
