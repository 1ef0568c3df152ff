"""Objects by their addresses: read in pieces, by those who may, and nothing else of the server's disk."""

import errno
import os
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import fsspec
import pytest

from tuningfork.buckets.buckets import Buckets
from tuningfork.buckets.configuration import BucketSettings, MappedBucket, ObjectStore
from tuningfork.buckets.errors import (
    BucketNotFound,
    DirectoryAway,
    InvalidUri,
    LineTooLong,
    ObjectNotFound,
    ServerNotPermitted,
    StoreUnreachable,
)
from tuningfork.buckets.owners import BucketRecord, BucketRecords
from tuningfork.buckets.uris import Scheme, parse_uri
from tuningfork.domain.errors import InternalError
from tuningfork.domain.permission import LOCAL_PRINCIPAL, Email, Principal

NAMES = count()
ADA = Principal(email=Email("ada@example.com"), project="local")
BOB = Principal(email=Email("bob@example.com"), project="local")


@pytest.fixture
def settings(tmp_path):
    (tmp_path / "shared").mkdir()
    (tmp_path / "files").mkdir()
    return BucketSettings(
        root=tmp_path / "buckets",
        mapped=(MappedBucket(name="shared", directory=tmp_path / "shared"),),
        file_roots=(tmp_path / "files",),
    )


@pytest.fixture
def buckets(settings):
    records = BucketRecords(settings)
    records.add(BucketRecord(name="training", owner=ADA.email, project="", create_time=datetime.now(UTC)))
    (settings.root / "training" / "d").mkdir()
    (settings.root / "training" / "d" / "t.jsonl").write_bytes(b'{"a": 1}\r\n\n{"b": 2}')
    return Buckets(settings)


def test_an_object_is_a_file_in_the_directory_of_its_bucket(buckets):
    found = buckets.check("gs://training/d/t.jsonl")

    assert (found.uri, found.size) == ("gs://training/d/t.jsonl", 19)
    assert found.updated.tzinfo is not None


def test_lines_come_without_their_ends_and_blank_lines_count(buckets):
    assert list(buckets.lines(ADA, "gs://training/d/t.jsonl")) == [b'{"a": 1}', b"", b'{"b": 2}']


def test_a_bucket_may_have_one_letter_as_in_the_examples_of_programs(buckets, settings):
    (settings.root / "b").mkdir()
    (settings.root / "b" / "t.jsonl").write_bytes(b"{}")

    assert buckets.check("gs://b/t.jsonl").size == 2


def test_a_line_that_is_too_long_is_refused_with_its_number(buckets, settings):
    (settings.root / "training" / "long").write_bytes(b"12345678\n123456789\n")
    lines = buckets.lines(ADA, "gs://training/long", most_line_bytes=8)

    assert next(lines) == b"12345678"
    with pytest.raises(LineTooLong, match="Line 2 of gs://training/long has more than 8 bytes") as refused:
        next(lines)
    assert refused.value.line == 2


def test_the_longest_line_may_have_any_line_end(buckets, settings):
    (settings.root / "training" / "long").write_bytes(b"12345678\r\n12345678")

    assert list(buckets.lines(ADA, "gs://training/long", most_line_bytes=8)) == [b"12345678"] * 2


