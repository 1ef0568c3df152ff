"""What preparing a training file of a gigabyte takes: throughput beside the library tokenizers', and memory.

    python bench/preparing.py --gigabytes 1

The library encodes the texts of the same rows in batches, with all cores, before and after: its throughput is the mean.
Both are told by the clock, which counts on a quiet machine, and by processor time, which other processes hardly change.
Memory is what the preparer's process takes, which there is none of when a server is idle, and by how much this process,
in the server's place, grew. Then the same file is prepared with a malformed last row. Linux only.
"""

import argparse
import json
import os
import resource
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

import real_base
import report
from tuningfork.buckets.configuration import BucketSettings, MappedBucket
from tuningfork.buckets.files import BucketFile
from tuningfork.catalog import EMBEDDED_MODEL
from tuningfork.domain.artifact import ArtifactRef
from tuningfork.domain.base_model import BaseModel, BaseModelName
from tuningfork.domain.permission import LOCAL_PRINCIPAL
from tuningfork.domain.training_rows import RowFault
from tuningfork.domain.tuning_job import JobId
from tuningfork.execution.local import environment
from tuningfork.execution.local.preparers import LocalPreparers
from tuningfork.execution.preparation import PreparationRequest
from tuningfork.wire.vertex.rows import read_row

SAMPLE_BYTES = 40_000_000
"""How much of the file the library encodes, before and after."""
BATCH = 1_000
LOOK_SECONDS = 0.05


