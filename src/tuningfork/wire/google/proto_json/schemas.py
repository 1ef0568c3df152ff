"""JSON Schemas of protobuf messages, from the tables that decode and encode them."""

from typing import Any

from tuningfork.wire.google.proto_json.descriptors import Enum, Field, Kind, Message, Rule

Schema = dict[str, Any]

_SCALARS: dict[Kind, Schema] = {
    Kind.STRING: {"type": "string"},
    Kind.BOOL: {"type": "boolean"},
    Kind.INT32: {"type": "integer", "format": "int32"},
    # Answers have a string, since JavaScript's numbers lose digits; requests may have either.
    Kind.INT64: {"type": ["string", "integer"], "format": "int64"},
    Kind.FLOAT: {"type": "number", "format": "float"},
    Kind.DOUBLE: {"type": "number", "format": "double"},
    Kind.BYTES: {"type": "string", "contentEncoding": "base64"},
    Kind.TIMESTAMP: {"type": "string", "format": "date-time"},
    Kind.FIELD_MASK: {"type": "string", "description": "Names of fields, separated by commas."},
    Kind.ANY: {"type": "object", "properties": {"@type": {"type": "string"}}},
    Kind.JSON: {},
}


class Schemas:
    """JSON schemas by the full names of messages; of each message also those in its fields. They are in `named`."""

    def __init__(self) -> None:
        self.named: dict[str, Schema] = {}

    def of(self, message: Message) -> Schema:
        """A reference to the schema of this message."""
        name = message.full_name
        if name not in self.named:
            self.named[name] = {}
            properties = {each.json_name: self.of_field(each) for each in message.in_order}
            self.named[name] = {"type": "object", "properties": properties}
        return _reference(name)

    def of_field(self, field: Field) -> Schema:
        """The schema of a field's value."""
        schema = self._of_type(field.type)
        if field.repeated:
            schema = {"type": "array", "items": schema}
        if field.keyed:
            schema = {"type": "object", "additionalProperties": schema}
        match field.rule:
            case Rule.OUTPUT_ONLY:
                return {**schema, "readOnly": True}
            case Rule.INPUT_ONLY:
                return {**schema, "writeOnly": True}
        return schema

    def _of_type(self, held: Kind | Enum | Message) -> Schema:
        if isinstance(held, Message):
            return self.of(held)
        if isinstance(held, Enum):
            self.named.setdefault(held.full_name, {"type": "string", "enum": list(held.numbers)})
            return _reference(held.full_name)
        return dict(_SCALARS[held])


def _reference(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}
