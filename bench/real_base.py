"""SmolLM2 135M Instruct, the real base model of comparisons, and text for it to read.

It is the one that `make smollm2` has fetched for this user; where there is none, one is fetched below `bench/.peers`.
"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from random import Random

from transformers import AutoTokenizer

import peers
import report
import shapes
from tuningfork.domain.user_directories import default_data_directory
from tuningfork.pulling.kept import bases_below

NAME = "smollm2"
SHAPE = shapes.SMOLLM2_135M
FETCHING_SECONDS = 1_200


class NoBase(Exception):
    """The base model is not there and could not be fetched; the message says why."""


def directory(*, install: bool = True) -> Path:
    """Where its files are; it may be fetched if `install` allows it.

    Raises:
        NoBase: it is not there.

    """
    ours = peers.KEPT / "data"
    for data in (Path(os.environ.get("TUNINGFORK_DATA_DIR") or default_data_directory()), ours):
        place = bases_below(data) / NAME
        if (place / "config.json").is_file():
            return place
    if not install:
        raise NoBase("`make smollm2` fetches it")
    print(f"  fetching {NAME} into {ours} (once) ...", flush=True)
    pull = [sys.executable, "-m", "tuningfork", "pull", NAME]
    surroundings = {**os.environ, "TUNINGFORK_DATA_DIR": str(ours)}
    try:
        subprocess.run(pull, env=surroundings, capture_output=True, text=True, check=True, timeout=FETCHING_SECONDS)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        said = error.stderr if isinstance(error.stderr, str) else ""
        raise NoBase(f"it could not be fetched: {said.strip()[-800:] or error}") from error
    return bases_below(ours) / NAME


class Text:
    """The texts of the example programs' training data, as tokens of the base, from which prompts are cut."""

    def __init__(self, base: Path) -> None:
        files = sorted((report.ROOT / "examples" / "data").glob("*.training.jsonl"))
        rows = [json.loads(line) for file in files for line in file.read_text(encoding="utf-8").splitlines()]
        written = "\n\n".join(text for row in rows for text in _texts(row))
        self._tokenizer = AutoTokenizer.from_pretrained(base)
        self._ids: list[int] = self._tokenizer(written, verbose=False).input_ids

    def tokens_of(self, *files: Path) -> list[int]:
        """The tokens of other texts, one after the other."""
        written = "\n\n".join(file.read_text(encoding="utf-8") for file in files)
        ids: list[int] = self._tokenizer(written, verbose=False).input_ids
        return ids

    def prompts(self, count: int, length: int, seed: str) -> list[list[int]]:
        """So many prompts of so many tokens. Other seeds give others: whoever keeps what it has read gains nothing.

        Raises:
            ValueError: the text is shorter than a prompt.

        """
        if length > len(self._ids):
            raise ValueError(f"a prompt of {length} tokens is longer than the text, which has {len(self._ids)}")
        draw = Random(seed)
        begins = [draw.randrange(len(self._ids) - length + 1) for _ in range(count)]
        return [self._ids[begin : begin + length] for begin in begins]


def _texts(value: object) -> Sequence[str]:
    """All strings of a row, whichever of the formats for training data it has."""
    if isinstance(value, str):
        return [value]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for each in inner for text in _texts(each)]
