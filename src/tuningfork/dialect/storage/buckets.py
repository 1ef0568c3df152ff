"""Buckets: made, listed, looked at, removed."""

from dataclasses import dataclass

from tuningfork.dialect.call import Binding, Direct, MethodCall
from tuningfork.dialect.storage.answers import StorageAnswer
from tuningfork.dialect.storage.methods import StorageMethod
from tuningfork.service.storage.storing import Storing
from tuningfork.wire.storage.requests import parse_bucket_name, parse_segment
from tuningfork.wire.storage.resources import render_bucket, render_buckets

NO_CONTENT = 204


@dataclass(frozen=True, slots=True)
class BucketMethods:
    """Methods about buckets."""

    storing: Storing

    def bindings(self) -> tuple[Binding[StorageAnswer], ...]:
        """All of them, below the collection of buckets."""
        return (
            Binding("POST", "", StorageMethod.CREATE_BUCKET, Direct(self.create)),
            Binding("GET", "", StorageMethod.LIST_BUCKETS, Direct(self.list)),
            Binding("GET", "/{bucket}", StorageMethod.GET_BUCKET, Direct(self.get)),
            Binding("DELETE", "/{bucket}", StorageMethod.DELETE_BUCKET, Direct(self.delete)),
        )

    def create(self, call: MethodCall) -> StorageAnswer:
        """buckets.insert: a bucket that belongs to the caller."""
        name = parse_bucket_name(call.body)
        made = self.storing.create_bucket(call.principal, name, call.query.get("project", ""))
        return StorageAnswer(body=render_bucket(made, call.origin))

    def list(self, call: MethodCall) -> StorageAnswer:
        """buckets.list: the caller's buckets in a project, and those that the operator shares, on one page."""
        project, prefix = call.query.get("project", ""), call.query.get("prefix", "")
        found = self.storing.list_buckets(call.principal, project, prefix)
        return StorageAnswer(body=render_buckets(found, call.origin))

    def get(self, call: MethodCall) -> StorageAnswer:
        """buckets.get: a bucket."""
        found = self.storing.bucket(call.principal, parse_segment(call.path["bucket"]))
        return StorageAnswer(body=render_bucket(found, call.origin))

    def delete(self, call: MethodCall) -> StorageAnswer:
        """buckets.delete: removes an empty bucket."""
        self.storing.delete_bucket(call.principal, parse_segment(call.path["bucket"]))
        return StorageAnswer(status=NO_CONTENT)
