"""google-cloud-storage, gcsfs and @google-cloud/storage, unmodified, over the API of buckets."""

from uuid import uuid4

import pytest

import live_server
from contract.environments import NodeEnvironment, PythonEnvironment

NEWEST = PythonEnvironment("gcsfs-2026.10.1")
OLD = PythonEnvironment("google-cloud-storage-2.19.0")
NODE = NodeEnvironment("google-cloud-storage-js-8.4.0")


@pytest.fixture
def of_buckets(server):
    """Where the client finds the server, whose caller it is, and a bucket of its own."""
    return {"ACCESS_TOKEN": server.key, **addresses(server)}


@pytest.fixture(scope="module")
def open_server(tmp_path_factory):
    """A server that lets in programs of this machine that send no credential."""
    directory = tmp_path_factory.mktemp("open-server")
    with live_server.running(directory, variables={"TUNINGFORK_STORAGE_WITHOUT_CREDENTIALS": "true"}) as running:
        yield running


def addresses(server):
    return {"STORAGE_EMULATOR_HOST": server.url, "BUCKET": f"contract-{uuid4().hex[:8]}"}


@pytest.mark.parametrize("client", [NEWEST, OLD], ids=lambda client: client.name)
def test_googles_client_for_python_uploads_reads_lists_changes_and_removes(told, client, of_buckets):
    done = told(client, "storage/objects.py", **of_buckets)

    assert done == {
        "found": [of_buckets["BUCKET"], None],
        "listed": True,
        "twice": 409,
        "small": [12, "application/jsonl", {"made": "by hand"}, '{"a": "ä"}\n'],
        "crc32c": True,
        "exists": [True, False],
        "large": True,
        "unknown": True,
        "written": [100_000],
        "empty": True,
        "range": True,
        "past the end": 416,
        "names": ["d/t 1.jsonl", "empty", "large", "unknown", "written"],
        "folders": [["empty", "large", "unknown", "written"], ["d/"]],
        "pages": [2, 2, 1],
        "from": ["large"],
        "condition": 412,
        "generation grows": True,
        "patched": [{"made": "anew"}, 2],
        "copied": True,
        "rewritten": True,
        "not empty": 409,
        "deleted": 404,
        "gone": None,
    }


@pytest.mark.parametrize("client", [NEWEST, OLD], ids=lambda client: client.name)
def test_it_finds_a_file_of_credentials_by_itself(told, operate, server, tmp_path, client):
    file = tmp_path / "adc.json"
    operate("auth", "application-default", "login", "--url", server.url, "--adc", str(file), "--project", "p")

    # With STORAGE_EMULATOR_HOST it would look for no credential.
    bucket = addresses(server)["BUCKET"]
    where = {"API_ENDPOINT_OVERRIDE": server.url, "BUCKET": bucket, "GOOGLE_APPLICATION_CREDENTIALS": str(file)}
    done = told(client, "storage/objects.py", **where)
    assert (done["large"], done["unknown"], done["gone"]) == (True, True, None)


def test_it_needs_no_credential_where_the_operator_lets_in_programs_of_this_machine(told, open_server):
    done = told(NEWEST, "storage/objects.py", **addresses(open_server))

    assert (done["large"], done["unknown"], done["gone"]) == (True, True, None)


def test_gcsfs_writes_reads_lists_and_removes(told, of_buckets):
    bucket = of_buckets["BUCKET"]
    done = told(NEWEST, "storage/gcsfs_files.py", **of_buckets)

    assert done == {
        "listed": [f"{bucket}/d/large", f"{bucket}/d/t.jsonl", f"{bucket}/piped"],
        "folder": [f"{bucket}/d/large", f"{bucket}/d/t.jsonl"],
        "info": [9, True, False],
        "lines": ['{"a": 1}'],
        "large": True,
        "range": True,
        "copied": "piped",
        "gone": True,
    }


@pytest.mark.parametrize("sends", ["a credential", "none"])
def test_googles_client_for_node_uploads_reads_lists_changes_and_removes(told, server, open_server, sends):
    """Its resumable uploads send no credential to an address of one's own; with one, each upload is one request."""
    where = {"ACCESS_TOKEN": server.key, **addresses(server)} if sends == "a credential" else addresses(open_server)
    done = told(NODE, "storage/objects.mjs", **where)

    assert done == {
        "listed": True,
        "text": '{"a": 1}\n',
        "large": True,
        "chunked": True,
        "streamed": True,
        "range": "56789",
        "metadata": ["6", {"made": "by hand"}, "string"],
        "changed": {"changed": "yes"},
        "exists": [True, False],
        "names": ["chunked.bin", "d/simple é.txt", "d/t.jsonl", "large.bin", "streamed.bin"],
        "below": ["d/simple é.txt", "d/t.jsonl"],
        "prefixes": ["d/"],
        "again": True,
        "copied": True,
        "missing": 404,
        "gone": True,
    }
