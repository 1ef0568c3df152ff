"""Tuned models of adapters that were trained elsewhere."""

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from tuningfork.dialect.call import Binding, BodyStream, Fed, MethodCall, translated_errors
from tuningfork.dialect.own.methods import OwnMethod
from tuningfork.dialect.own.unpacking import MOST_ARCHIVE_BYTES, Unpacking
from tuningfork.domain.base_model import AdapterShape
from tuningfork.domain.errors import InvalidArgument
from tuningfork.service.tuning.importing import Arrival, Importing
from tuningfork.service.tuning.tuned import Tuned
from tuningfork.store.full_disk import full_disk_reported
from tuningfork.wire.gemini.tuning import render_tuned_model
from tuningfork.wire.google.proto_json.encode import Typed
from tuningfork.wire.own.imports import IMPORT, parse_import
from tuningfork.wire.peft import CONFIG, WEIGHTS
from tuningfork.wire.peft.config import parse_config, render_config
from tuningfork.wire.peft.weights import parse_weights

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class ImportMethods:
    """The method of imports. The caller owns the new model.

    All work on files is done in `threads`, since it may take minutes. The threads of other requests stay free.
    """

    importing: Importing
    threads: Executor

    def bindings(self) -> tuple[Binding[Typed], ...]:
        """The one method. Its body is read while it arrives."""
        fed = Fed(self.take, MOST_ARCHIVE_BYTES)
        return (Binding("POST", "/tunedModels:import", OwnMethod.IMPORT_TUNED_MODEL, fed, counted_as="import"),)

    async def take(self, call: MethodCall, body: BodyStream) -> Typed:
        """tunedModels.import: a tuned model of an adapter in PEFT's format, sent as a tar archive of its two files.

        The archive is in no compression. The base is loaded to try the adapter on it, so the answer may take a while.
        """
        with translated_errors(IMPORT), self.importing.turn(call.principal):
            request = parse_import(call.query)
            beginning = self._in_thread(self.importing.begin, call.principal, request)
            try:
                # Not cancelled with the call, so that what has begun is closed.
                await asyncio.wait({beginning})
                tuned = await self._taken(beginning.result(), body)
            finally:
                await asyncio.wait({beginning})
                if beginning.exception() is None:
                    await self._to_its_end(beginning.result().adapter.close)
        return render_tuned_model(tuned.model, tuned.job)

    async def _taken(self, arrival: Arrival, body: BodyStream) -> Tuned:
        directory = arrival.adapter.directory
        with full_disk_reported(), Unpacking(directory, arrival.adapter) as unpacking:
            async for piece in body:
                await self._to_its_end(unpacking.add, piece)
            unpacking.finish()
        shape = await self._to_its_end(_checked, directory)
        seed = await self._to_its_end(arrival.adapter.complete)
        await self.importing.try_out(arrival)
        return await self._to_its_end(self.importing.accept, arrival, shape, seed)

    async def _to_its_end(self, work: Callable[..., Result], *arguments: Any) -> Result:
        """Work in a thread. If the call is cancelled, the thread ends before its files are removed."""
        done = self._in_thread(work, *arguments)
        try:
            return await asyncio.shield(done)
        finally:
            await asyncio.wait({done})

    def _in_thread(self, work: Callable[..., Result], *arguments: Any) -> asyncio.Future[Result]:
        """Work in a thread, where the log knows the request as it does here."""
        here = contextvars.copy_context()
        return asyncio.get_running_loop().run_in_executor(self.threads, partial(here.run, work, *arguments))


@full_disk_reported()
def _checked(directory: Path) -> AdapterShape:
    """Check both files, and replace the configuration by one with nothing but what was understood."""
    try:
        config = parse_config((directory / CONFIG).read_bytes())
        weights = directory / WEIGHTS
        with weights.open("rb") as file:
            parse_weights(file, weights.stat().st_size, config.shape)
    except InvalidArgument as error:
        raise InvalidArgument(f"The adapter cannot be imported: {error.message}.") from error
    (directory / CONFIG).write_bytes(render_config(config))
    return config.shape
