"""The suite and the programs of `bench/` use no server, database or data directory of whoever runs them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
THEIRS = {
    "TUNINGFORK_DATABASE_URL": "postgresql+psycopg://theirs",
    "TUNINGFORK_CONFIG": "/theirs.toml",
    "TUNINGFORK_MISSPELLED": "1",
    "FORCE_COLOR": "1",
    "TTY_COMPATIBLE": "1",
}
KEPT = {"TUNINGFORK_TEST_POSTGRESQL_URL": "postgresql://for-tests", "TUNINGFORK_BENCH_TRACE": "trace"}


def ended_with(program, variables):
    """What a program prints in its last line as JSON."""
    folders = [ROOT / "tests", ROOT / "tests" / "support", ROOT / "bench", ROOT / "src"]
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **variables, "PYTHONPATH": os.pathsep.join(map(str, folders))},
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    "begin",
    ["import conftest", "import soak; soak.forget_settings()", "from fuzz import campaign; campaign.forget_settings()"],
)
def test_variables_of_whoever_runs_the_tests_are_forgotten(begin):
    left = ended_with(f"{begin}; import json, os; print(json.dumps(dict(os.environ)))", {**THEIRS, **KEPT})

    assert left.keys() & THEIRS.keys() == set()
    assert left.items() >= KEPT.items()


def test_a_server_of_a_benchmark_takes_over_the_numbers_of_threads_only():
    program = "import bench_server, json; print(json.dumps(bench_server._surroundings()))"
    threads = {"TUNINGFORK_TRAINER_THREADS": "3"}

    left = ended_with(program, {**THEIRS, **threads})

    assert {name: value for name, value in left.items() if name in {*THEIRS, *threads}} == threads


@pytest.mark.parametrize("program", ["bench/soak.py", "tests/fuzz/campaign.py"])
def test_a_program_forgets_them_before_it_starts_anything(program):
    main = (ROOT / program).read_text(encoding="utf-8").partition("def main() -> None:\n")[2]

    assert main.startswith("    forget_settings()\n")
