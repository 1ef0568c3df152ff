"""An object can be named to another process, and is read there."""

import pickle

from tuningfork.buckets.configuration import BucketSettings, MappedBucket
from tuningfork.buckets.files import BucketFile
from tuningfork.domain.permission import LOCAL_PRINCIPAL


def test_the_lines_of_an_object_are_read_wherever_it_is_sent(tmp_path):
    (tmp_path / "t.jsonl").write_bytes(b"1\n2\n")
    settings = BucketSettings(root=tmp_path / "buckets", mapped=(MappedBucket(name="shared", directory=tmp_path),))
    file = BucketFile(settings=settings, uri="gs://shared/t.jsonl", reader=LOCAL_PRINCIPAL)

    assert list(pickle.loads(pickle.dumps(file)).lines()) == [b"1", b"2"]
