"""The upload cells of a tutorial: a bucket, a training file and a validation file, which come back as they went."""

import json
import os

from google.cloud import storage

bucket_name = os.environ["BUCKET"]
pairs = json.loads(os.environ["PAIRS"])


def lines(some: list[list[str]]) -> str:
    rows = [
        {"contents": [{"role": "user", "parts": [{"text": asked}]}, {"role": "model", "parts": [{"text": said}]}]}
        for asked, said in some
    ]
    return "".join(json.dumps(row) + "\n" for row in rows)


client = storage.Client(project=os.environ["GOOGLE_CLOUD_PROJECT"])
bucket = client.create_bucket(bucket_name)
training, validation = bucket.blob("counting/train.jsonl"), bucket.blob("counting/validation.jsonl")
training.upload_from_string(lines(pairs))
with validation.open("w") as file:
    file.write(lines(pairs[:5]))

back = storage.Client(project=os.environ["GOOGLE_CLOUD_PROJECT"]).bucket(bucket_name)
found = list(client.list_blobs(bucket_name, prefix="counting/"))
print(
    json.dumps(
        {
            "uris": [f"gs://{bucket_name}/{blob.name}" for blob in (training, validation)],
            "same": back.blob("counting/train.jsonl").download_as_text() == lines(pairs),
            "listed": [blob.name for blob in found],
            "sizes": [blob.size == len(lines(some)) for blob, some in zip(found, (pairs, pairs[:5]), strict=True)],
            "there": back.blob("counting/train.jsonl").exists(),
            "elsewhere": back.blob("counting/nothing.jsonl").exists(),
        }
    )
)
