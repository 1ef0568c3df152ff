"""What a dataset of a gigabyte costs in memory: created, checked, and admitted by a trainer, a process for each.

    python bench/large_dataset.py --gigabytes 1

Each process says how far its memory rose above what it was when idle, and the trainer how many examples it had rendered
when its first step was done. Linux only: memory is read from /proc.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

EXAMPLE_CHARACTERS = 1_000
PHASES = ("create", "check", "train")


def write_dataset(path: Path, gigabytes: float) -> int:
    """Write pairs of some thousand characters, each different; returns how many."""
    count = int(gigabytes * 1e9 / (EXAMPLE_CHARACTERS + 40))
    filling = "four score and seven years ago " * (EXAMPLE_CHARACTERS // 31)
    with path.open("w", encoding="ascii") as lines:
        for number in range(count):
            lines.write(json.dumps({"text_input": f"{number} {filling}"[:-20], "output": str(number + 1)}) + "\n")
    return count


def memory(name: str) -> int:
    """A line of this process's memory in bytes: VmRSS is now, VmHWM the most so far."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


def measured(phase: str, dataset: Path) -> dict[str, float]:
    """Run one phase in a process of its own."""
    command = [sys.executable, __file__, "--phase", phase, "--dataset", str(dataset)]
    ended = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(ended.stdout.splitlines()[-1])


def examples_in_file(path: Path) -> Iterator:
    """The examples of a file, one at a time."""
    from tuningfork.domain.dataset_lines import example_in  # noqa: PLC0415  idle processes have loaded only their own

    with path.open("rb") as lines:
        yield from map(example_in, lines)


def take_in(dataset: Path, phase: str) -> dict[str, float]:
    """Create a job from the dataset, or check it only, over a database of its own."""
    from prometheus_client import CollectorRegistry  # noqa: PLC0415

    from tuningfork.catalog import EMBEDDED_MODEL  # noqa: PLC0415
    from tuningfork.domain.base_model import Catalog  # noqa: PLC0415
    from tuningfork.domain.hyperparameters import RequestedHyperparameters  # noqa: PLC0415
    from tuningfork.domain.permission import Email, Principal  # noqa: PLC0415
    from tuningfork.domain.tuning_job import TuningRequest  # noqa: PLC0415
    from tuningfork.service.metrics import Metrics  # noqa: PLC0415
    from tuningfork.service.tuning.tuning import Tuning  # noqa: PLC0415
    from tuningfork.store.artifacts import Artifacts  # noqa: PLC0415
    from tuningfork.store.database import Database  # noqa: PLC0415

    with tempfile.TemporaryDirectory(dir=dataset.parent) as folder:
        database = Database.open(f"sqlite:///{folder}/database")
        tuning = Tuning(
            database,
            Artifacts(Path(folder) / "artifacts"),
            Catalog((EMBEDDED_MODEL,)),
            clock=lambda: datetime.now(UTC),
            entropy=lambda bits: time.time_ns() % (1 << bits),
            metrics=Metrics(CollectorRegistry()),
        )
        request = TuningRequest(
            base_model=EMBEDDED_MODEL.name, hyperparameters=RequestedHyperparameters(epoch_count=1, batch_size=16)
        )
        principal = Principal(email=Email("bench@example.com"), project="1")
        idle, begun = memory("VmRSS"), time.perf_counter()
        use_case = tuning.create if phase == "create" else tuning.check
        use_case(principal, request, examples_in_file(dataset))
        return {"seconds": time.perf_counter() - begun, "bytes": memory("VmHWM") - idle}


class Counted:
    """A dataset file that counts which examples were read."""

    def __init__(self, file) -> None:
        self._file = file
        self.read: set[int] = set()

    def __len__(self) -> int:
        return len(self._file)

    def __getitem__(self, index: int):
        self.read.add(index)
        return self._file[index]


def train(dataset: Path) -> dict[str, float]:
    """Admit a job over the dataset and take its first step."""
    from tuningfork.catalog import EMBEDDED_MODEL  # noqa: PLC0415
    from tuningfork.domain.base_model import AdapterShape  # noqa: PLC0415
    from tuningfork.domain.hyperparameters import Hyperparameters  # noqa: PLC0415
    from tuningfork.domain.tuning_job import JobId  # noqa: PLC0415
    from tuningfork.execution.dataset_file import DatasetFile  # noqa: PLC0415
    from tuningfork.modeling.loading import load_base  # noqa: PLC0415
    from tuningfork.training.engine import TrainingEngine, TrainingJob  # noqa: PLC0415

    engine = TrainingEngine(load_base(EMBEDDED_MODEL), clock=lambda: datetime.now(UTC))
    idle, begun = memory("VmRSS"), time.perf_counter()
    file = DatasetFile(dataset)
    examples = Counted(file)
    job = TrainingJob(
        id=JobId("job"),
        examples=examples,
        dataset_digest=file.digest,
        hyperparameters=Hyperparameters(epoch_count=1, batch_size=1, learning_rate=0.001),
        adapter=AdapterShape(),
        seed=1,
    )
    engine.admit(job)
    admitted, most = time.perf_counter() - begun, memory("VmHWM") - idle
    engine.step()
    return {
        "admission_seconds": admitted,
        "first_step_seconds": time.perf_counter() - begun,
        "bytes": most,
        "bytes_with_step": memory("VmHWM") - idle,
        "examples": len(file),
        "examples_read": len(examples.read),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gigabytes", type=float, default=1.0)
    parser.add_argument("--phase", choices=PHASES, help=argparse.SUPPRESS)
    parser.add_argument("--dataset", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.phase:
        found = train(chosen.dataset) if chosen.phase == "train" else take_in(chosen.dataset, chosen.phase)
        print(json.dumps(found))
        return
    with tempfile.TemporaryDirectory() as folder:
        dataset = Path(folder) / "dataset.jsonl"
        print(f"{write_dataset(dataset, chosen.gigabytes):,} examples, {dataset.stat().st_size / 1e9:.2f} GB")
        for phase in PHASES:
            found = measured(phase, dataset)
            shown = [f"{name} {value:,.1f}" for name, value in found.items()]
            print(f"{phase}: {found['bytes'] / 1e6:.0f} MB above idle; {', '.join(shown)}", flush=True)


if __name__ == "__main__":
    main()
