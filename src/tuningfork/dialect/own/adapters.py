"""The adapter of a tuned model: whether it is in memory, and its files for download."""

from dataclasses import dataclass

from tuningfork.dialect.call import Binding, Direct, Download, Downloaded, MethodCall
from tuningfork.dialect.gemini.methods import GeminiMethod
from tuningfork.dialect.own.archive import AdapterArchive
from tuningfork.dialect.own.methods import OwnMethod
from tuningfork.service.answering.residency import Residency
from tuningfork.service.tuning.exporting import Exporting
from tuningfork.wire.gemini.names import tuned_name
from tuningfork.wire.google.proto_json.encode import Typed
from tuningfork.wire.google.queries import refuse_query
from tuningfork.wire.own.exports import parse_export
from tuningfork.wire.own.residence import render_residence


@dataclass(frozen=True, slots=True)
class AdapterMethods:
    """Methods about adapters, for callers who may read the tuned model."""

    exporting: Exporting
    residency: Residency

    def bindings(self) -> tuple[Binding[Typed], ...]:
        """Both methods, with paths below the tuned model's. `residence` needs the scopes of getting the model."""
        one = "/tunedModels/{tuned_model:id}"
        return (
            Binding("GET", f"{one}/adapter", OwnMethod.EXPORT_ADAPTER, Downloaded(self.export), counted_as="adapter"),
            Binding(
                "GET", f"{one}/residence", GeminiMethod.GET_TUNED_MODEL, Direct(self.residence), counted_as="residence"
            ),
        )

    def residence(self, call: MethodCall) -> Typed:
        """tunedModels.residence: whether the adapter is in the generator's memory."""
        refuse_query(call.query)
        found = self.residency.of(call.principal, call.tuned_model)
        return render_residence(tuned_name(found.model_id), found.size_bytes, found.shape, pinned=found.pinned)

    def export(self, call: MethodCall) -> Download:
        """tunedModels.adapter: the adapter in PEFT's format, as a tar archive.

        The parameter `baseName` is what the adapter is to call its base.
        """
        files = self.exporting.adapter(call.principal, call.tuned_model, parse_export(call.query))
        archive = AdapterArchive(files.directory, files.replaced)
        return Download(
            content_type="application/x-tar",
            filename=f"{call.tuned_model}.tar",
            size=archive.size,
            pieces=archive.pieces(),
        )
