"""`python -m tuningfork.embedded.recipe train|evaluate|export`: remake the embedded model."""

import argparse
import sys
from pathlib import Path

import torch

from tuningfork.embedded import model_directory
from tuningfork.embedded.recipe.evaluate import report
from tuningfork.embedded.recipe.export import export
from tuningfork.embedded.recipe.train import TrainingPlan, train


def main() -> None:
    """Run the chosen part of the recipe."""
    parser = argparse.ArgumentParser(prog="python -m tuningfork.embedded.recipe", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="train|evaluate|export")

    training = commands.add_parser("train", help="generate text and train; goes on where an interrupted run stopped")
    training.add_argument("--run", type=Path, required=True, help="directory for the state, averages and losses")
    training.add_argument("--seed", type=int, default=TrainingPlan().seed)
    training.set_defaults(command=lambda given: train(TrainingPlan(seed=given.seed), given.run))

    exporting = commands.add_parser("export", help="write the run's averaged weights as a transformers directory")
    exporting.add_argument("--run", type=Path, required=True, help="directory holding average-*.pt")
    exporting.add_argument("--to", type=Path, default=model_directory(), help="default: the package's own")
    exporting.set_defaults(command=lambda given: export(sorted(given.run.glob("average-*.pt")), given.to))

    evaluating = commands.add_parser("evaluate", help="tune as the tutorial does and ask about held-out numbers")
    evaluating.add_argument("--model", type=Path, default=model_directory(), help="default: the package's own")
    evaluating.add_argument("--seeds", type=int, default=10, help="data orders to average over")
    evaluating.add_argument("--count", type=int, default=100, help="held-out numbers of each notation")
    evaluating.add_argument("--alpha", type=float, default=80.0, help="scale of the adapters times their rank 8")
    evaluating.add_argument("--dtype", nargs="+", choices=("float32", "bfloat16"), default=["float32", "bfloat16"])
    evaluating.set_defaults(command=_evaluate)

    given = parser.parse_args()
    given.command(given)


def _evaluate(given: argparse.Namespace) -> None:
    dtypes = [getattr(torch, name) for name in given.dtype]
    for line in report(given.model, dtypes=dtypes, seeds=given.seeds, count=given.count, alpha=given.alpha):
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
