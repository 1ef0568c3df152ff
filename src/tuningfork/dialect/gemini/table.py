"""All methods of the Gemini API that this server has, in one table for HTTP and gRPC."""

from dataclasses import dataclass

from tuningfork.dialect.call import Binding
from tuningfork.dialect.form import Dialect, Form
from tuningfork.dialect.gemini.description import describe
from tuningfork.dialect.gemini.generation import GenerationMethods
from tuningfork.dialect.gemini.models import ModelMethods
from tuningfork.dialect.gemini.operations import OperationMethods
from tuningfork.dialect.gemini.permissions import PermissionMethods
from tuningfork.dialect.gemini.tuned_models import TunedModelMethods
from tuningfork.service.answering.generation import Generation
from tuningfork.service.sharing.sharing import Sharing
from tuningfork.service.tuning.tuning import Tuning
from tuningfork.wire.google.proto_json.encode import Typed

VERSIONS = ("v1beta", "v1", "v1alpha")
"""The API versions, which are all served in the same way: the tutorial creates under one and polls under another."""
PALM_VERSIONS = ("v1beta3", "v1beta2")
"""The versions of the PaLM generation, served over HTTP only: their messages are a part of today's, but programs that
poll an operation over gRPC do not say which version's messages they can read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UseCases:
    """The use cases that the methods of the dialect call."""

    tuning: Tuning
    sharing: Sharing
    generation: Generation


def bindings(use_cases: UseCases) -> tuple[Binding[Typed], ...]:
    """Every method, bound to its verb and path."""
    return (
        *ModelMethods(use_cases.generation).bindings(),
        *TunedModelMethods(use_cases.tuning).bindings(),
        *OperationMethods(use_cases.tuning).bindings(),
        *PermissionMethods(use_cases.sharing).bindings(),
        *GenerationMethods(use_cases.generation).bindings(),
    )


def gemini(use_cases: UseCases, form: Form[Typed]) -> Dialect[Typed]:
    """The Gemini API as a dialect, in this form."""
    return Dialect(
        prefixes={f"/{version}": version for version in (*VERSIONS, *PALM_VERSIONS)},
        bindings=bindings(use_cases),
        form=form,
        describe=describe,
    )
