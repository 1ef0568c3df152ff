"""Permissions: parses requests about them, and renders them.

Source: gemini-api section 10; google/ai/generativelanguage/v1beta/{permission,permission_service}.proto.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tuningfork.domain.errors import FieldViolation, Reason
from tuningfork.domain.permission import GranteeType, Permission, PermissionRequest, Role
from tuningfork.domain.refusals import PermissionRef
from tuningfork.wire.gemini import permission_messages as messages
from tuningfork.wire.gemini.names import name_of
from tuningfork.wire.google.proto_json.decode import Fields, decode, decode_query
from tuningfork.wire.google.proto_json.encode import Typed
from tuningfork.wire.google.proto_json.text import read
from tuningfork.wire.google.requests import RequestWords, refused
from tuningfork.wire.google.update_masks import MASK_FIELD, masked_fields

_DESCRIBED = {
    ("role", Reason.NOT_ALLOWED): (
        "role must be READER or WRITER; a model has one owner, and tunedModels.transferOwnership makes another"
    )
}

CREATE = RequestWords("CreatePermissionRequest", {"": "permission."}, described=_DESCRIBED)
UPDATE = RequestWords("UpdatePermissionRequest", {"": "permission."}, described=_DESCRIBED)
TRANSFER = RequestWords("TransferOwnershipRequest")
LIST = RequestWords("ListPermissionsRequest", sentences=False)
"""The request's part of errors about a permission, for each kind of request."""

_CHANGEABLE = ("role",)


@dataclass(frozen=True, slots=True, kw_only=True)
class PermissionsQuery:
    """The page that a caller asks for. `page_size` None: the default size."""

    page_size: int | None
    page_token: str


def parse_create_permission(body: bytes) -> PermissionRequest:
    """The permission that a body asks for. The service reports fields that are missing.

    Raises:
        InvalidArgument: the body is not JSON, or not a Permission.

    """
    fields = decode(messages.PERMISSION, read(body), "permission")
    return PermissionRequest(
        grantee_type=_grantee_type(fields), email_address=fields.get("email_address", ""), role=_role(fields)
    )


def parse_list_permissions(query: Mapping[str, str]) -> PermissionsQuery:
    """The page that a query asks for.

    Raises:
        InvalidArgument: this method has no such parameter.

    """
    fields = decode_query(messages.LIST_PERMISSIONS_QUERY, query)
    return PermissionsQuery(page_size=fields.get("page_size"), page_token=fields.get("page_token", ""))


def parse_update_permission(body: bytes, query: Mapping[str, str]) -> Role | None:
    """The role that a patch asks for; None if the body has none.

    Only the role can change. Clients send the whole permission; fields that the mask does not name are ignored.

    Raises:
        InvalidArgument: the body is not JSON or not a Permission, or the mask is missing or names anything but the
            role.

    """
    mask = decode_query(messages.UPDATE_PERMISSION_QUERY, query).get(MASK_FIELD, ())
    fields = decode(messages.PERMISSION, read(body), "permission")
    if not mask:
        missing = FieldViolation(field=MASK_FIELD, description=f"{MASK_FIELD} is required; role is what can be changed")
        raise refused(UPDATE.request, (missing,))
    masked_fields(mask, messages.PERMISSION, _CHANGEABLE, UPDATE.request)
    return _role(fields)


def parse_transfer_ownership(body: bytes) -> str:
    """The address of the new owner; "" if it is missing.

    Raises:
        InvalidArgument: the body is not JSON, or not a TransferOwnershipRequest.

    """
    return str(decode(messages.TRANSFER_OWNERSHIP_REQUEST, read(body)).get("email_address", ""))


def render_permission(permission: Permission) -> Typed:
    """One permission."""
    fields = {
        "name": name_of(PermissionRef(permission.model_id, permission.id)),
        "grantee_type": permission.grantee_type.value,
        "email_address": permission.email,
        "role": permission.role.value,
    }
    return Typed(messages.PERMISSION, fields)


def render_permissions(permissions: Iterable[Permission], next_page_token: str) -> Typed:
    """One page of the list."""
    rendered = [render_permission(permission).fields for permission in permissions]
    return Typed(messages.LIST_PERMISSIONS_RESPONSE, {"permissions": rendered, "next_page_token": next_page_token})


def render_ownership_transferred() -> Typed:
    """The answer of a transfer, an empty message."""
    return Typed(messages.TRANSFER_OWNERSHIP_RESPONSE, {})


def _grantee_type(fields: Fields) -> GranteeType | None:
    name = fields.get("grantee_type")
    return GranteeType(name) if name in set(GranteeType) else None


def _role(fields: Fields) -> Role | None:
    name = fields.get("role")
    return Role(name) if name in set(Role) else None
