"""All methods of the Gemini API that this server has, in one table for every carrier."""

from dataclasses import dataclass

from tuningfork.dialect.call import Binding
from tuningfork.dialect.gemini.generation import GenerationMethods
from tuningfork.dialect.gemini.models import ModelMethods
from tuningfork.dialect.gemini.operations import OperationMethods
from tuningfork.dialect.gemini.permissions import PermissionMethods
from tuningfork.dialect.gemini.tuned_models import TunedModelMethods
from tuningfork.service.generation import Generation
from tuningfork.service.sharing import Sharing
from tuningfork.service.tuning import Tuning

VERSIONS = ("v1beta", "v1", "v1alpha")
"""All served alike: the tutorial creates under one and polls under another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UseCases:
    """What the methods of the dialect call."""

    tuning: Tuning
    sharing: Sharing
    generation: Generation


def bindings(use_cases: UseCases) -> tuple[Binding, ...]:
    """Every method, bound to its verb and path."""
    return (
        *ModelMethods(use_cases.generation).bindings(),
        *TunedModelMethods(use_cases.tuning).bindings(),
        *OperationMethods(use_cases.tuning).bindings(),
        *PermissionMethods(use_cases.sharing).bindings(),
        *GenerationMethods(use_cases.generation).bindings(),
    )
