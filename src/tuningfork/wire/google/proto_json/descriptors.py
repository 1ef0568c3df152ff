"""Protobuf messages as data: which fields `decode` accepts, and which `encode` prints and in which order.

The tables of an API are built from these three types, one `Field` on each line, like a .proto file.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import MappingProxyType


class Kind(StrEnum):
    """The scalar types, by their names in error messages (google/protobuf/type.proto, Field.Kind).

    TIMESTAMP, FIELD_MASK and ANY are well-known messages with their own JSON form. JSON is for Struct, Value, and
    messages that are not decoded further.
    """

    STRING = "TYPE_STRING"
    BOOL = "TYPE_BOOL"
    INT32 = "TYPE_INT32"
    INT64 = "TYPE_INT64"
    FLOAT = "TYPE_FLOAT"
    DOUBLE = "TYPE_DOUBLE"
    BYTES = "TYPE_BYTES"
    TIMESTAMP = "type.googleapis.com/google.protobuf.Timestamp"
    FIELD_MASK = "type.googleapis.com/google.protobuf.FieldMask"
    ANY = "type.googleapis.com/google.protobuf.Any"
    JSON = "type.googleapis.com/google.protobuf.Value"


class Rule(StrEnum):
    """Whether a field is for requests or for answers only (google/api/field_behavior.proto)."""

    BOTH_WAYS = "both ways"
    OUTPUT_ONLY = "output only"
    """Ignored in requests, whatever its value, since SDKs send back the messages that they received."""
    INPUT_ONLY = "input only"
    """Never printed in an answer."""


@dataclass(frozen=True, slots=True, eq=False)
class Enum:
    """An enum: its full proto name and the number of each name."""

    full_name: str
    numbers: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Field:
    """One field: number, snake_case name and type, as in a .proto file. The type `SELF` is the field's own message.

    A field with `presence` (explicit presence) is printed whenever it is set, even to its default. Message fields and
    fields of a oneof always have presence. `json_name` is needed only if it is not the name in lowerCamelCase.
    """

    number: int
    name: str
    type: "Kind | Enum | Message"
    repeated: bool = field(default=False, kw_only=True)
    keyed: bool = field(default=False, kw_only=True)
    """Whether the field is a map from strings to values of the type."""
    presence: bool = field(default=False, kw_only=True)
    oneof: str | None = field(default=None, kw_only=True)
    rule: Rule = field(default=Rule.BOTH_WAYS, kw_only=True)
    json_name: str = field(default="", kw_only=True)

    def __post_init__(self) -> None:
        if not self.json_name:
            object.__setattr__(self, "json_name", lower_camel(self.name))

    @property
    def has_presence(self) -> bool:
        """Whether a field that was set to its default is distinguished from an unset field."""
        return self.presence or self.oneof is not None or (isinstance(self.type, Message) and not self.keyed)

    @property
    def type_name(self) -> str:
        """The type as error messages print it: `TYPE_INT32`, `type.googleapis.com/...`."""
        if isinstance(self.type, Kind):
            return self.type.value
        return f"type.googleapis.com/{self.type.full_name}"


@dataclass(frozen=True, slots=True, eq=False)
class Message:
    """A message: its full proto name and its fields.

    `by_key` finds a field by its snake_case or camelCase name; `in_order` is the output order, by proto number.
    """

    full_name: str
    fields: tuple[Field, ...] = field(repr=False)
    by_key: Mapping[str, Field] = field(init=False, repr=False)
    in_order: tuple[Field, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        resolved = tuple(replace(each, type=self) if each.type is SELF else each for each in self.fields)
        object.__setattr__(self, "fields", resolved)
        spellings = {key: each for each in self.fields for key in (each.name, each.json_name)}
        object.__setattr__(self, "by_key", MappingProxyType(spellings))
        object.__setattr__(self, "in_order", tuple(sorted(self.fields, key=lambda each: each.number)))

    @property
    def type_url(self) -> str:
        """The `@type` of an Any that holds this message."""
        return f"type.googleapis.com/{self.full_name}"


SELF = Message("", ())
"""The type of a field that holds another message of the same type as its own."""


def lower_camel(name: str) -> str:
    """The JSON name of a snake_case proto name: `top_p` -> `topP`."""
    first, *rest = name.split("_")
    return first + "".join(word[:1].upper() + word[1:] for word in rest)