def test_settings_can_be_sent_to_another_process(settings, buckets):
    there = Buckets(pickle.loads(pickle.dumps(settings)))

    assert there.check("gs://training/d/t.jsonl") == buckets.check("gs://training/d/t.jsonl")


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "t.jsonl",
        "/etc/passwd",
        "GS://training/d/t.jsonl",
        "gs:/training/d/t.jsonl",
        "gs://training",
        "gs://training/",
        "gs://Training/d/t.jsonl",
        "gs://../training/d/t.jsonl",
        "gs://.tuningfork/records/training.json",
        "gs://training/../.tuningfork/records/training.json",
        "gs://training//etc/passwd",
        "gs://training/d/./t.jsonl",
        "gs://training/d/",
        "gs://training/t\0.jsonl",
        "gs://training/t\n.jsonl",
        "gs://training/\ud800",
        "gs://training/" + "a" * 256,
        "gs://training/" + "a/" * 600 + "a",
        "gs://training/.tuningfork-x",
        "s3://training/t.jsonl",
        "http://169.254.169.254/latest/meta-data",
        "https://example.com/t.jsonl",
        "ftp://example.com/t.jsonl",
        "file://host/t.jsonl",
        "file:///etc/passwd",
        "file:///",
        "memory://training/t.jsonl",
    ],
)
def test_what_is_no_address_that_this_server_reads_is_refused(buckets, uri):
    with pytest.raises(InvalidUri):
        buckets.check(uri)


@pytest.mark.parametrize("uri", ["gs://training/d%2Ft.jsonl", "gs://training/d", "gs://training/d/t.jsonl/x"])
def test_names_are_taken_as_they_are(buckets, uri):
    with pytest.raises(ObjectNotFound):
        buckets.check(uri)


def test_a_bucket_that_is_not_there_is_named_as_such(buckets):
    with pytest.raises(BucketNotFound, match="The specified bucket does not exist"):
        buckets.check("gs://other-bucket/t.jsonl")


@pytest.mark.parametrize("place", ["secret", "d/secret"])
def test_no_symbolic_link_is_followed(buckets, settings, tmp_path, place):
    (tmp_path / "secret").write_text("secret")
    (settings.root / "training" / place).symlink_to(tmp_path / "secret")

    with pytest.raises(ObjectNotFound):
        buckets.check(f"gs://training/{place}")


def test_no_linked_directory_is_followed_nor_taken_for_a_bucket(buckets, settings, tmp_path):
    (tmp_path / "secret").write_text("secret")
    (settings.root / "training" / "out").symlink_to(tmp_path)
    (settings.root / "linked").symlink_to(tmp_path)

    with pytest.raises(ObjectNotFound):
        buckets.check("gs://training/out/secret")
    with pytest.raises(BucketNotFound):
        buckets.check("gs://linked/secret")


def test_a_pipe_is_not_opened(buckets, settings):
    os.mkfifo(settings.root / "training" / "pipe")

    # Opening it would wait for a writer, for ever.
    with pytest.raises(ObjectNotFound):
        buckets.check("gs://training/pipe")


def test_a_device_is_not_opened():
    devices = Buckets(
        BucketSettings(root=Path("/nowhere"), mapped=(MappedBucket(name="devices", directory=Path("/dev")),))
    )

    with pytest.raises(ObjectNotFound):
        devices.check("gs://devices/null")


@pytest.mark.parametrize(
    ("number", "failure", "said"),
    [
        (errno.EIO, InternalError, r"^gs://training/d/t.jsonl cannot be read"),
        (errno.EACCES, ServerNotPermitted, r"^The server itself may not use the files of training/d/t.jsonl"),
    ],
)
def test_what_cannot_be_read_shows_no_path_of_the_server(buckets, settings, monkeypatch, caplog, number, failure, said):
    def no(*_args, **_kwargs):
        raise OSError(number, "No", str(settings.root))

    monkeypatch.setattr(os, "open", no)
    with pytest.raises(failure, match=said) as failed:
        buckets.check("gs://training/d/t.jsonl")
    assert str(settings.root) not in str(failed.value)
    assert str(settings.root) in caplog.text


def test_a_mapped_bucket_is_for_everybody(buckets, settings):
    (settings.mapped[0].directory / "t.jsonl").write_text("{}\n")

    assert list(buckets.lines(ADA, "gs://shared/t.jsonl")) == [b"{}"]
    assert buckets.may_read(BOB, "gs://shared/t.jsonl")


def test_a_mapped_directory_that_is_not_there_is_told_as_such(buckets, settings):
    settings.mapped[0].directory.rmdir()

    with pytest.raises(DirectoryAway, match="The directory of the bucket 'shared' is not there at the moment"):
        buckets.check_for(BOB, "gs://shared/t.jsonl")


