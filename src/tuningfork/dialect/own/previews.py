"""Previews of a tuning: what would be trained, without training it."""

import asyncio
from dataclasses import dataclass

from tuningfork.dialect.call import Awaited, Binding, MethodCall, translated_errors
from tuningfork.dialect.own.methods import OwnMethod
from tuningfork.service.datasets.creating import Creating
from tuningfork.service.tuning.previewing import Previewing
from tuningfork.wire.google.proto_json.encode import Typed
from tuningfork.wire.own import previews as wire


@dataclass(frozen=True, slots=True)
class PreviewMethods:
    """The method of previews."""

    previewing: Previewing
    creating: Creating

    def bindings(self) -> tuple[Binding[Typed], ...]:
        """The one method."""
        return (Binding("POST", "/tunedModels:preview", OwnMethod.PREVIEW_TUNED_MODEL, Awaited(self.preview)),)

    async def preview(self, call: MethodCall) -> Typed:
        """tunedModels.preview: takes what tunedModels.create takes, conversations too, and stores nothing."""
        # Parsing megabytes takes long, so it is done in a thread and not in the event loop.
        asked, shown = await asyncio.to_thread(wire.parse_preview, call.body, call.query)
        with translated_errors(asked.words):
            wanted = await self.creating.filled_in_turn(call.principal, asked.wanted, asked.dataset)
            return wire.render_preview(await self.previewing.preview(call.principal, wanted, shown))
