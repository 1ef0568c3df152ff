"""Tokens a second: our engine beside vLLM's CPU build and transformers + PEFT.

    python bench/decode.py [--rounds 5] [--threads 1] [--only vLLM]

A random model of SmolLM2-135M's shape and sixteen adapters of rank 8 on all linear layers. Sixteen streams of 48 prompt
and 64 new tokens, greedy, each on another adapter; the same without adapters; one stream. Counted are generated tokens
a second, reading the prompts included. No answer ends early, and every round has other prompts.
"""

import argparse
import tempfile
from pathlib import Path

import children
import decoding
import peers
import report
import shapes

QUICK_TOKENS = 16
CAVEATS = (
    "vLLM is used offline, in one process without its API server, with weights of the machine's type and max_loras 16.",
    "Without adapters vLLM compiles its model at its first start; that time is not counted. With adapters it does not.",
    "transformers' generate cannot give each row an adapter of its own: one adapter for all is its easier task.",
    "Our processes start as the service's workers do, which ask glibc for large pages; peers start as they usually do.",
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
    with tempfile.TemporaryDirectory() as folder:
        rows, versions = decoding.compare(
            shapes.SMOLLM2_135M,
            shapes.kept_model(peers.KEPT / "models", shapes.SMOLLM2_135M),
            Path(folder),
            rounds=rounds,
            install=not arguments.quick,
            only=arguments.only,
            new_tokens=QUICK_TOKENS if arguments.quick else decoding.NEW_TOKENS,
        )
    report.show("Decoding", [row.as_json() for row in rows])
    if not (arguments.only or arguments.quick):
        report.write_result(
            "decode",
            rows,
            title="Decoding on a CPU",
            threads=arguments.threads,
            versions=versions,
            caveats=CAVEATS,
        )


if __name__ == "__main__":
    main()
