"""Spoiled uploads: whatever is sent, the answer is a success or an error of the caller's, in the one shape."""

import json
import string
from urllib.parse import quote, urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from exploring import often
from storage_caller import UPLOAD, StorageCaller, shape_is_that_of_storage

WHOLE = (
    b'--==0==\r\nContent-Type: application/json\r\n\r\n{"name": "d/t.jsonl", "metadata": {"a": "b"}}\r\n'
    b"--==0==\r\nContent-Type: text/plain\r\n\r\nline\nline\r\n\r\n--==0==--\r\n"
)
RELATED = 'multipart/related; boundary="==0=="'
ASCII = st.text(
    string.printable.replace("\r", "").replace("\n", "").replace("\x0b", "").replace("\x0c", ""), max_size=40
)
RANGES = st.one_of(
    ASCII,
    st.builds(
        "bytes {}-{}/{}".format,
        st.integers(-2, 12),
        st.one_of(st.just("*"), st.integers(-2, 12)),
        st.one_of(st.just("*"), st.integers(-2, 12)),
    ),
    st.builds("bytes */{}".format, st.one_of(st.just("*"), st.integers(-2, 12))),
)
JSONS = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=10), inner, max_size=3)),
    max_leaves=5,
)
PARAMETERS = st.sampled_from(
    [
        *("uploadType", "name", "upload_id", "ifGenerationMatch", "ifMetagenerationMatch", "generation", "alt"),
        *("prefix", "delimiter", "startOffset", "endOffset", "pageToken", "maxResults", "fields", "project"),
    ]
)
FIELDS = st.sampled_from(["name", "metadata", "contentType", "crc32c", "md5Hash", "cacheControl", "size", "acl"])


@pytest.fixture
def storage(workshop, tmp_path):
    made = StorageCaller(workshop, tmp_path)
    made.make()
    return made


def check(answer):
    assert 200 <= answer.status_code < 500, answer.text
    if answer.status_code >= 400 and answer.status_code != 499:
        assert shape_is_that_of_storage(answer), answer.text


@st.composite
def spoiled(draw):
    """A multipart body with some bytes taken out, put in or replaced."""
    body = bytearray(WHOLE)
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(body)))
        end = draw(st.integers(start, min(len(body), start + 30)))
        body[start:end] = draw(st.sampled_from([b"", b"\r\n", b"\n", b"--", b"--==0==", b"\0", b"\xff{", b'"']))
    return bytes(body)


@settings(max_examples=often(60), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=spoiled(), content_type=st.one_of(st.just(RELATED), st.just("multipart/related"), ASCII))
def test_a_spoiled_multipart_body(storage, body, content_type):
    check(storage.call("POST", f"{UPLOAD}/training/o?uploadType=multipart", body, content_type=content_type))


@settings(max_examples=often(60), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    described=st.one_of(JSONS, st.dictionaries(FIELDS, JSONS, max_size=4)),
    query=st.dictionaries(PARAMETERS, st.text(max_size=20), max_size=3),
)
def test_any_json_and_any_query(storage, described, query):
    body = json.dumps(described).encode()

    check(
        storage.call(
            "POST", f"{UPLOAD}/training/o?{urlencode({'uploadType': 'resumable', 'name': 'x', **query})}", body
        )
    )
    check(storage.call("PATCH", f"/storage/v1/b/training/o/none?{urlencode(query)}", body))
    check(storage.call("GET", f"/storage/v1/b/training/o?{urlencode(query)}"))
    check(storage.call("POST", "/storage/v1/b", body))


@settings(max_examples=often(60), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(chunks=st.lists(st.tuples(RANGES, st.binary(max_size=12)), min_size=1, max_size=4))
def test_any_chunks(storage, chunks):
    location = storage.begin("x")
    for where, content in chunks:
        check(storage.chunk(location, content, where))


@settings(max_examples=often(60), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.text(max_size=30))
def test_any_name(storage, name):
    put = storage.put(name, b"1") if name else storage.put("x", b"1")
    check(put)
    check(storage.get(name or "x"))
    if put.status_code == 200 and name:
        assert storage.content(name).content == b"1"
        assert storage.call("DELETE", _path(name)).status_code == 204


def _path(name):
    return f"/storage/v1/b/training/o/{quote(name, safe='')}"
