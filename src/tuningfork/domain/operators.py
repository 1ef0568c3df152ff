"""Who runs the server: the machine's owner, and people whom the machine's owner has named."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from tuningfork.domain.errors import PermissionDenied
from tuningfork.domain.permission import LOCAL_PRINCIPAL, Email, Principal, parse_email


@dataclass(frozen=True, slots=True)
class Operators:
    """The operators of a server. `emails` are those besides the machine's owner."""

    emails: frozenset[Email] = frozenset()

    @classmethod
    def of(cls, addresses: Iterable[str]) -> Self:
        """The people with these addresses, and the machine's owner.

        Raises:
            ValueError: one is no e-mail address.

        """
        return cls(frozenset(map(parse_email, addresses)))

    def includes(self, principal: Principal) -> bool:
        """Whether the caller runs the server."""
        return principal.email == LOCAL_PRINCIPAL.email or principal.email in self.emails

    def check(self, principal: Principal, doing: str) -> None:
        """Check that the caller runs the server. `doing` is what they want to do, such as `look at its engines`.

        Raises:
            PermissionDenied: they do not.

        """
        if not self.includes(principal):
            raise PermissionDenied(
                f"Only whoever runs the server may {doing}: the holder of the key that the server made at its first "
                "start, or of one that `tuningfork keys create` makes without an e-mail address, or somebody whose "
                "address is in TUNINGFORK_OPERATORS."
            )


def check_addresses(given: list[str]) -> list[str]:
    """The addresses of operators in the form in which they are compared.

    Raises:
        ValueError: one is no e-mail address.

    """
    return sorted(map(parse_email, given))
