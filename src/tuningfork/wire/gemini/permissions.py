"""Permissions: what callers ask for inward, what there is outward.

Source: gemini-api section 10; google/ai/generativelanguage/v1beta/{permission,permission_service}.proto.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tuningfork.domain.errors import FieldViolation, InvalidArgument
from tuningfork.domain.permission import GranteeType, Permission, PermissionRequest, Role
from tuningfork.wire.errors import Relocation
from tuningfork.wire.gemini import permission_messages as messages
from tuningfork.wire.gemini.update_masks import MASK_FIELD, masked_fields
from tuningfork.wire.proto_json.decode import Fields, decode, decode_query
from tuningfork.wire.proto_json.encode import Typed
from tuningfork.wire.proto_json.text import read

CREATE = Relocation("CreatePermissionRequest", {"": "permission."}, {})
UPDATE = Relocation("UpdatePermissionRequest", {"": "permission."}, {})
TRANSFER = Relocation("TransferOwnershipRequest", {}, {})
"""Where the fields of a domain request sit in each wire request."""

_CHANGEABLE = ("role",)


@dataclass(frozen=True, slots=True, kw_only=True)
class PermissionsQuery:
    """What a caller asks of the list. `page_size` None is the usual one."""

    page_size: int | None
    page_token: str


def parse_create_permission(body: bytes) -> PermissionRequest:
    """The grant that a body asks for. What is missing is left to the service to name.

    Raises:
        InvalidArgument: no JSON, or no Permission.

    """
    fields = decode(messages.PERMISSION, read(body), "permission")
    return PermissionRequest(
        grantee_type=_grantee_type(fields), email_address=fields.get("email_address", ""), role=_role(fields)
    )


def parse_list_permissions(query: Mapping[str, str]) -> PermissionsQuery:
    """The page that a query asks for.

    Raises:
        InvalidArgument: a parameter that is none of this method's.

    """
    fields = decode_query(messages.LIST_PERMISSIONS_QUERY, query)
    return PermissionsQuery(page_size=fields.get("page_size"), page_token=fields.get("page_token", ""))


def parse_update_permission(body: bytes, query: Mapping[str, str]) -> Role | None:
    """The role that a patch asks for, None where it asks for none.

    Only the role can change. Clients send the whole permission; what the mask does not name is passed over.

    Raises:
        InvalidArgument: no JSON, no Permission, no mask, or one that names anything else.

    """
    mask = decode_query(messages.UPDATE_PERMISSION_QUERY, query).get(MASK_FIELD, ())
    fields = decode(messages.PERMISSION, read(body), "permission")
    if not mask:
        missing = FieldViolation(field=MASK_FIELD, description=f"{MASK_FIELD} is required; role is what can be changed")
        raise InvalidArgument.of(UPDATE.request, (missing,))
    masked_fields(mask, messages.PERMISSION, _CHANGEABLE, UPDATE.request)
    return _role(fields)


def parse_transfer_ownership(body: bytes) -> str:
    """The address of the new owner, "" if it is missing.

    Raises:
        InvalidArgument: no JSON, or no TransferOwnershipRequest.

    """
    return str(decode(messages.TRANSFER_OWNERSHIP_REQUEST, read(body)).get("email_address", ""))


def render_permission(permission: Permission) -> Typed:
    """One permission."""
    fields = {
        "name": permission.name,
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
    """The answer of a transfer, which has nothing to say."""
    return Typed(messages.TRANSFER_OWNERSHIP_RESPONSE, {})


def _grantee_type(fields: Fields) -> GranteeType | None:
    name = fields.get("grantee_type")
    return GranteeType(name) if name in set(GranteeType) else None


def _role(fields: Fields) -> Role | None:
    name = fields.get("role")
    return Role(name) if name in set(Role) else None
