"""The messages of permissions, field by field.

Source: google/ai/generativelanguage/v1beta/{permission,permission_service}.proto.
"""

from tuningfork.wire.gemini.service import PACKAGE
from tuningfork.wire.google.proto_json.descriptors import Enum, Field, Kind, Message, Rule

# permission.proto

GRANTEE_TYPE = Enum(
    f"{PACKAGE}.Permission.GranteeType", {"GRANTEE_TYPE_UNSPECIFIED": 0, "USER": 1, "GROUP": 2, "EVERYONE": 3}
)

ROLE = Enum(f"{PACKAGE}.Permission.Role", {"ROLE_UNSPECIFIED": 0, "OWNER": 1, "WRITER": 2, "READER": 3})

PERMISSION = Message(
    f"{PACKAGE}.Permission",
    (
        Field(1, "name", Kind.STRING, rule=Rule.OUTPUT_ONLY),
        Field(2, "grantee_type", GRANTEE_TYPE, presence=True),
        Field(3, "email_address", Kind.STRING, presence=True),
        Field(4, "role", ROLE, presence=True),
    ),
)

# permission_service.proto

LIST_PERMISSIONS_QUERY = Message(
    f"{PACKAGE}.ListPermissionsRequest",
    # Field 1, parent, is in the path.
    (
        Field(2, "page_size", Kind.INT32),
        Field(3, "page_token", Kind.STRING),
    ),
)

LIST_PERMISSIONS_RESPONSE = Message(
    f"{PACKAGE}.ListPermissionsResponse",
    (
        Field(1, "permissions", PERMISSION, repeated=True),
        Field(2, "next_page_token", Kind.STRING),
    ),
)

UPDATE_PERMISSION_QUERY = Message(
    f"{PACKAGE}.UpdatePermissionRequest",
    # Field 1, permission, is the body.
    (Field(2, "update_mask", Kind.FIELD_MASK),),
)

TRANSFER_OWNERSHIP_REQUEST = Message(
    f"{PACKAGE}.TransferOwnershipRequest",
    (
        Field(1, "name", Kind.STRING),
        Field(2, "email_address", Kind.STRING),
    ),
)

TRANSFER_OWNERSHIP_RESPONSE = Message(f"{PACKAGE}.TransferOwnershipResponse", ())
