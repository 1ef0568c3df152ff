"""A caller who has been authenticated."""

from dataclasses import dataclass

from tuningfork.domain.authorization import Credential
from tuningfork.domain.permission import Principal


@dataclass(frozen=True, slots=True, kw_only=True)
class Recognised:
    """An authenticated caller: the person, and the kind and scopes of the valid credential that they sent."""

    principal: Principal
    credential: Credential
