"""Compares JSON values with schemas of a discovery document."""

from collections.abc import Iterator, Mapping
from typing import Any

_SCALARS = {"string": str, "integer": int, "number": (int, float), "boolean": bool, "any": object}


class PublishedSchemas:
    """Schemas by name, as discovery documents have them; the type "never" is of what is never answered here."""

    def __init__(self, schemas: Mapping[str, Any]) -> None:
        self._schemas = schemas

    def faults(self, name: str, value: Any) -> list[str]:
        """What of a value is not as the schema of this name says: fields that it lacks, and other types."""
        return list(self._faults({"$ref": name}, value, name))

    def _faults(self, wanted: Mapping[str, Any], value: Any, where: str) -> Iterator[str]:
        wanted = self._schemas[wanted["$ref"]] if "$ref" in wanted else wanted
        kind = wanted["type"]
        if kind == "object":
            yield from self._of_object(wanted, value, where)
        elif kind == "array":
            yield from self._of_list(wanted, value, where)
        elif kind not in _SCALARS:
            yield f"{where} should not be there"
        elif not _is_scalar(wanted, value):
            yield f"{where} is {value!r}"

    def _of_list(self, wanted: Mapping[str, Any], value: Any, where: str) -> Iterator[str]:
        if not isinstance(value, list) or not value:
            yield f"{where} is no list, or an empty one"
            return
        for index, item in enumerate(value):
            yield from self._faults(wanted["items"], item, f"{where}[{index}]")

    def _of_object(self, wanted: Mapping[str, Any], value: Any, where: str) -> Iterator[str]:
        if not isinstance(value, dict):
            yield f"{where} is no object"
            return
        known, others = wanted.get("properties", {}), wanted.get("additionalProperties")
        for key, item in value.items():
            inner = known.get(key) or others or ({"type": "any"} if not known else None)
            if inner is None:
                yield f"{where} has no field {key}"
            else:
                yield from self._faults(inner, item, f"{where}.{key}")


def _is_scalar(wanted: Mapping[str, Any], value: Any) -> bool:
    # Some clients ask for enums as numbers.
    if "enum" in wanted:
        return isinstance(value, int) or value in wanted["enum"]
    return isinstance(value, _SCALARS[wanted["type"]])
