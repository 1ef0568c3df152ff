"""Buckets as an operator writes them."""

from pathlib import Path

import pytest

from tuningfork.buckets.configuration import (
    MappedBucket,
    ObjectStore,
    check_mapped,
    check_stores,
    parse_mapped,
    parse_store,
    parse_web_root,
)
from tuningfork.buckets.uris import Scheme


@pytest.mark.parametrize(
    ("text", "mapped"),
    [
        ("data=/srv/data", MappedBucket(name="data", directory=Path("/srv/data"))),
        ("data=/srv/data:rw", MappedBucket(name="data", directory=Path("/srv/data"), writable=True)),
        ("data=/srv/a=b", MappedBucket(name="data", directory=Path("/srv/a=b"))),
    ],
)
def test_a_directory_is_shared_for_reading_unless_said_otherwise(text, mapped):
    assert parse_mapped(text) == mapped


@pytest.mark.parametrize("text", ["", "data", "data=", "data=data", "Data=/srv", "=/srv", "-=/srv", "../x=/srv"])
def test_what_is_no_shared_directory_is_refused(text):
    with pytest.raises(ValueError, match=r"BUCKET=DIRECTORY|Invalid bucket name"):
        parse_mapped(text)


@pytest.mark.parametrize(
    ("text", "store"),
    [
        ("s3://data", ObjectStore(scheme=Scheme.S3, bucket="data")),
        ("gs://data=http://h:1", ObjectStore(scheme=Scheme.GS, bucket="data", endpoint="http://h:1")),
        (
            "gs://data=s3://lab-data",
            ObjectStore(scheme=Scheme.GS, bucket="data", held_by=ObjectStore(scheme=Scheme.S3, bucket="lab-data")),
        ),
        (
            "gs://data=s3://lab-data=http://h:1",
            ObjectStore(
                scheme=Scheme.GS,
                bucket="data",
                held_by=ObjectStore(scheme=Scheme.S3, bucket="lab-data", endpoint="http://h:1"),
            ),
        ),
    ],
)
def test_a_store_is_named_by_its_bucket_and_perhaps_its_address_or_the_bucket_that_holds_it(text, store):
    assert parse_store(text) == store


@pytest.mark.parametrize(
    "text",
    [
        *("", "data", "file://data", "s3://", "s3://data=store", "s3://data=ftp://h", "gs://data=s3://"),
        *(
            "gs://data=s3://A",
            "gs://data=s3://data=h",
            "gs://data=s3://data=s3://data",
        ),
    ],
)
def test_what_is_no_store_is_refused(text):
    with pytest.raises(ValueError, match=r"s3://BUCKET|URL|Invalid bucket name"):
        parse_store(text)


def test_a_bucket_is_in_one_store():
    assert check_stores(["gs://data", "s3://data"]) == ["gs://data", "s3://data"]
    with pytest.raises(ValueError, match="each bucket is in one store; gs://data is in more"):
        check_stores(["gs://data", "gs://data=s3://data"])


def test_a_bucket_has_one_directory():
    with pytest.raises(ValueError, match="each bucket has one directory; data has more"):
        check_mapped(["data=/srv/a", "data=/srv/b"])


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("https://data.example.com/sets/", "https://data.example.com/sets"),
        ("http://10.0.0.5:8080", "http://10.0.0.5:8080/"),
        ("http://[::1]:8080/a/b", "http://[::1]:8080/a/b"),
    ],
)
def test_files_of_the_web_are_below_an_address(text, address):
    assert str(parse_web_root(text)) == address


@pytest.mark.parametrize(
    "text",
    ["", "data", "s3://data/x", "https://", "https://me@host/x", "https://host/x?y", "https://host/../x", "ftp://h/x"],
)
def test_what_is_no_address_of_the_web_is_refused(text):
    with pytest.raises(ValueError, match=r"https://HOST/PATH|not the address|gs://BUCKET"):
        parse_web_root(text)
