"""docs/training-data.md, as it is printed: its commands, what they print, and its program."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from patience import PATIENCE_SECONDS

pytestmark = [pytest.mark.acceptance, pytest.mark.slow]

PAGE = (Path(__file__).parents[2] / "docs" / "training-data.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def run(server, tmp_path_factory):
    """Run a program in a directory of the page's own, beside the server."""
    directory = tmp_path_factory.mktemp("page")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"

    def ended(*command):
        return subprocess.run(
            command,
            env={**server.environment, "PATH": path},
            cwd=directory,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )

    return ended


def without_times(text):
    """A preview without what it says of the time of steps, which is measured."""
    return re.sub(r"about [\d.]+ \w+ and all of them [\d.]+ \w+,", "about so long,", text)


def test_the_commands_tune_and_print_what_the_page_says(run):
    script = "\n".join(re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL))
    (printed,) = re.findall(r"```\n(models/.*?)```", PAGE, re.DOTALL)

    ended = run("bash", "-euo", "pipefail", "-c", script)

    assert ended.returncode == 0, ended.stderr
    name, _, preview = ended.stdout.partition("\n")
    assert name.startswith("tunedModels/faq-")
    assert without_times(preview) == without_times(printed)


def test_the_program_previews_and_tunes(run, server):
    (program,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    (table,) = re.findall(r"<<'EOF'\n(.*?)EOF", PAGE, re.DOTALL)
    run("bash", "-c", f"cat > faq.csv <<'EOF'\n{table}EOF")

    ended = run(sys.executable, "-c", f"url, api_key = {server.url!r}, {server.key!r}\n{program}")

    assert ended.returncode == 0, ended.stderr
    first, second, *steps = ended.stdout.splitlines()
    assert first == r"given   '<|bos|><|user|>product: Kettle\nquestion: How long is the warranty?<|model|>'"
    assert second == "trained 'answer: Two years.<|end|>'"
    assert steps[-1] == "4 of 4"
