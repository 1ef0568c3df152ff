"""The document of the server's API (OpenAPI 3.1), made from the tables of the mounted dialects."""

import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from tuningfork import __version__
from tuningfork.dialect.call import (
    Answered,
    Awaited,
    Binding,
    Direct,
    Downloaded,
    DownloadedIfAsked,
    Fed,
    Streamed,
    StreamedIfAsked,
)
from tuningfork.dialect.description import JSON, NOTHING_SAID, Description, MethodDescription
from tuningfork.dialect.form import Dialect
from tuningfork.dialect.method import Method

Document = dict[str, Any]
Schema = Mapping[str, Any]

_PARAMETER = re.compile(r"\{(\w+)(?::\w+)?\}")
_ID = {"type": "string", "pattern": "^[^/:]+$"}
_EVENTS = "text/event-stream"
_ABOUT = "Self-hosted fine-tuning of language models."


def document(
    dialects: Iterable[Dialect[Any]],
    servers_own: Iterable[tuple[str, str, Callable[..., Any]]],
    *,
    keyed: frozenset[str],
    with_credentials: bool,
) -> Document:
    """The document.

    Args:
        dialects: the mounted dialects.
        servers_own: the routes that belong to no dialect, each verb and path with its endpoint.
        keyed: those of these paths that need an API key.
        with_credentials: whether the server asks its callers for credentials.

    """
    told = [(dialect, dialect.describe() if dialect.describe is not None else NOTHING_SAID) for dialect in dialects]
    paths: dict[str, dict[str, Any]] = {}
    for dialect, described in told:
        for prefix in dialect.prefixes:
            for binding in dialect.bindings:
                path = prefix + _PARAMETER.sub(r"{\1}", binding.path)
                needs = _needs(binding.method, described) if with_credentials else []
                made = _operation(binding, path, described) | {"security": needs}
                paths.setdefault(path, {})[binding.verb.lower()] = made
    keys: list[Document] = [{name: []} for _, described in told[:1] for name in described.keys]
    for verb, path, endpoint in servers_own:
        needs = keys if path in keyed and with_credentials else []
        paths.setdefault(path, {})[verb.lower()] = _servers_own(verb, path, endpoint) | {"security": needs}
    about = dict.fromkeys(each.about for _, each in told if each.about)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Tuningfork", "version": __version__, "description": " ".join([_ABOUT, *about])},
        "paths": paths,
        "components": {
            "schemas": {name: schema for _, each in told for name, schema in each.schemas.items()},
            "securitySchemes": {name: made for _, each in told for name, made in (each.keys | each.tokens).items()},
        },
    }


def _servers_own(verb: str, path: str, endpoint: Callable[..., Any]) -> Document:
    return {
        **_summary(endpoint),
        "operationId": re.sub(r"\W+", "_", f"{verb.lower()}{path}").strip("_"),
        "tags": ["server"],
        "responses": {"200": {"description": "The answer."}},
    }


def _operation(binding: Binding[Any], path: str, described: Description) -> Document:
    one = described.methods.get(binding.name, MethodDescription())
    operation: Document = {
        **_summary(_work(binding.answered)),
        "operationId": re.sub(r"\W+", "_", f"{binding.verb.lower()}{path}").strip("_"),
        "tags": [path.split("/")[1]],
        "x-method": binding.method.full_name,
        "parameters": list(_parameters(path, one)),
        "responses": {"200": {"description": "The answer.", "content": _content(binding.answered, one)}},
    }
    if one.body is not None:
        operation["requestBody"] = {"content": {JSON: {"schema": one.body}}}
    elif one.body_type != JSON:
        operation["requestBody"] = {"content": {one.body_type: {}}, "required": True}
    if binding.tagged:
        operation["parameters"].append({"name": "If-None-Match", "in": "header", "schema": {"type": "string"}})
        unchanged = "Nothing has changed since the answer whose ETag was sent."
        operation["responses"]["304"] = {"description": unchanged}
    if described.error:
        errors = {"description": "An error.", "content": {JSON: {"schema": described.error}}}
        operation["responses"]["default"] = errors
    return operation


def _parameters(path: str, described: MethodDescription) -> Iterator[Document]:
    for name in _PARAMETER.findall(path):
        yield {"name": name, "in": "path", "required": True, "schema": _ID}
    for name, schema in described.query.items():
        yield {"name": name, "in": "query", "schema": schema}


def _content(answered: Answered[Any], described: MethodDescription) -> Document:
    schema = described.answer or {}
    match answered:
        case Streamed():
            # With `alt=sse` each message is an event; without it all are the elements of one array.
            return {JSON: {"schema": {"type": "array", "items": schema}}, _EVENTS: {"schema": {"type": "string"}}}
        case StreamedIfAsked():
            return {JSON: {"schema": schema}, _EVENTS: {"schema": {"type": "string"}}}
    return {described.answer_type: {"schema": schema} if schema else {}}


def _needs(method: Method, described: Description) -> list[Document]:
    """Any of these is enough to call the method."""
    keys: list[Document] = [{name: []} for name in described.keys]
    return keys + [{name: [scope]} for name in described.tokens for scope in method.requirement.scopes]


def _work(answered: Answered[Any]) -> Callable[..., Any]:
    match answered:
        case Direct(work) | Awaited(work):
            return work
        case Streamed(begin) | StreamedIfAsked(begin):
            return begin
        case Fed(take=take):
            return take
        case Downloaded(opening) | DownloadedIfAsked(opening):
            return opening


def _summary(work: Callable[..., Any]) -> Document:
    text = inspect.getdoc(work)
    return {"summary": text.partition("\n\n")[0].replace("\n", " ")} if text else {}
