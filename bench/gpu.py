"""The comparisons that need a GPU, by one command wherever one is at hand.

    python bench/gpu.py --device cuda [--rounds 5] [--shapes SmolLM2-135M,Llama-3.2-1B,Llama-3.2-3B,Llama-3.1-8B]
    python bench/gpu.py --device cpu --tiny      try the program itself, on a model of no use

- one small job beside TRL with its defaults and tuned by hand, on models up to 1B
- sixteen jobs at once beside TRL doing them one after the other, on all
- sixteen streams on sixteen adapters beside the base alone and beside transformers + PEFT, on all
- from create to the first tuned answer beside a script with TRL

The programs are those of `training_step.py`, `decode.py` and `tutorial_job.py`. All models are random: an 8B takes 16
GB of disk while it is measured. TRL's environment needs torch's CUDA build, which is what installers take on a machine
with a GPU unless they are told otherwise.
"""

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

import children
import decoding
import report
import shapes
import training
import training_step
import tutorial_job
from tuningfork.settings import usable_cores

SMALL = (shapes.SMOLLM2_135M, shapes.LLAMA_1B)
LARGE = (shapes.LLAMA_3B, shapes.LLAMA_8B)
JOBS = 16
STEPS_A_ROUND = 10
ONE_JOB_RATIO, MANY_SMALL_RATIO, MANY_LARGE_RATIO = 5.0, 20.0, 2.5
TUTORIAL_SECONDS, TUTORIAL_RATIO = 1.0, 15.0
RESULT = "gpu"


def job_of(shape: shapes.ModelShape, folder: Path) -> training.Work:
    return replace(
        training_step.smollm_work(folder, shape),
        steps_a_round=STEPS_A_ROUND,
        wanted=f"at least {ONE_JOB_RATIO:g} x TRL",
        wanted_ratios={training.TRL_DEFAULTS: ONE_JOB_RATIO, training.TRL_BY_HAND: ONE_JOB_RATIO},
    )


def measure(
    shape: shapes.ModelShape,
    findings: "Findings",
    *,
    small: bool,
    rounds: int,
    device: str,
    install: bool,
    new_tokens: int,
) -> None:
    """All comparisons on one model."""
    how: dict[str, Any] = {"rounds": rounds, "device": device, "install": install}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        work = job_of(shape, folder)
        if small:
            row, found = training.compare(work, folder, only="TRL", **how)
            findings.add([row], found)
        ratio = MANY_SMALL_RATIO if small else MANY_LARGE_RATIO
        row, found = training.compare_many(work, folder, jobs=JOBS, wanted_ratio=ratio, **how)
        findings.add([row], found)
        # vLLM's CPU build has no part in this.
        only = decoding.TRANSFORMERS
        decoded, found = decoding.compare(shape, work.model, folder, only=only, new_tokens=new_tokens, **how)
        findings.add(decoded, found)


class Findings:
    """What was measured so far: written after each part, beside what an earlier run found of other parts."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self._keeps = not arguments.tiny
        self._threads = arguments.threads
        before = next((each for each in report.read_results() if each["name"] == RESULT), None)
        self._rows: list[dict[str, Any]] = before["rows"] if before and arguments.add else []
        self._versions: dict[str, Any] = before["versions"] if before and arguments.add else {}
        self._shown: list[dict[str, Any]] = []

    def add(self, rows: Sequence[report.Row], versions: Mapping[str, Any]) -> None:
        """Take these in, in place of earlier ones of the same work."""
        new = [row.as_json() for row in rows]
        works = {row["work"] for row in new}
        self._rows = [row for row in self._rows if row["work"] not in works] + new
        self._versions |= versions
        self._shown += new
        if self._keeps:
            report.write_result(
                RESULT,
                self._rows,
                title="Tuning and decoding on a GPU",
                threads=self._threads,
                versions=self._versions,
                accelerator=torch.cuda.get_device_name(),
                caveats=training_step.CAVEATS,
            )

    def show(self) -> None:
        """Print what was measured now."""
        report.show("On a GPU" if self._keeps else "On a model of no use", self._shown)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=min(8, usable_cores()))
    parser.add_argument("--shapes", default=",".join(shape.name for shape in SMALL + LARGE))
    parser.add_argument("--add", action="store_true", help="to the results of an earlier run, which stay")
    parser.add_argument("--tiny", action="store_true", help="a model of no use; installs and writes nothing")
    parser.add_argument("--without-service", action="store_true", help="engines only")
    arguments = parser.parse_args()
    if arguments.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit(
            f"torch {torch.__version__} sees no CUDA device, so there is nothing to measure here. Run this on a "
            "machine with a GPU and torch's CUDA build, or try the program itself with --device cpu --tiny"
        )
    if arguments.device == "cpu" and not arguments.tiny:
        raise SystemExit("on a CPU only --tiny makes sense; training_step.py and decode.py measure CPUs")
    children.pin(arguments.threads)
    wanted = arguments.shapes.split(",")
    findings = Findings(arguments)
    if not (arguments.tiny or arguments.without_service):
        how = {"rounds": arguments.rounds, "device": arguments.device}
        findings.add(tutorial_job.compare(install=True, at_most=TUTORIAL_SECONDS, ratio=TUTORIAL_RATIO, **how), {})
    for shape in [shapes.TINY] if arguments.tiny else [shape for shape in SMALL + LARGE if shape.name in wanted]:
        measure(
            shape,
            findings,
            small=shape not in LARGE,
            rounds=arguments.rounds,
            device=arguments.device,
            install=not arguments.tiny,
            new_tokens=4 if arguments.tiny else decoding.NEW_TOKENS,
        )
    findings.show()


if __name__ == "__main__":
    main()
