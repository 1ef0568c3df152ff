"""Update masks: reads which fields of a message a patch changes, and checks that these may be changed.

`displayName,temperature` and `display_name` name fields, `*` names all that may be changed. Source: gemini-api section
3.1; google/protobuf/field_mask.proto.
"""

from collections.abc import Collection, Sequence

from tuningfork.domain.errors import FieldViolation
from tuningfork.wire.google.proto_json.descriptors import Message
from tuningfork.wire.google.proto_json.scalars import shown
from tuningfork.wire.google.requests import refused

MASK_FIELD = "update_mask"
_EVERYTHING = "*"


def masked_fields(paths: Sequence[str], message: Message, changeable: Collection[str], request: str) -> frozenset[str]:
    """The snake_case names of the fields that a mask names.

    Args:
        paths: the mask's paths as the caller spelled them.
        message: the message that is patched.
        changeable: the names of its fields that a patch may change.
        request: the request message's name, for errors.

    Raises:
        InvalidArgument: paths are no fields, or fields that cannot change; one violation for each.

    """
    named = {path: _fields(path, message, changeable) for path in paths}
    may_change = ", ".join(changeable)
    faults = [
        FieldViolation(
            field=MASK_FIELD,
            description=f"{MASK_FIELD} {_fault(path, message)}; it may name {may_change}, or be * for all of them",
        )
        for path, fields in named.items()
        if not fields
    ]
    if faults:
        raise refused(request, tuple(faults))
    return frozenset[str]().union(*named.values())


def _fields(path: str, message: Message, changeable: Collection[str]) -> frozenset[str]:
    if path == _EVERYTHING:
        return frozenset(changeable)
    known = message.by_key.get(path)
    return frozenset({known.name}) if known is not None and known.name in changeable else frozenset()


def _fault(path: str, message: Message) -> str:
    outermost = message.by_key.get(path.partition(".")[0])
    if outermost is None:
        return f"names {shown(path)}, which is no field of {message.full_name.rpartition('.')[2]}"
    return f"names {shown(path)}, which cannot be changed"
