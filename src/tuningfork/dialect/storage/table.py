"""All methods of storage/v1, at the addresses that Google's clients use."""

from collections.abc import Mapping

from tuningfork.dialect.call import Binding
from tuningfork.dialect.form import Dialect, Form
from tuningfork.dialect.storage.answers import StorageAnswer
from tuningfork.dialect.storage.buckets import BucketMethods
from tuningfork.dialect.storage.description import describe
from tuningfork.dialect.storage.objects import ObjectMethods
from tuningfork.dialect.storage.uploads import UploadMethods
from tuningfork.service.storage.storing import Storing

VERSION = "v1"
RESOURCES = ("/storage/v1/b", "/b")
"""The collection of buckets. The client for Node takes an emulator's address for all before `/b`."""
UPLOADS = ("/upload/storage/v1/b", "/resumable/upload/storage/v1/b", "/upload/b")
DOWNLOADS = ("/download/storage/v1/b", "/download/b")


def storage(storing: Storing, form: Form[StorageAnswer]) -> tuple[Dialect[StorageAnswer], ...]:
    """The API as dialects: resources, uploads and downloads have addresses of their own."""
    objects = ObjectMethods(storing)
    return (
        _dialect(RESOURCES, (*BucketMethods(storing).bindings(), *objects.bindings()), form),
        _dialect(UPLOADS, UploadMethods(storing).bindings(), form),
        _dialect(DOWNLOADS, objects.downloads(), form),
    )


def _dialect(
    prefixes: tuple[str, ...], bindings: tuple[Binding[StorageAnswer], ...], form: Form[StorageAnswer]
) -> Dialect[StorageAnswer]:
    named: Mapping[str, str] = dict.fromkeys(prefixes, VERSION)
    return Dialect(
        prefixes=named, bindings=bindings, form=form, describe=lambda: describe(bindings), encoded_paths=True
    )
