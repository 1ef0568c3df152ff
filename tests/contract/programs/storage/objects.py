"""What tutorials and libraries do with google-cloud-storage: buckets, uploads of every kind, downloads, lists."""

import base64
import io
import json
import os

import google_crc32c
from google.api_core import exceptions
from google.cloud import storage
from google.oauth2.credentials import Credentials

# Without a token the client finds its credentials by itself, or sends none.
token = os.environ.get("ACCESS_TOKEN")
client = storage.Client(project="p", **({"credentials": Credentials(token)} if token else {}))
name = os.environ["BUCKET"]
told = {}

bucket = client.create_bucket(name)
told["found"] = [client.get_bucket(name).name, client.lookup_bucket("not-there-at-all")]
told["listed"] = name in [each.name for each in client.list_buckets()]
try:
    client.create_bucket(name)
except exceptions.Conflict as error:
    told["twice"] = error.code

# A small file: one request with the JSON and the bytes.
small = bucket.blob("d/t 1.jsonl")
small.metadata = {"made": "by hand"}
small.upload_from_string('{"a": "ä"}\n', content_type="application/jsonl", checksum="crc32c")
small.reload()
told["small"] = [small.size, small.content_type, small.metadata, small.download_as_text()]
told["crc32c"] = small.crc32c == base64.b64encode(google_crc32c.Checksum('{"a": "ä"}\n'.encode()).digest()).decode()
told["exists"] = [small.exists(), bucket.blob("d/none").exists()]

# A large file in chunks, a file of unknown size, a file written piece by piece.
content = os.urandom(3 * 262144 + 17)
large = bucket.blob("large", chunk_size=262144)
large.upload_from_file(io.BytesIO(content), size=len(content), checksum="crc32c")
told["large"] = large.download_as_bytes(checksum="md5") == content


class Unsized(io.BytesIO):
    def seekable(self):
        return False


unknown = bucket.blob("unknown", chunk_size=262144)
unknown.upload_from_file(Unsized(content))
told["unknown"] = unknown.download_as_bytes(checksum="crc32c") == content
with bucket.blob("written").open("w", chunk_size=262144) as file:
    for number in range(100_000):
        file.write(f"{number}\n")
with bucket.blob("written").open("r", chunk_size=100_000) as file:
    told["written"] = [sum(1 for _ in file)]
bucket.blob("empty").upload_from_string("")
told["empty"] = bucket.blob("empty").download_as_bytes() == b""
told["range"] = large.download_as_bytes(start=5, end=9) == content[5:10]
try:
    large.download_as_bytes(start=len(content) + 5)
except exceptions.RequestRangeNotSatisfiable as error:
    told["past the end"] = error.code

# Lists: all, below a folder, folders, pages.
told["names"] = [blob.name for blob in client.list_blobs(name)]
folders = client.list_blobs(name, delimiter="/")
told["folders"] = [[blob.name for blob in folders], sorted(folders.prefixes)]
told["pages"] = [len(list(page)) for page in client.list_blobs(name, page_size=2).pages]
told["from"] = [blob.name for blob in client.list_blobs(name, start_offset="l", end_offset="u")]

# Generations and conditions.
try:
    bucket.blob("empty").upload_from_string("x", if_generation_match=0)
except exceptions.PreconditionFailed as error:
    told["condition"] = error.code
before = bucket.get_blob("empty").generation
bucket.blob("empty").upload_from_string("x", if_generation_match=before)
told["generation grows"] = bucket.get_blob("empty").generation > before
small.metadata = {"made": "anew"}
small.patch()
told["patched"] = [bucket.get_blob("d/t 1.jsonl").metadata, small.metageneration]
told["copied"] = bucket.copy_blob(small, bucket, "d/copy/é").download_as_text() == '{"a": "ä"}\n'
told["rewritten"] = bucket.blob("rewritten").rewrite(small)[0] is None

try:
    bucket.delete()
except exceptions.Conflict as error:
    told["not empty"] = error.code
for blob in list(client.list_blobs(name)):
    blob.delete()
try:
    small.delete()
except exceptions.NotFound as error:
    told["deleted"] = error.code
bucket.delete()
told["gone"] = client.lookup_bucket(name)
print(json.dumps(told))
