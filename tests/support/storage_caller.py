"""The API of buckets, called in-process: an application over the workshop, and the answers' JSON."""

from urllib.parse import quote, urlsplit

from caller import caller_of
from tuningfork.api.storage.form import STORAGE_FORM
from tuningfork.buckets.configuration import BucketSettings, MappedBucket
from tuningfork.dialect.storage.table import storage
from tuningfork.service.storage.storing import Storing

UPLOAD = "/upload/storage/v1/b"


def settings_below(directory):
    """Buckets in a directory, with one that the operator shares, and one that everybody may write into."""
    (directory / "shared").mkdir(exist_ok=True)
    (directory / "open").mkdir(exist_ok=True)
    return BucketSettings(
        root=directory / "buckets",
        mapped=(
            MappedBucket(name="shared", directory=directory / "shared"),
            MappedBucket(name="open", directory=directory / "open", writable=True),
        ),
    )


class StorageCaller:
    """Calls as Ada; `bob` calls as Bob. `storing` does the work."""

    def __init__(self, workshop, directory, *, storing=None, **options):
        self.settings = settings_below(directory)
        self.storing = storing or Storing(self.settings, workshop.clock)
        self.caller = caller_of(workshop, further=storage(self.storing, STORAGE_FORM), **options)
        self.key = self.caller.key

    @property
    def bob(self):
        other = object.__new__(StorageCaller)
        other.__dict__.update(self.__dict__, key=self.caller.bobs_key)
        return other

    def call(self, verb, path, body=None, **headers):
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.caller.call(verb, path, body, headers=named, key=self.key)

    def make(self, bucket="training", project=""):
        answer = self.call("POST", f"/storage/v1/b?project={project}", {"name": bucket})
        assert answer.status_code == 200, answer.text
        return bucket

    def put(self, name, content, bucket="training", query="", **headers):
        path = f"{UPLOAD}/{bucket}/o?uploadType=media&name={quote(name, safe='')}{query}"
        return self.call("POST", path, content, **headers)

    def get(self, name, bucket="training", query="", **headers):
        return self.call("GET", f"/storage/v1/b/{bucket}/o/{quote(name, safe='')}{query}", **headers)

    def content(self, name, bucket="training", **headers):
        return self.call("GET", f"/download/storage/v1/b/{bucket}/o/{quote(name, safe='')}?alt=media", **headers)

    def names(self, bucket="training", query=""):
        answer = self.call("GET", f"/storage/v1/b/{bucket}/o{query}")
        assert answer.status_code == 200, answer.text
        return [each["name"] for each in answer.json().get("items", ())]

    def begin(self, name, bucket="training", body=None, query="", **headers):
        """The path and the query of a new upload that can be resumed."""
        path = f"{UPLOAD}/{bucket}/o?uploadType=resumable&name={quote(name, safe='')}{query}"
        answer = self.call("POST", path, body or {}, **headers)
        assert answer.status_code == 200, answer.text
        location = urlsplit(answer.headers["location"])
        return f"{location.path}?{location.query}"

    def chunk(self, location, content, where, verb="PUT", **headers):
        return self.call(verb, location, content, content_range=where, **headers)


def shape_is_that_of_storage(answer):
    """Whether an error has the one shape that this API has."""
    error = answer.json()["error"]
    return (
        answer.status_code == error["code"]
        and set(error) == {"code", "message", "errors"}
        and all(set(each) == {"message", "domain", "reason"} for each in error["errors"])
        and bool(error["message"])
    )
