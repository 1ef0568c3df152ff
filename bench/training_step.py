"""Seconds a tuning step takes: our engine beside TRL (its defaults, and tuned by hand) and PEFT in plain loops.

    python bench/training_step.py [--rounds 5] [--threads 1] [--only TRL]

Two jobs: batches of four examples of 96, 48, 40 and 32 tokens, twelve of them trained, on a random model of
SmolLM2-135M's shape; and the tutorial's on the base model that ships with the package. Everybody begins with the same
adapter and sees the same token ids in the same order with the same hyperparameters (LoRA on all linear layers, AdamW
at a constant rate, no weight decay, no clipping), so that the losses after so many steps can be compared too.
"""

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

import children
import precision
import report
import shapes
import training
from tuningfork.catalog import EMBEDDED_MODEL
from tuningfork.domain.conversation import Conversation
from tuningfork.embedded import model_directory
from tuningfork.tutorial import EXAMPLES

LENGTHS = (96, 48, 40, 32)
CAVEATS = (
    "TRL's step is what lies between its callbacks on_step_begin and on_step_end: collating and logging do not count.",
    "TRL also computes token accuracy and entropy in each step; that is one of its defaults.",
    "TRL tuned by hand: weights of the machine's type, no gradient checkpointing. torch.compile is used by nobody.",
    "Clipping, which is TRL's default, is off: ours does not clip, and the losses are to be comparable.",
    "Our processes start as the service's workers do, which ask glibc for large pages; peers start as they usually do.",
)


WANTED_BFLOAT16 = {training.TRL_DEFAULTS: 6.0, training.TRL_BY_HAND: 5.0, training.PEFT_FLOAT32: 5.0}
WANTED_FLOAT32 = {training.PEFT_FLOAT32: 2.7}
"""How many times better than peers ours is to be, by the type that the machine computes in."""


def smollm_work(folder: Path, shape: shapes.ModelShape) -> training.Work:
    wanted = WANTED_BFLOAT16 if precision.native("cpu") == "bfloat16" else WANTED_FLOAT32
    return training.Work(
        name=f"{shape.name} shape, batch 4 of 96/48/40/32 tokens",
        model=shapes.make_model(folder / "model", shape),
        examples=shapes.random_examples(LENGTHS, shape.vocabulary, seed=0),
        batch_size=4,
        steps_a_round=3,
        adapter=shapes.ADAPTER,
        wanted="at least " + ", ".join(f"{ratio:g} x {label}" for label, ratio in wanted.items()),
        wanted_ratios=wanted,
    )


def tutorial_work() -> training.Work:
    return training.Work(
        name="the tutorial's job on the embedded base, batch 4",
        model=model_directory(),
        ours="embedded",
        examples=tuple(Conversation.pair(*pair) for pair in EXAMPLES),
        batch_size=4,
        steps_a_round=4,
        adapter=EMBEDDED_MODEL.adapter,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, help="default: 5, or 1 with --quick")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", default="", help="only peers whose name contains this; writes no result")
    children.add_quick(parser)
    arguments = parser.parse_args()
    children.begin(arguments)
    rounds = arguments.rounds or (1 if arguments.quick else 5)
    rows, versions = [], {}
    with tempfile.TemporaryDirectory() as folder:
        works = [smollm_work(Path(folder), shapes.SMOLLM2_135M), tutorial_work()]
        if arguments.quick:
            works = [replace(works[0], steps_a_round=1)]
        for index, work in enumerate(works):
            place = Path(folder) / str(index)
            place.mkdir()
            row, found = training.compare(work, place, rounds=rounds, install=not arguments.quick, only=arguments.only)
            rows.append(row)
            versions |= found
            report.show("Tuning steps", [row.as_json()])
    if not (arguments.only or arguments.quick):
        report.write_result(
            "training_step",
            rows,
            title="Tuning steps on a CPU",
            threads=arguments.threads,
            versions=versions,
            caveats=CAVEATS,
        )


if __name__ == "__main__":
    main()
