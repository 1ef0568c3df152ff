"""Who may use a tuned model besides its owner: permissions, and the transfer of ownership.

A change checks the caller's role and writes under one lock on the model, so that two changes of one model never
interleave.
"""

from collections.abc import Callable
from dataclasses import replace

from tuningfork.domain.errors import FieldViolation, InvalidArgument, Reason
from tuningfork.domain.ids import ID_BITS, random_id
from tuningfork.domain.permission import (
    Action,
    Email,
    GranteeType,
    Permission,
    PermissionId,
    PermissionRequest,
    Principal,
    Role,
    parse_email,
    violations_of,
    violations_of_email,
    violations_of_role,
)
from tuningfork.domain.refusals import GranteeTaken, OwnershipFixed, PermissionRef, ResourceNotFound
from tuningfork.domain.tuned_model import TunedModelId
from tuningfork.service.identity.keys import model_for
from tuningfork.service.paging import Page, place_of, size_of, token_of
from tuningfork.store import access, tuned_models
from tuningfork.store.database import Database, Transaction


class Sharing:
    """The use cases of permissions. `entropy` returns an integer of that many random bits."""

    def __init__(self, database: Database, entropy: Callable[[int], int]) -> None:
        self._database = database
        self._entropy = entropy

    def create(self, principal: Principal, model_id: TunedModelId, request: PermissionRequest) -> Permission:
        """Give somebody a role on the model.

        Raises:
            InvalidArgument: everything that is wrong with the request.
            NotFound: there is no such model.
            PermissionDenied: the caller may not write it.
            AlreadyExists: the grantee has a permission already; its role can be changed.

        """
        grantee_type, role = request.grantee_type, request.role
        if (found := violations_of(request)) or grantee_type is None or role is None:
            raise InvalidArgument(violations=found)
        email = None if grantee_type is GranteeType.EVERYONE else parse_email(request.email_address)
        with self._database.write() as connection:
            _hold(connection, principal, model_id, Action.SHARE)
            if grantee_type is GranteeType.USER and email and access.members_of(connection, email):
                raise _refusal("grantee_type", f"grantee_type must be GROUP: {email} is the address of a group")
            if taken := _of_grantee(connection, model_id, email):
                raise GranteeTaken(taken)
            return self._keep(connection, model_id, grantee_type, email, role)

    def get(self, principal: Principal, model_id: TunedModelId, permission_id: PermissionId) -> Permission:
        """One permission on the model.

        Raises:
            NotFound: there is no such model or permission.
            PermissionDenied: the caller may not read the model.

        """
        with self._database.read() as connection:
            model_for(connection, principal, model_id, Action.SEE_PERMISSIONS)
            return _find(connection, model_id, permission_id)

    def list(
        self, principal: Principal, model_id: TunedModelId, *, page_size: int | None = None, page_token: str = ""
    ) -> Page[Permission]:
        """All permissions on the model, the owner's included, in the order of their ids.

        Raises:
            InvalidArgument: the page size is negative, or the page token is not from this list.
            NotFound: there is no such model.
            PermissionDenied: the caller may not read it.

        """
        size = size_of(page_size)
        after = place_of(page_token, model_id, (str,))[0] if page_token else None
        with self._database.read() as connection:
            model_for(connection, principal, model_id, Action.SEE_PERMISSIONS)
            # One item more than is shown is read, to know whether there is a next page.
            begin = None if after is None else PermissionId(str(after))
            found = access.page_of_permissions(connection, model_id, begin, size + 1)
        shown = tuple(found[:size])
        return Page(shown, token_of([shown[-1].id], model_id) if len(found) > size else "")

    def update(
        self, principal: Principal, model_id: TunedModelId, permission_id: PermissionId, role: Role | None
    ) -> Permission:
        """Change the role that a permission grants.

        Raises:
            InvalidArgument: `role` is None, the grantee cannot have it, or the permission is the owner's.
            NotFound: there is no such model or permission.
            PermissionDenied: the caller may not write the model.

        """
        if (found := violations_of_role(role, None)) or role is None:
            raise InvalidArgument(violations=found)
        with self._database.write() as connection:
            _hold(connection, principal, model_id, Action.SHARE)
            before = _find_unowned(connection, model_id, permission_id)
            if found := violations_of_role(role, before.grantee_type):
                raise InvalidArgument(violations=found)
            access.set_role(connection, before, role)
            return replace(before, role=role)

    def delete(self, principal: Principal, model_id: TunedModelId, permission_id: PermissionId) -> None:
        """Delete a permission.

        Raises:
            InvalidArgument: the permission is the owner's.
            NotFound: there is no such model or permission.
            PermissionDenied: the caller may not write the model.

        """
        with self._database.write() as connection:
            _hold(connection, principal, model_id, Action.SHARE)
            access.revoke(connection, _find_unowned(connection, model_id, permission_id))

    def transfer_ownership(self, principal: Principal, model_id: TunedModelId, email_address: str) -> None:
        """Make somebody else the owner; the previous owner becomes a WRITER.

        If the new owner is the caller, nothing changes.

        Raises:
            InvalidArgument: the address is missing, is no e-mail address, or is a group's.
            NotFound: there is no such model.
            PermissionDenied: the caller does not own it.

        """
        if found := violations_of_email(email_address):
            raise InvalidArgument(violations=found)
        heir = parse_email(email_address)
        with self._database.write() as connection:
            _hold(connection, principal, model_id, Action.TRANSFER)
            if heir == principal.email:
                return
            older = _of_grantee(connection, model_id, heir)
            if access.members_of(connection, heir) or (older and older.grantee_type is GranteeType.GROUP):
                described = f"email_address {heir} is the address of a group; a model is owned by a person"
                raise _refusal("email_address", described)
            # The old owner is demoted first, since the database never lets a model have two owners.
            _demote_owner(connection, model_id)
            if older:
                access.set_role(connection, older, Role.OWNER)
            else:
                self._keep(connection, model_id, GranteeType.USER, heir, Role.OWNER)

    def _keep(
        self,
        connection: Transaction,
        model_id: TunedModelId,
        grantee_type: GranteeType,
        email: Email | None,
        role: Role,
    ) -> Permission:
        granted = Permission(
            id=PermissionId(random_id(self._entropy(ID_BITS))),
            model_id=model_id,
            grantee_type=grantee_type,
            email=email,
            role=role,
        )
        access.grant(connection, granted)
        return granted


