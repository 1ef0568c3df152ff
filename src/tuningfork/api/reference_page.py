"""The page `/docs`: the document of the API for people, as HTML that loads nothing from anywhere."""

import json
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem; }
code, pre { font-family: ui-monospace, monospace; font-size: 0.9em; }
summary { cursor: pointer; padding: 0.2rem 0; } pre { overflow-x: auto; padding: 0.5rem; background: #8881; }
details { border-bottom: 1px solid #8884; } details > :not(summary) { margin-left: 1rem; }
.verb { display: inline-block; min-width: 4.5rem; font-weight: 600; }
@media (prefers-color-scheme: dark) { body { background: #181818; color: #ddd; } a { color: #8bf; } }
"""


def page(title: str, body: str) -> str:
    """A whole HTML page."""
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head>\n'
        f"<body>{body}</body></html>\n"
    )


def reference_page(document: Mapping[str, Any]) -> str:
    """The page of an OpenAPI document: every method, by what its path begins with, then every message."""
    return page(f"{document['info']['title']} API", "\n".join(_parts(document)))


def _parts(document: Mapping[str, Any]) -> Iterator[str]:
    info = document["info"]
    yield f"<h1>{escape(info['title'])} {escape(info['version'])}</h1><p>{escape(info['description'])}</p>"
    yield '<p>The same for programs: <a href="openapi.json">openapi.json</a> (OpenAPI 3.1).</p>'
    groups: dict[str, list[tuple[str, str, Mapping[str, Any]]]] = {}
    for path, verbs in document["paths"].items():
        for verb, operation in verbs.items():
            groups.setdefault(operation["tags"][0], []).append((path, verb, operation))
    for group, operations in groups.items():
        yield f"<h2>{escape(group)}</h2>"
        for path, verb, operation in operations:
            yield _operation(path, verb, operation)
    yield "<h2>Messages</h2>"
    for name, schema in document["components"]["schemas"].items():
        yield f'<details id="{escape(name)}"><summary><code>{escape(name)}</code></summary>{_schema(schema)}</details>'


def _operation(path: str, verb: str, operation: Mapping[str, Any]) -> str:
    head = (
        f'<details id="{escape(operation["operationId"])}"><summary><code><span class="verb">{verb.upper()}</span> '
        f"{escape(path)}</code></summary>"
    )
    lines = [
        head,
        f"<p>{escape(operation.get('summary', ''))}</p><p>{_access(operation)}</p>",
    ]
    if parameters := operation.get("parameters"):
        named = "".join(f"<li><code>{escape(each['name'])}</code>, in the {each['in']}</li>" for each in parameters)
        lines.append(f"<p>Parameters:</p><ul>{named}</ul>")
    if "requestBody" in operation:
        lines.append(f"<p>Body:</p>{_contents(operation['requestBody'])}")
    for status, answer in operation["responses"].items():
        lines.append(f"<p>{'Answer' if status == '200' else 'Errors'}:</p>{_contents(answer)}")
    return "".join([*lines, "</details>"])


def _access(operation: Mapping[str, Any]) -> str:
    needs = operation["security"]
    if not needs:
        return "No key is needed."
    scopes = [f"<code>{escape(scope)}</code>" for each in needs for scopes in each.values() for scope in scopes]
    return "An API key" + (f", or an access token with one of: {', '.join(scopes)}." if scopes else ".")


def _contents(holder: Mapping[str, Any]) -> str:
    return "".join(
        f"<p><code>{escape(kind)}</code></p>{_schema(content['schema']) if 'schema' in content else ''}"
        for kind, content in holder.get("content", {}).items()
    )


def _schema(schema: Mapping[str, Any]) -> str:
    """A schema as JSON, in which names of messages are links to them."""
    text = escape(json.dumps(schema, indent=2), quote=False)
    begin, end = '"#/components/schemas/', '"'
    first, *rest = text.split(begin)
    linked = [f'"<a href="#{name}">{name}</a>"{after}' for name, _, after in (each.partition(end) for each in rest)]
    return f"<pre>{first}{''.join(linked)}</pre>"
