"""Converts JSON values to the fields of a message, and reports every fault with its path.

The error texts are those of the open-source parser (protobuf, util/internal/protostream_objectwriter and
error_listener); a path is in snake_case, from the root of the request message.
"""

from collections.abc import Mapping
from typing import Any

from tuningfork.domain.errors import FieldViolation, InvalidArgument
from tuningfork.wire.google.proto_json.descriptors import Enum, Field, Kind, Message, Rule
from tuningfork.wire.google.proto_json.lenient import RepeatedKeys
from tuningfork.wire.google.proto_json.scalars import SCALARS, parse_enum, shown

MAX_REPORTED_FAULTS = 100
"""The most faults that are listed. Further ones are only counted, so that an error stays readable and bounded."""

Fields = dict[str, Any]
"""A decoded message: values by snake_case names. An unset field is missing; a message in it is `Fields` too."""


def decode(message: Message, value: Any, path: str = "") -> Fields:
    """The fields of a message from its JSON value.

    Args:
        message: the message that the value should be.
        value: a value that `text.read` returned.
        path: where the value is in the request message, such as `tuned_model`; "": it is the whole message.

    Raises:
        InvalidArgument: there are unknown names, wrong types, repeated keys or oneof conflicts; one violation for each.

    """
    faults = _Faults()
    if isinstance(value, dict):
        fields = _message(message, value, path, faults)
    else:
        faults.name("", "", "Root element must be a message.")
        fields = {}
    faults.raise_if_any()
    return fields


def decode_query(
    message: Message, parameters: Mapping[str, str], repeated: Mapping[str, tuple[str, ...]] | None = None
) -> Fields:
    """The fields of a request message from the query of a URL.

    Args:
        message: the message.
        parameters: the parameters as text.
        repeated: all values of parameters that were sent more than once, for repeated fields; None: there are none.

    Raises:
        InvalidArgument: a parameter is not a field, or its value is not of the field's type.

    """
    faults = _Faults()
    fields: Fields = {}
    for key, text in parameters.items():
        field = message.by_key.get(key)
        if field is None:
            reason = f"Cannot bind query parameter. Field '{key[:80]}' could not be found in request message."
            faults.name(key, "", reason)
        elif field.repeated:
            values = (repeated or {}).get(key, (text,))
            found = [_single(field, each, field.name, faults) for each in values]
            fields[field.name] = [*fields.get(field.name, ()), *(each for each in found if each is not _UNSET)]
        else:
            _put(fields, field, _single(field, text, field.name, faults))
    faults.raise_if_any()
    return fields


_UNSET = object()


class _Faults:
    """The faults that were found so far."""

    def __init__(self) -> None:
        self._violations: list[FieldViolation] = []
        self._unreported = 0

    def name(self, key: str, path: str, reason: str) -> None:
        """Add the fault of a key that is not a field."""
        where = f" at '{path}'" if path else ""
        self._add(path, f"Invalid JSON payload received. Unknown name {shown(key)}{where}: {reason}")

    def value(self, path: str, type_name: str, reason: str) -> None:
        """Add the fault of a value that its field cannot have."""
        where = f" at '{path}'" if path else ""
        self._add(path, f"Invalid value{where} ({type_name}), {reason}")

    def _add(self, path: str, description: str) -> None:
        if len(self._violations) < MAX_REPORTED_FAULTS:
            self._violations.append(FieldViolation(field=path, description=description))
        else:
            self._unreported += 1

    def raise_if_any(self) -> None:
        if self._unreported:
            rest = f"and {self._unreported} more faults of this kind"
            self._violations.append(FieldViolation(field="", description=rest))
        if self._violations:
            message = "\n".join(violation.description for violation in self._violations)
            raise InvalidArgument(message, violations=tuple(self._violations))


def _message(message: Message, value: dict[str, Any], path: str, faults: _Faults) -> Fields:
    fields: Fields = {}
    given_by: dict[str, str] = {}
    for key, raw in value.items():
        field = message.by_key.get(key)
        if field is None:
            faults.name(key, path, "Cannot find field.")
            continue
        if raw is None or field.rule is Rule.OUTPUT_ONLY:
            continue
        if field.name in fields or (isinstance(value, RepeatedKeys) and key in value.repeated):
            faults.name(key, path, "The field is given more than once; which value is meant?")
        if field.oneof is not None and given_by.setdefault(field.oneof, field.name) != field.name:
            taken = f"oneof field '{field.oneof}' is already set. Cannot set '{key}'"
            faults.value(path, "oneof", taken)
        where = f"{path}.{field.name}" if path else field.name
        if field.keyed:
            decoded = _map(field, key, raw, where, faults)
        elif field.repeated:
            decoded = _list(field, key, raw, path, where, faults)
        else:
            decoded = _one(field, key, raw, path, where, faults)
        _put(fields, field, decoded)
    return fields


def _put(fields: Fields, field: Field, decoded: Any) -> None:
    if decoded is not _UNSET:
        fields[field.name] = decoded


def _one(field: Field, key: str, raw: Any, path: str, where: str, faults: _Faults) -> Any:
    if isinstance(raw, list) and field.type is not Kind.JSON:
        faults.name(key, path, "Proto field is not repeating, cannot start list.")
        return _UNSET
    return _single(field, raw, where, faults)


def _list(field: Field, key: str, raw: Any, path: str, where: str, faults: _Faults) -> Any:
    if not isinstance(raw, list):
        # A single value is read as a list of one: the Gemini API's own curl samples send "parts": {"text": ...}.
        item = _single(field, raw, where, faults)
        return _UNSET if item is _UNSET else [item]
    items = [
        _one(field, key, item, path, f"{where}[{index}]", faults) for index, item in enumerate(raw) if item is not None
    ]
    return [item for item in items if item is not _UNSET]


def _map(field: Field, key: str, raw: Any, where: str, faults: _Faults) -> Any:
    if isinstance(raw, list):
        faults.value(where, "Map", f"Cannot bind a list to map for field '{key}'.")
        return _UNSET
    if not isinstance(raw, dict):
        faults.value(where, "Map", shown(raw))
        return _UNSET
    if isinstance(raw, RepeatedKeys):
        for repeated in sorted(raw.repeated):
            faults.value(where, "Map", f"Repeated map key: {shown(repeated)} is already set.")
    entries = {
        name: _single(field, item, f"{where}[{index}].value", faults) for index, (name, item) in enumerate(raw.items())
    }
    return {name: item for name, item in entries.items() if item is not _UNSET}


def _single(field: Field, raw: Any, where: str, faults: _Faults) -> Any:
    if isinstance(field.type, Message):
        if isinstance(raw, dict):
            return _message(field.type, raw, where, faults)
        faults.value(where, field.type_name, shown(raw))
        return _UNSET
    if isinstance(raw, dict) and field.type not in (Kind.JSON, Kind.ANY):
        faults.value(where, field.type_name, "Starting an object on a scalar field")
        return _UNSET
    try:
        return parse_enum(field.type, raw) if isinstance(field.type, Enum) else SCALARS[field.type](raw)
    except ValueError as error:
        faults.value(where, field.type_name, str(error) or shown(raw))
        return _UNSET
