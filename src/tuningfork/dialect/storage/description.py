"""What the methods of storage/v1 take and give, for the document of the server's API."""

from collections.abc import Iterable, Mapping

from tuningfork.dialect.call import Binding
from tuningfork.dialect.description import Description, MethodDescription, Schema
from tuningfork.dialect.gemini.description import credentials
from tuningfork.dialect.storage.answers import StorageAnswer

_OBJECT: Schema = {"type": "object", "description": "A resource of storage/v1."}
_TEXT: Schema = {"type": "string"}
_NUMBER: Schema = {"type": "string", "pattern": "^[0-9]+$"}
_CONDITIONS: Mapping[str, Schema] = {
    "ifGenerationMatch": _NUMBER,
    "ifGenerationNotMatch": _NUMBER,
    "ifMetagenerationMatch": _NUMBER,
    "ifMetagenerationNotMatch": _NUMBER,
}
_METHODS: Mapping[str, MethodDescription] = {
    "create_bucket": MethodDescription(query={"project": _TEXT}, body=_OBJECT, answer=_OBJECT),
    "list_buckets": MethodDescription(query={"project": _TEXT, "prefix": _TEXT}, answer=_OBJECT),
    "get_bucket": MethodDescription(answer=_OBJECT),
    "delete_bucket": MethodDescription(),
    "list_objects": MethodDescription(
        query=dict.fromkeys(("prefix", "delimiter", "startOffset", "endOffset", "pageToken"), _TEXT)
        | {"maxResults": _NUMBER},
        answer=_OBJECT,
    ),
    "get_object": MethodDescription(query={"alt": _TEXT, "generation": _NUMBER, **_CONDITIONS}, answer=_OBJECT),
    "update_object": MethodDescription(query=_CONDITIONS, body=_OBJECT, answer=_OBJECT),
    "delete_object": MethodDescription(query=_CONDITIONS),
    "copy_object": MethodDescription(query=_CONDITIONS, answer=_OBJECT),
    "rewrite_object": MethodDescription(query=_CONDITIONS, answer=_OBJECT),
    "create_object": MethodDescription(
        query={"uploadType": _TEXT, "name": _TEXT, "upload_id": _TEXT, **_CONDITIONS},
        body_type="application/octet-stream",
        answer=_OBJECT,
    ),
    "continue_upload": MethodDescription(
        query={"upload_id": _TEXT}, body_type="application/octet-stream", answer=_OBJECT
    ),
    "cancel_upload": MethodDescription(query={"upload_id": _TEXT}),
}
_ERROR: Schema = {"type": "object", "required": ["error"], "properties": {"error": {"type": "object"}}}


def describe(bindings: Iterable[Binding[StorageAnswer]]) -> Description:
    """What these methods take and give. Resources are described in Google's reference of storage/v1."""
    names = {binding.name for binding in bindings}
    keys, tokens = credentials()
    methods = {name: each for name, each in _METHODS.items() if name in names}
    return Description(methods=methods, schemas={}, error=_ERROR, keys=keys, tokens=tokens)
