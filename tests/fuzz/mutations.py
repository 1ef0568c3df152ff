"""Ways to spoil a request: in its JSON values, in its JSON text, in its bytes, its query, its headers and its path."""

import json
from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any
from urllib.parse import quote, quote_plus

from fuzz.samples import Sample

ODD_TEXTS = (
    *("", " ", "0", "-1", "null", "true", "NaN", "abc", "1e400", "0x10", "models/", "tunedModels/", "a" * 300),
    *("\u0000", "\ud7ff", "\u2028", "\x85", "é", "七", "😀", "\ufeff", "\u202e", "%00", "../../etc/passwd", "${x}"),
    *(
        "'; DROP TABLE tuned_models; --",
        "*",
        "owner:me",
        "a:b:c",
        "name,,x",
        "x(y(z",
        "{}",
        "[]",
        "2024-01-01T00:00:00Z",
    ),
)
ODD_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 3, 4, 2**31, -(2**31) - 1, 2**63, 10**40, 0.5, -0.0, 1e308, 5.0),
    *([], {}, [[]], [None], [1, [2, [3]]], {"a": 1}, {"": ""}, {"text": {}}, [{}] * 20, "x" * 50_000),
    *ODD_TEXTS,
)
ODD_NUMBERS = ("1e999", "00", "01", "0x1F", "1_000", "-", "+1", ".5", "5.", "1e", "9" * 2_000, "-0", "1E+2")
ODD_HEADERS = (
    ("content-type", "text/plain"),
    ("content-type", "application/x-www-form-urlencoded"),
    ("content-type", "application/json; charset=utf-16"),
    ("content-type", "multipart/form-data"),
    ("content-encoding", "gzip"),
    ("content-encoding", "br"),
    ("x-http-method-override", "DELETE"),
    ("x-http-method-override", "PATCH"),
    ("x-http-method-override", "GET"),
    ("x-http-method-override", "BREW"),
    ("x-goog-fieldmask", "name,metadata.tunedModel"),
    ("x-goog-fieldmask", "((("),
    ("x-goog-fieldmask", "*"),
    ("authorization", "Bearer nonsense"),
    ("authorization", "Basic YTpi"),
    ("authorization", "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0."),
    ("x-goog-user-project", "p"),
    ("x-goog-api-client", "genai-py/0.8.6"),
    ("accept", "text/html"),
    ("accept-encoding", "gzip, br"),
    ("origin", "https://example.com"),
    ("cookie", "a=b"),
    ("range", "bytes=0-1"),
    ("expect", "nonsense"),
)
ODD_PARAMETERS = (
    *(("alt", "sse"), ("alt", "json"), ("alt", "proto"), ("$alt", "json;enum-encoding=int"), ("$alt", "x" * 200)),
    *(("fields", "name"), ("fields", "tunedModels(name,state),nextPageToken"), ("fields", "a/b/c"), ("fields", ")(")),
    *(("prettyPrint", "false"), ("$prettyPrint", "maybe"), ("$.xgafv", "1"), ("$.xgafv", "2"), ("key", "nonsense")),
    *(("access_token", "nonsense"), ("pageSize", "-1"), ("pageSize", "99999999999"), ("page_size", "abc")),
    *(("pageToken", "AAAA"), ("filter", "readers:everyone"), ("filter", "who:knows"), ("updateMask", "*")),
    *(("updateMask", "state,name"), ("updateMask", "a.b.c"), ("tunedModelId", "Bad Id"), ("foo", "1"), ("", "")),
)

Mutation = Callable[[Random, Sample], Sample]


def mutate(random: Random, sample: Sample) -> Sample:
    """The sample with one to four faults, or now and then with none."""
    for _ in range(random.choice((0, 1, 1, 1, 2, 2, 3, 4))):
        usable = MUTATIONS if sample.body is not None and not isinstance(sample.body, bytes) else _WITHOUT_JSON
        sample = random.choice(usable)(random, sample)
    return sample


def _value(random: Random, sample: Sample) -> Sample:
    body = json.loads(json.dumps(sample.body))
    places = list(_places(body))
    if not places:
        return replace(sample, body=random.choice(ODD_VALUES))
    container, key = random.choice(places)
    container[key] = random.choice(ODD_VALUES)
    return replace(sample, body=body)


