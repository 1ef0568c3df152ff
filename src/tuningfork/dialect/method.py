"""A method of a dialect: its name, and what it requires of its callers."""

from dataclasses import dataclass
from enum import Enum

from tuningfork.domain.authorization import Requirement
from tuningfork.domain.permission import Action
from tuningfork.service.quotas import Cost


@dataclass(frozen=True, slots=True, kw_only=True)
class Asks:
    """A method's full name, and what it requires of its callers.

    An access token needs any one of `scopes`; a method without scopes accepts no access tokens. `action` is what the
    method does with the tuned model that a call names; None: a call names no tuned model. `cost` is what a call uses of
    its caller's budgets. A method that `makes_credentials` accepts no session. Of one that `is_sign_in`, calls with
    wrong credentials are counted by their callers' addresses.
    """

    full_name: str
    scopes: tuple[str, ...]
    action: Action | None
    cost: Cost = Cost.REQUEST
    makes_credentials: bool = False
    is_sign_in: bool = False


class Method(Enum):
    """The base class of the enums in which each dialect lists its methods."""

    @property
    def full_name(self) -> str:
        """The name in the interface definition, with its package and service."""
        return self._asks.full_name

    @property
    def requirement(self) -> Requirement:
        """The scopes and the role that a caller needs."""
        asks = self._asks
        return Requirement(scopes=asks.scopes, action=asks.action, makes_credentials=asks.makes_credentials)

    @property
    def cost(self) -> Cost:
        """What a call uses of its caller's budgets."""
        return self._asks.cost

    @property
    def is_sign_in(self) -> bool:
        """Whether calls with wrong credentials are counted by their callers' addresses."""
        return self._asks.is_sign_in

    @property
    def _asks(self) -> Asks:
        value: Asks = self.value
        return value