def test_a_file_address_is_read_below_the_allowed_roots_only(buckets, settings, tmp_path):
    (settings.file_roots[0] / "t.jsonl").write_text("{}\n")
    (tmp_path / "files-too").mkdir()
    (tmp_path / "files-too" / "t.jsonl").write_text("{}\n")

    assert list(buckets.lines(ADA, f"file://{settings.file_roots[0]}/t.jsonl")) == [b"{}"]
    for outside in (f"file://{tmp_path}/files-too/t.jsonl", f"file://{tmp_path}/files/../files-too/t.jsonl"):
        with pytest.raises(InvalidUri):
            buckets.check(outside)


def test_only_its_owner_may_read_a_bucket(buckets):
    assert buckets.may_read(ADA, "gs://training/d/t.jsonl")
    assert not buckets.may_read(BOB, "gs://training/d/t.jsonl")
    assert buckets.check_for(ADA, "gs://training/d/t.jsonl").size == 19
    with pytest.raises(BucketNotFound):
        buckets.check_for(BOB, "gs://training/d/t.jsonl")


def test_a_bucket_of_a_project_is_there_for_this_project_only(buckets):
    buckets.records.add(BucketRecord(name="of-p", owner=ADA.email, project="p", create_time=datetime.now(UTC)))

    def readable(project):
        return buckets.may_read(Principal(email=ADA.email, project=project), "gs://of-p/x")

    assert [readable(project) for project in ("p", "q", "local", "")] == [True, False, True, True]


def test_an_object_is_opened_for_those_who_may_read_it(buckets):
    with buckets.open(ADA, "gs://training/d/t.jsonl") as file:
        assert file.read(8) == b'{"a": 1}'
    with pytest.raises(BucketNotFound), buckets.open(BOB, "gs://training/d/t.jsonl"):
        pass


def test_a_directory_that_the_operator_made_belongs_to_the_machines_owner(buckets, settings):
    (settings.root / "by-hand").mkdir()

    assert buckets.may_read(LOCAL_PRINCIPAL, "gs://by-hand/x")
    assert not buckets.may_read(ADA, "gs://by-hand/x")


def test_a_bucket_is_made_once(buckets):
    again = BucketRecord(name="training", owner=BOB.email, project="", create_time=datetime.now(UTC))

    assert not buckets.records.add(again)
    assert buckets.records.find("training").owner == ADA.email