def _structure(random: Random, sample: Sample) -> Sample:
    body = json.loads(json.dumps(sample.body))
    places = [place for place in _places(body) if isinstance(place[0], dict)]
    if not places:
        return sample
    container, key = random.choice(places)
    match random.randrange(5):
        case 0:
            del container[key]
        case 1:
            container[random.choice(("foo", key.upper(), f"{key}s", f"_{key}", "x" * 200))] = container.pop(key)
        case 2:
            container["".join(f"_{c.lower()}" if c.isupper() else c for c in key)] = container[key]
        case 3:
            container[key] = [container[key]]
        case 4:
            for _ in range(random.choice((1, 5, 120))):
                container[key] = {key: container[key]}
    return replace(sample, body=body)


def _text(random: Random, sample: Sample) -> Sample:
    text = json.dumps(sample.body, ensure_ascii=random.random() < 0.5)
    match random.randrange(6):
        case 0:
            text = text.replace("}", ",}").replace("]", ",]")
        case 1:
            text = text.replace('"', "'")
        case 2:
            text = text.replace('": ', ": ").replace('{"', "{").replace(', "', ", ")
        case 3:
            text = text[: random.randrange(len(text) + 1)]
        case 4:
            text = text.replace("1", random.choice(ODD_NUMBERS), 1)
        case 5:
            at = random.randrange(len(text) + 1)
            piece = random.choice(("{", "}", "[", "]", ",", ":", '"', "\\u", "\\ud800", "//", "/*", "[" * 200, "\x00"))
            text = text[:at] + piece + text[at:]
    return replace(sample, body=text.encode("utf-8", "surrogatepass"))


def _bytes(random: Random, sample: Sample) -> Sample:
    body = bytearray(sample.body if isinstance(sample.body, bytes) else json.dumps(sample.body).encode())
    for _ in range(random.choice((1, 1, 4, 32))):
        body[random.randrange(len(body) + 1) :][:1] = b""
        if body:
            body[random.randrange(len(body))] = random.randrange(256)
    if random.random() < 0.1:
        body = bytearray(random.randbytes(random.choice((1, 100, 5_000))))
    return replace(sample, body=bytes(body))


def _query(random: Random, sample: Sample) -> Sample:
    query = list(sample.query)
    if query and random.random() < 0.5:
        index = random.randrange(len(query))
        query[index] = (query[index][0], random.choice(ODD_TEXTS))
    else:
        query.append(random.choice(ODD_PARAMETERS))
    return replace(sample, query=tuple(query))


def _header(random: Random, sample: Sample) -> Sample:
    name, value = random.choice(ODD_HEADERS)
    kept = tuple(header for header in sample.headers if header[0] != name)
    return replace(sample, headers=(*kept, (name, value)))


def _path(random: Random, sample: Sample) -> Sample:
    parts = sample.path.split("/")
    index = random.randrange(1, len(parts))
    match random.randrange(6):
        case 0:
            parts[index] = random.choice(ODD_TEXTS)
        case 1:
            parts[index] = parts[index].replace(":", "%3A")
        case 2:
            parts.insert(index, random.choice(("", ".", "..", "x", "%2F")))
        case 3:
            parts[index] = parts[index].upper()
        case 4:
            parts[index] += random.choice((":", ":foo", ":generateContent", "%", "%zz", ";a=b", "?", "#"))
        case 5:
            del parts[index]
    return replace(sample, path="/".join(parts) or "/")


def _verb(random: Random, sample: Sample) -> Sample:
    return replace(sample, verb=random.choice(("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "BREW")))


def _credential(random: Random, sample: Sample) -> Sample:
    return replace(sample, key=random.choice(("", "bob", "nonsense", "é" * 50)))


def _places(value: Any) -> Any:
    """Every (container, key) below a JSON value."""
    waiting = [value]
    while waiting:
        container = waiting.pop()
        items = (
            container.items()
            if isinstance(container, dict)
            else enumerate(container)
            if isinstance(container, list)
            else ()
        )
        for key, child in items:
            yield container, key
            waiting.append(child)


# Most faults are within the message: the others are soon refused and reach little code.
MUTATIONS: tuple[Mutation, ...] = (
    *(_value, _value, _value, _value, _value, _value, _structure, _structure, _structure, _text, _text, _bytes),
    *(_query, _query, _header, _header, _path, _verb, _credential),
)
_WITHOUT_JSON: tuple[Mutation, ...] = (_query, _query, _query, _query, _header, _header, _path, _verb, _credential)


def target_of(sample: Sample) -> str:
    """The request target: the path with what HTTP cannot carry escaped, and the query."""
    path = quote(sample.path, safe="/:%;?#.,*()[]{}'$@!&=+-_~")
    path = path.replace("#", "%23").replace("?", "%3F")
    query = "&".join(f"{quote_plus(name)}={quote_plus(value)}" for name, value in sample.query)
    return f"{path}?{query}" if query else path