def rows(characters: int) -> Iterator[bytes]:
    """Endless rows of so many characters each, cut from the texts of the example programs, all of them different."""
    files = sorted((report.ROOT / "examples" / "data").glob("*.training.jsonl"))
    words = " ".join(file.read_text(encoding="utf-8") for file in files).split(" ")
    draw = Random(0)
    number = 0
    while True:
        begin = draw.randrange(len(words) - characters)
        number += 1
        text = " ".join(words[begin : begin + characters // 4])[:characters]
        cut = text.rfind(" ", 0, len(text) * 3 // 4)
        contents = [
            {"role": "user", "parts": [{"text": f"{number} {text[:cut]}"}]},
            {"role": "model", "parts": [{"text": text[cut + 1 :] or "none"}]},
        ]
        yield json.dumps({"contents": contents}, ensure_ascii=False).encode() + b"\n"


def write(path: Path, size: int, characters: int) -> None:
    """Write rows until the file has so many bytes."""
    with path.open("wb") as file:
        for row in rows(characters):
            file.write(row)
            if file.tell() >= size:
                return


def texts_of(path: Path, most_bytes: int) -> list[str]:
    """The texts of the file's first rows, each row's as one text."""
    found, read = [], 0
    with path.open("rb") as file:
        for line in file:
            read += len(line)
            parts = [part["text"] for entry in json.loads(line)["contents"] for part in entry["parts"]]
            found.append("\n".join(parts))
            if read >= most_bytes:
                break
    return found


@dataclass(frozen=True)
class Taken:
    """What some work took: seconds by the clock, and seconds of all processors together."""

    clock: float
    processors: float

    def rate(self, size: float) -> "Taken":
        """Megabytes a second by either, of so many bytes."""
        return Taken(size / self.clock / 1e6, size / self.processors / 1e6)


def used() -> Taken:
    """The clock, and what this process and its ended children have computed."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Taken(time.perf_counter(), time.process_time() + children.ru_utime + children.ru_stime)


def since(begun: Taken) -> Taken:
    """What was taken since then."""
    now = used()
    return Taken(now.clock - begun.clock, now.processors - begun.processors)


def encoded(base: BaseModel, texts: list[str]) -> Taken:
    """What the library takes to encode these texts with all cores."""
    from tuningfork.modeling.describing import check_location, load_tokenizer  # noqa: PLC0415

    backend = load_tokenizer(base, check_location(base)).backend_tokenizer
    backend.encode_batch(texts[:BATCH], add_special_tokens=False)
    begun = used()
    for begin in range(0, len(texts), BATCH):
        backend.encode_batch(texts[begin : begin + BATCH], add_special_tokens=False)
    return since(begun)


class Watch(threading.Thread):
    """Looks at the memory of this process's children, and keeps the most that one has had in bytes."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.most = 0
        self.ended = threading.Event()

    def run(self) -> None:
        """Look until the watch is ended."""
        while not self.ended.wait(LOOK_SECONDS):
            children = Path(f"/proc/{os.getpid()}/task").glob("*/children")
            for pid in (pid for each in children for pid in each.read_text(encoding="ascii").split()):
                self.most = max(self.most, memory(pid, "VmHWM"))


def memory(pid: object, name: str) -> int:
    """A line of a process's memory in bytes; 0 if it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:")), 0)


def base_of(name: str) -> BaseModel:
    """The embedded base, or the real one of the comparisons."""
    if name == "embedded":
        return EMBEDDED_MODEL
    return BaseModel(
        name=BaseModelName(f"models/{name}"),
        location=str(real_base.directory(install=False)),
        display_name=name,
        context_tokens=8_192,
    )


def prepared(folder: Path, base: BaseModel, name: str) -> tuple[Taken, int]:
    """Prepare a file in this folder; what it took, with the start of the preparer, and how many rows it has."""
    variables = environment.of_worker(os.cpu_count() or 1, "warning") | environment.of_artifacts(folder / "artifacts")
    preparers = LocalPreparers(variables)
    settings = BucketSettings(root=folder / "none", mapped=(MappedBucket(name="bench", directory=folder),))
    request = PreparationRequest(
        job_id=JobId("bench"),
        base=base,
        training=BucketFile(settings=settings, uri=f"gs://bench/{name}", reader=LOCAL_PRINCIPAL),
        validation=None,
        read_row=read_row,
        work=ArtifactRef("work/bench"),
    )
    begun = used()
    try:
        count = preparers.prepare(request).statistics.examples
    except RowFault as fault:
        print(f"poisoned: refused after {since(begun).clock:.0f} s: {fault.message[:80]}")
        count = fault.row
    finally:
        preparers.close()
    return since(begun), count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gigabytes", type=float, default=1.0)
    parser.add_argument("--characters", type=int, default=1_000, help="of a row (default 1000)")
    parser.add_argument("--base", choices=["smollm2", "embedded"], default="smollm2")
    chosen = parser.parse_args()
    os.environ["TOKENIZERS_PARALLELISM"] = "true"
    base = base_of(chosen.base)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        file = folder / "rows.jsonl"
        write(file, int(chosen.gigabytes * 1e9), chosen.characters)
        texts = texts_of(file, SAMPLE_BYTES)
        sampled = sum(len(text.encode()) for text in texts)
        whole = sampled * file.stat().st_size / min(SAMPLE_BYTES, file.stat().st_size)
        before = encoded(base, texts)
        watch, idle = Watch(), memory("self", "VmRSS")
        watch.start()
        taken, count = prepared(folder, base, file.name)
        watch.ended.set()
        grown = memory("self", "VmRSS") - idle
        after = encoded(base, texts)
        library = Taken(before.clock + after.clock, before.processors + after.processors).rate(2 * sampled)
        ours = taken.rate(whole)
        print(f"{count:,} rows, {file.stat().st_size / 1e9:.2f} GB, base {chosen.base}")
        print(f"library: {library.clock:.2f} MB of text a second, {library.processors:.2f} MB of a processor's")
        print(f"preparer: {ours.clock:.2f} and {ours.processors:.2f} MB, in {taken.clock:.0f} s")
        shares = ours.clock / library.clock, ours.processors / library.processors
        print(f"of the library's throughput: {shares[0]:.0%} by the clock, {shares[1]:.0%} by processor time")
        print(f"memory: {watch.most / 1e6:.0f} MB the preparer, {grown / 1e6:.0f} MB more in this process")
        with file.open("ab") as more:
            more.write(b'{"input_text": "1", "output_text": "2"}\n')
        prepared(folder, base, file.name)


if __name__ == "__main__":
    main()
