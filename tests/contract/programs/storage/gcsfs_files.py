"""What libraries of data do through gcsfs."""

import json
import os

os.environ["GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT"] = "false"
import gcsfs

name = os.environ["BUCKET"]
files = gcsfs.GCSFileSystem(
    project="p", token="anon", endpoint_url=os.environ["STORAGE_EMULATOR_HOST"], default_location="US"
)
if token := os.environ.get("ACCESS_TOKEN"):
    from google.oauth2.credentials import Credentials

    files = gcsfs.GCSFileSystem(
        project="p", token=Credentials(token), endpoint_url=os.environ["STORAGE_EMULATOR_HOST"], default_location="US"
    )
told = {}
files.mkdir(name)
with files.open(f"{name}/d/t.jsonl", "wb") as file:
    file.write(b'{"a": 1}\n')
content = os.urandom(700_000)
with files.open(f"{name}/d/large", "wb", block_size=2**18) as file:
    file.write(content)
files.pipe(f"{name}/piped", b"piped")
told["listed"] = sorted(files.find(name))
told["folder"] = sorted(files.ls(f"{name}/d"))
told["info"] = [files.info(f"{name}/d/t.jsonl")["size"], files.isdir(f"{name}/d"), files.exists(f"{name}/none")]
told["lines"] = [line.strip() for line in files.open(f"{name}/d/t.jsonl", "r")]
told["large"] = files.cat(f"{name}/d/large") == content
told["range"] = files.cat_file(f"{name}/d/large", start=10, end=20) == content[10:20]
files.cp(f"{name}/piped", f"{name}/copied")
told["copied"] = files.cat(f"{name}/copied").decode()
files.rm(f"{name}", recursive=True)
told["gone"] = not files.exists(name)
print(json.dumps(told))
