"""Registered models: their versions and checkpoints, and the base models of publishers."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from tuningfork.dialect.call import Binding, Direct, MethodCall, translated_errors
from tuningfork.dialect.vertex.places import PARENTS, place_of, roles_named
from tuningfork.dialect.vertex.serving_methods import ServingMethod
from tuningfork.domain.base_model import with_prefix
from tuningfork.domain.references import BaseRef
from tuningfork.domain.tuned_model import ProjectLocation
from tuningfork.service.answering.generation import Generation
from tuningfork.service.tuning.registered import NoSuchModel, Registered
from tuningfork.service.tuning.registry import Registry
from tuningfork.wire.google.proto_json.encode import Typed
from tuningfork.wire.google.queries import refuse_query
from tuningfork.wire.google.requests import RequestWords
from tuningfork.wire.vertex import registry as wire
from tuningfork.wire.vertex.done_operations import Deed, DoneOperation, render_done
from tuningfork.wire.vertex.filters import all_hold
from tuningfork.wire.vertex.names import location_name, split_version
from tuningfork.wire.vertex.publishers import parse_get, parse_list, render_publisher_model, render_publisher_models

_LIST = RequestWords("ListModelsRequest")
_UPDATE = RequestWords("UpdateModelRequest", {"": "model."})
_DELETE = RequestWords("DeleteModelRequest")
_ALIASES = RequestWords("MergeVersionAliasesRequest")


@dataclass(frozen=True, slots=True)
class ModelMethods:
    """The methods of ModelService, and those of ModelGardenService. `clock` gives the time of an operation."""

    registry: Registry
    generation: Generation
    clock: Callable[[], datetime]

    def bindings(self) -> tuple[Binding[Typed], ...]:
        """Tuned models below projects; base models without one, as google-genai asks for them, too."""
        [prefixed, *_] = PARENTS
        one = f"{prefixed}/models/{{model:id}}"
        return (
            Binding("GET", f"{prefixed}/models", ServingMethod.LIST_MODELS, Direct(self.list)),
            Binding("GET", one, ServingMethod.GET_MODEL, Direct(self.get)),
            Binding("PATCH", one, ServingMethod.UPDATE_MODEL, Direct(self.patch)),
            Binding("DELETE", one, ServingMethod.DELETE_MODEL, Direct(self.delete)),
            Binding("GET", f"{one}:listVersions", ServingMethod.LIST_MODEL_VERSIONS, Direct(self.list_versions)),
            Binding(
                "GET",
                f"{one}:listCheckpoints",
                ServingMethod.LIST_MODEL_VERSION_CHECKPOINTS,
                Direct(self.list_checkpoints),
            ),
            Binding(
                "POST", f"{one}:mergeVersionAliases", ServingMethod.MERGE_VERSION_ALIASES, Direct(self.merge_aliases)
            ),
            Binding("DELETE", f"{one}:deleteVersion", ServingMethod.DELETE_MODEL_VERSION, Direct(self.delete_version)),
            *(
                binding
                for parent in PARENTS
                for binding in (
                    Binding(
                        "GET",
                        f"{parent}/publishers/{{publisher:id}}/models",
                        ServingMethod.LIST_PUBLISHER_MODELS,
                        Direct(self.list_publishers),
                    ),
                    Binding(
                        "GET",
                        f"{parent}/publishers/{{publisher:id}}/models/{{model:id}}",
                        ServingMethod.GET_PUBLISHER_MODEL,
                        Direct(self.get_publishers),
                    ),
                )
            ),
        )

    def get(self, call: MethodCall) -> Typed:
        """models.get."""
        refuse_query(call.query)
        number, version = _named(call)
        place = place_of(call, "models.get")
        return _rendered(self.registry.version(call.principal, place, number, version), call.version)

    def list(self, call: MethodCall) -> Typed:
        """models.list: each model in its default version."""
        wanted = wire.parse_list_models(call.query, call.repeated)
        with translated_errors(_LIST):
            page = self.registry.list(
                call.principal,
                place_of(call, "models.list"),
                page_size=wanted.page_size,
                page_token=wanted.page_token,
                wanted=lambda each: all_hold(wanted.conditions, wire.model_values(each.tuned.model, each.tuned.job)),
                constant=wanted.constant,
            )
        return wire.render_models(
            [_rendered(each, call.version) for each in page.items], page.next_page_token, call.version
        )

    def list_versions(self, call: MethodCall) -> Typed:
        """models.listVersions: all on one page."""
        wanted = wire.parse_list_versions(call.query, call.repeated)
        number, _ = _named(call)
        versions = [
            each
            for each in self.registry.versions(call.principal, place_of(call, "models.get"), number)
            if all_hold(wanted.conditions, wire.model_values(each.tuned.model, each.tuned.job))
        ]
        return wire.render_models([_rendered(each, call.version) for each in versions], "", call.version, versions=True)

    def list_checkpoints(self, call: MethodCall) -> Typed:
        """models.listCheckpoints: all on one page."""
        wire.parse_list_checkpoints(call.query)
        number, version = _named(call)
        found = self.registry.version(call.principal, place_of(call, "models.get"), number, version)
        return wire.render_checkpoints(found.checkpoints, call.version)

    def patch(self, call: MethodCall) -> Typed:
        """models.patch, with an update mask or without one."""
        number, version = _named(call)
        patched = wire.parse_patch(call.query, call.body)
        with _asking(call, "models.update") as place, translated_errors(_UPDATE):
            changed = self.registry.change(
                call.principal, place, number, version, patched.change, patched.default_checkpoint
            )
        return _rendered(changed, call.version)

    def merge_aliases(self, call: MethodCall) -> Typed:
        """models.mergeVersionAliases."""
        refuse_query(call.query)
        number, version = _named(call)
        aliases = wire.parse_merge_aliases(call.body)
        with _asking(call, "models.update") as place, translated_errors(_ALIASES):
            changed = self.registry.merge_aliases(call.principal, place, number, version, aliases)
        return _rendered(changed, call.version)

    def delete(self, call: MethodCall) -> Typed:
        """models.delete: all versions. It is done when it is answered."""
        refuse_query(call.query)
        number, _ = _named(call)
        with _asking(call, "models.delete") as place:
            self.registry.delete(call.principal, place, number)
        return self._deleted(call)

    def delete_version(self, call: MethodCall) -> Typed:
        """models.deleteVersion."""
        refuse_query(call.query)
        number, version = _named(call)
        with _asking(call, "models.delete") as place, translated_errors(_DELETE):
            self.registry.delete_version(call.principal, place, number, version)
        return self._deleted(call)

    def get_publishers(self, call: MethodCall) -> Typed:
        """publishers.models.get: a base model, by any of its names."""
        place_of(call)
        parse_get(call.query, call.repeated)
        found = self.generation.model(BaseRef(with_prefix(call.path["model"])))
        return render_publisher_model(found, call.path["publisher"], call.version)

    def list_publishers(self, call: MethodCall) -> Typed:
        """publishers.models.list: every name of every base model, on one page."""
        place_of(call)
        parse_list(call.query, call.repeated)
        return render_publisher_models(self.generation.models(), call.path["publisher"], call.version)

    def _deleted(self, call: MethodCall) -> Typed:
        return render_done(place_of(call), DoneOperation(deed=Deed.DELETE, time=self.clock()), call.version)


@contextmanager
def _asking(call: MethodCall, permission: str) -> Iterator[ProjectLocation]:
    """The place of a call that needs this permission; a role that does not suffice is told as a lack of it."""
    place = place_of(call, permission)
    with roles_named(permission, f"{location_name(place)}/models/{call.path['model']}"):
        yield place


def _named(call: MethodCall) -> tuple[int, str]:
    """The model's number and version in the path.

    Raises:
        NotFound: no model has such an id.

    """
    number, version = split_version(call.path["model"])
    if number is None:
        raise NoSuchModel
    return number, version


def _rendered(registered: Registered, version: str) -> Typed:
    return wire.render_model(registered.tuned.model, registered.tuned.job, registered.checkpoints, version)
