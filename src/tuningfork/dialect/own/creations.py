"""Creating tuned models with what the Gemini API has no field for."""

import asyncio
from dataclasses import dataclass

from tuningfork.dialect.call import Awaited, Binding, MethodCall, translated_errors
from tuningfork.dialect.gemini.methods import GeminiMethod
from tuningfork.service.datasets.creating import Creating
from tuningfork.wire.gemini import tuning
from tuningfork.wire.google.proto_json.encode import Typed
from tuningfork.wire.own.creations import parse_creation, render_creation


@dataclass(frozen=True, slots=True)
class CreationMethods:
    """The method of creating, with the scopes and the budget that the Gemini API's has."""

    creating: Creating

    def bindings(self) -> tuple[Binding[Typed], ...]:
        """The one method."""
        return (
            Binding("POST", "/tunedModels", GeminiMethod.CREATE_TUNED_MODEL, Awaited(self.create), counted_as="create"),
        )

    async def create(self, call: MethodCall) -> Typed:
        """tunedModels.create: takes what `v1alpha` takes, a validation set, a dataset, and the adapter's rank.

        Of several requests of a caller with the same `requestId`, one creates a model, and all are answered with it.
        """
        # Parsing megabytes takes long, so it is done in a thread and not in the event loop.
        asked = await asyncio.to_thread(parse_creation, call.body, call.query)
        with translated_errors(asked.words):
            tuned = await self.creating.created(call.principal, asked.wanted, asked.dataset)
        reads = tuning.reads_multiplier(call.client)
        return render_creation(tuned.model, tuned.job, version=call.version, multiplier=reads)
