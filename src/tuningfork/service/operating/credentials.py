"""The use cases of API keys over the network: everybody's own, and for whoever runs the server those of all."""

from collections.abc import Sequence

from tuningfork.domain.api_key import ApiKeyId
from tuningfork.domain.errors import FieldViolation, InvalidArgument, NotFound, PermissionDenied, Reason
from tuningfork.domain.operations import KeyInUse
from tuningfork.domain.operators import Operators
from tuningfork.domain.permission import Email, Principal
from tuningfork.service.identity.keys import Access, NewKey
from tuningfork.service.identity.revocable import Kind, check_name, surplus
from tuningfork.service.quotas import Quotas

MAX_PROJECT_CHARACTERS = 100
_KIND = Kind("API keys", "keys")


class Keys:
    """Makes, lists and revokes API keys.

    Args:
        access: the keys.
        operators: who runs the server.
        quotas: what each key may use.

    """

    def __init__(self, access: Access, operators: Operators, quotas: Quotas) -> None:
        self._access = access
        self._operators = operators
        self._quotas = quotas

    def list(self, principal: Principal) -> Sequence[KeyInUse]:
        """The caller's keys, revoked ones too, the oldest first; for whoever runs the server, those of all."""
        everybodys = self._operators.includes(principal)
        sessions = self._access.count_sessions()
        return [
            KeyInUse(key=key, sessions=sessions.get(key.id, 0), mine=key.principal.email == principal.email)
            for key in self._access.list_keys()
            if everybodys or key.principal.email == principal.email
        ]

    def create(self, principal: Principal, name: str, email: str, project: str) -> NewKey:
        """Make a key. Whoever does not run the server makes keys for themselves, with the project of the call.

        Args:
            principal: the caller.
            name: what it is for.
            email: whom it speaks for; "": the caller.
            project: the project it belongs to; "": that of the call.

        Raises:
            InvalidArgument: the name is too long or not printable, or `email` is no e-mail address.
            PermissionDenied: the key would be somebody else's or for another project, or it would have a budget of its
                own, and the caller does not run the server.
            ResourceExhausted: the person has a hundred keys that are not revoked.

        """
        check_name(name)
        _check_project(project)
        address, belongs_to = email.strip().lower() or principal.email, project or principal.project
        if address != principal.email:
            self._operators.check(principal, "make keys for others")
        if belongs_to != principal.project:
            # Models are shared with projects, so a project of one's choice would open models of others.
            self._operators.check(principal, "make keys for another project than that of the key in use")
        if self._quotas.are_limited and not self._operators.includes(principal):
            raise PermissionDenied(
                "This server counts what each key uses, so a further key would be a further budget: ask whoever runs "
                "the server for one."
            )
        surplus([key for key in self._access.list_keys() if key.principal.email == address], _KIND, Email(address))
        return self._access.create_key(name, address, belongs_to)

    def revoke(self, principal: Principal, key_id: ApiKeyId) -> KeyInUse:
        """Refuse a key, and all that was made with it, from now on; revoking again changes nothing.

        Raises:
            NotFound: there is no such key; or it is somebody else's, and the caller does not run the server.

        """
        if key_id not in {each.key.id for each in self.list(principal)}:
            raise NotFound(f"API key {key_id} does not exist; a list of keys shows the ids.")
        self._access.revoke_key(key_id)
        return next(each for each in self.list(principal) if each.key.id == key_id)


def _check_project(project: str) -> None:
    if len(project) > MAX_PROJECT_CHARACTERS or not project.isprintable():
        described = f"project must be at most {MAX_PROJECT_CHARACTERS} printable characters; {len(project)} were given"
        raise InvalidArgument(
            violations=(FieldViolation(field="project", description=described, reason=Reason.TOO_LONG),)
        )
