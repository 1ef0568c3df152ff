"""The library: pages of tuned models that can be searched, sorted and jumped to. The Gemini API's list cannot."""

from dataclasses import dataclass

from tuningfork.dialect.call import Binding, Direct, MethodCall
from tuningfork.dialect.gemini.methods import GeminiMethod
from tuningfork.service.tuning.library import Library
from tuningfork.wire.google.proto_json.encode import Typed
from tuningfork.wire.own import library as wire


@dataclass(frozen=True, slots=True)
class LibraryMethods:
    """The method of the library. It needs the scopes of listing models."""

    library: Library

    def bindings(self) -> tuple[Binding[Typed], ...]:
        """The one method. Whoever polls it may send the tag of the last answer."""
        method = GeminiMethod.LIST_TUNED_MODELS
        return (Binding("GET", "/tunedModels", method, Direct(self.page), counted_as="library", tagged=True),)

    def page(self, call: MethodCall) -> Typed:
        """tunedModels.list: a page of the models that the caller may see, each with what its job is doing."""
        query = wire.parse_library(call.query, call.principal)
        return wire.render_library(self.library.page(call.principal, query), self.library.clock())
