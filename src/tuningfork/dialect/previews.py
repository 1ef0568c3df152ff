"""Previews of a tuning: a method of ours beside the Gemini API's, which has none like it."""

import asyncio
from dataclasses import dataclass

from tuningfork.dialect.call import Awaited, Binding, MethodCall, relocating
from tuningfork.domain.method import Method
from tuningfork.service.previewing import Previewing
from tuningfork.wire import previews as wire
from tuningfork.wire.gemini.tuning import CREATE
from tuningfork.wire.proto_json.encode import Typed


@dataclass(frozen=True, slots=True)
class PreviewMethods:
    """Looking at what would be trained."""

    previewing: Previewing

    def bindings(self) -> tuple[Binding, ...]:
        """The one method."""
        return (Binding("POST", "/tunedModels:preview", Method.PREVIEW_TUNED_MODEL, Awaited(self.preview)),)

    async def preview(self, call: MethodCall) -> Typed:
        """tunedModels.preview: takes what tunedModels.create takes, and stores nothing."""
        # Megabytes take their time to read, and the loop has others to serve.
        wanted, shown = await asyncio.to_thread(wire.parse_preview, call.body, call.query)
        with relocating(CREATE):
            return wire.render_preview(await self.previewing.preview(call.principal, wanted, shown))
