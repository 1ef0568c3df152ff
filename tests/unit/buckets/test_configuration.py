"""Buckets as an operator writes them."""

from pathlib import Path

import pytest

from tuningfork.buckets.configuration import MappedBucket, ObjectStore, parse_mapped, parse_store
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


@pytest.mark.parametrize("text", ["", "data", "data=", "data=data", "Data=/srv", "=/srv", "a=/srv", "../x=/srv"])
def test_what_is_no_shared_directory_is_refused(text):
    with pytest.raises(ValueError, match=r"BUCKET=DIRECTORY|Invalid bucket name"):
        parse_mapped(text)


@pytest.mark.parametrize(
    ("text", "store"),
    [
        ("s3://data", ObjectStore(scheme=Scheme.S3, bucket="data")),
        ("gs://data=http://h:1", ObjectStore(scheme=Scheme.GS, bucket="data", endpoint="http://h:1")),
    ],
)
def test_a_store_is_named_by_its_bucket_and_perhaps_its_address(text, store):
    assert parse_store(text) == store


@pytest.mark.parametrize("text", ["", "data", "file://data", "s3://", "s3://data=store", "s3://data=ftp://h"])
def test_what_is_no_store_is_refused(text):
    with pytest.raises(ValueError, match=r"s3://BUCKET|URL|Invalid bucket name"):
        parse_store(text)