def _hold(connection: Transaction, principal: Principal, model_id: TunedModelId, action: Action) -> None:
    """Check that the caller may do this, and lock the model's permissions until the transaction ends."""
    tuned_models.hold(connection, model_id)
    model_for(connection, principal, model_id, action)


def _find(connection: Transaction, model_id: TunedModelId, permission_id: PermissionId) -> Permission:
    found = access.find_permission(connection, model_id, permission_id)
    if found is None:
        raise ResourceNotFound(PermissionRef(model_id, permission_id))
    return found


def _find_unowned(connection: Transaction, model_id: TunedModelId, permission_id: PermissionId) -> Permission:
    found = _find(connection, model_id, permission_id)
    if found.role is Role.OWNER:
        raise OwnershipFixed(PermissionRef(model_id, permission_id))
    return found


def _of_grantee(connection: Transaction, model_id: TunedModelId, email: Email | None) -> Permission | None:
    """The permission of the person or group with this address; `email` None: the permission of everyone."""
    permissions = access.permissions_of(connection, model_id)
    return next((permission for permission in permissions if permission.email == email), None)


def _demote_owner(connection: Transaction, model_id: TunedModelId) -> None:
    for permission in access.permissions_of(connection, model_id):
        if permission.role is Role.OWNER:
            access.set_role(connection, permission, Role.WRITER)


def _refusal(field: str, description: str) -> InvalidArgument:
    return InvalidArgument(
        violations=(FieldViolation(field=field, description=description, reason=Reason.NOT_ALLOWED),)
    )