class TestObjectStores:
    """Read through fsspec; its memory stands for a store."""

    @pytest.fixture
    def name(self):
        return f"store-{next(NAMES)}"

    @pytest.fixture
    def stores(self, settings, name):
        store = ObjectStore(scheme=Scheme.S3, bucket=name, endpoint="https://store.example.com")
        return Buckets(BucketSettings(root=settings.root, stores=(store,)), lambda _store: fsspec.filesystem("memory"))

    def test_an_object_is_found_and_read_in_lines(self, stores, name):
        fsspec.filesystem("memory").pipe(f"{name}/d/t.jsonl", b"{}\n{}\n")

        assert stores.check(f"s3://{name}/d/t.jsonl").size == 6
        assert list(stores.lines(ADA, f"s3://{name}/d/t.jsonl")) == [b"{}", b"{}"]

    def test_a_bucket_that_another_store_holds_is_read_there_and_has_its_own_name(self, settings, name, caplog):
        held_by = ObjectStore(scheme=Scheme.S3, bucket=f"{name}-s3", endpoint="https://store.example.com")
        store = ObjectStore(scheme=Scheme.GS, bucket=name, held_by=held_by)
        asked = []

        def file_system(store):
            asked.append(store)
            return fsspec.filesystem("memory")

        stores = Buckets(BucketSettings(root=settings.root, stores=(store,)), file_system)
        fsspec.filesystem("memory").pipe(f"{name}-s3/d/t.jsonl", b"{}\n{}\n")

        assert stores.check(f"gs://{name}/d/t.jsonl").size == 6
        assert list(stores.lines(ADA, f"gs://{name}/d/t.jsonl")) == [b"{}", b"{}"]
        assert set(asked) == {held_by}
        with pytest.raises(ObjectNotFound, match=f"No such object: {name}/none"):
            stores.check(f"gs://{name}/none")
        # Callers know its name alone: what holds it is the operator's, and is not named for them by this.
        with pytest.raises(InvalidUri, match=f"does not read s3://{name}-s3"):
            stores.check(f"s3://{name}-s3/d/t.jsonl")

    def test_what_is_not_there_is_not_found(self, stores, name):
        with pytest.raises(ObjectNotFound):
            stores.check(f"s3://{name}/t.jsonl")

    def test_buckets_that_the_operator_has_not_named_are_not_asked_for(self, stores, name):
        with pytest.raises(InvalidUri, match="does not read s3://other-bucket"):
            stores.check("s3://other-bucket/t.jsonl")
        with pytest.raises(BucketNotFound):
            stores.check(f"gs://{name}/t.jsonl")

    @pytest.mark.parametrize("kind", [PermissionError, ConnectionError, RuntimeError])
    def test_a_store_that_does_not_answer_is_an_error_without_its_words(self, settings, name, caplog, kind):
        def refusing(_store):
            raise kind("secret words of the store")

        store = ObjectStore(scheme=Scheme.S3, bucket=name)
        buckets = Buckets(BucketSettings(root=settings.root, stores=(store,)), refusing)

        with pytest.raises(StoreUnreachable) as failed:
            list(buckets.lines(ADA, f"s3://{name}/t.jsonl"))
        assert "secret" not in failed.value.message
        assert "secret words" in caplog.text

    def test_a_bucket_that_somebody_else_makes_while_an_object_is_opened_is_not_read(self, settings, name):
        fsspec.filesystem("memory").pipe(f"{name}/t.jsonl", b"{}")

        def taken_meanwhile(_store):
            record = BucketRecord(name=name, owner=BOB.email, project="", create_time=datetime.now(UTC))
            assert BucketRecords(settings).add(record)
            return fsspec.filesystem("memory")

        store = ObjectStore(scheme=Scheme.GS, bucket=name)
        buckets = Buckets(BucketSettings(root=settings.root, stores=(store,)), taken_meanwhile)

        with pytest.raises(BucketNotFound), buckets.open(ADA, f"gs://{name}/t.jsonl"):
            pass

    def test_the_extra_is_named_where_it_is_missing(self, settings, name):
        store = ObjectStore(scheme=Scheme.S3, bucket=name)

        if fsspec.utils.get_protocol("s3://x") and _is_installed("s3fs"):
            pytest.skip("s3fs is installed here")
        with pytest.raises(StoreUnreachable, match=r"pip install tuningfork\[buckets\]"):
            Buckets(BucketSettings(root=settings.root, stores=(store,))).check(f"s3://{name}/t.jsonl")


def _is_installed(name):
    try:
        __import__(name)
    except ImportError:
        return False
    return True


def test_an_address_is_written_as_it_was_given():
    assert str(parse_uri("gs://training/a b/%2e/ü")) == "gs://training/a b/%2e/ü"
    assert str(parse_uri("file:///a/b")) == "file:///a/b"


def test_of_many_who_make_a_bucket_at_a_time_one_is_its_owner(buckets):
    people = [Email(f"p{number}@example.com") for number in range(8)]
    began = threading.Barrier(len(people))

    def make(email):
        began.wait()
        return buckets.records.add(BucketRecord(name="wanted", owner=email, project="", create_time=datetime.now(UTC)))

    with ThreadPoolExecutor(len(people)) as threads:
        made = list(threads.map(make, people))
    assert made.count(True) == 1
    assert buckets.records.find("wanted").owner == people[made.index(True)]
