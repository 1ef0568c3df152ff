"""Whether an owner can tell from the time to a first token what another owner has asked, on both settings.

    python bench/prefix_observers.py [--trials 30]

A random model of some million parameters, no adapters. In each trial a prompt of 512 tokens is drawn. In half of the
trials, in random order, one owner asks it; then another owner asks it and guesses from its own time whether it had been
asked. The guess compares with a limit that the observer finds for itself: halfway between the median of prompts that
nobody has asked and that of prompts that it asks a second time. The observer is the best placed there can be: it shares
the engine's process, and nobody else asks anything. Takes some seconds of processor time.
"""

import argparse
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from random import Random
from time import perf_counter

import children
import shapes
from tuningfork.domain.generation import Sampling
from tuningfork.inference.engine import InferenceEngine, TokenRequest
from tuningfork.modeling.loading import load_base

TOKENS, CALIBRATIONS = 512, 5
SHAPE = shapes.ModelShape(name="small", layers=6, hidden=256, mlp=768, heads=4, kv_heads=2, vocabulary=4_096)
HOW = Sampling(temperature=0.0, top_p=1.0, top_k=None, max_output_tokens=1)
VICTIM, OBSERVER = "victim@example.com", "observer@example.com"


@dataclass(frozen=True)
class Trials:
    """What the observer measured, in milliseconds, of prompts that had been asked and of others; its limit."""

    asked: list[float]
    new: list[float]
    limit: float

    @property
    def right(self) -> int:
        """How often the guess was right."""
        return sum(each < self.limit for each in self.asked) + sum(each >= self.limit for each in self.new)


class Service:
    """An engine and what is asked of it."""

    def __init__(self, folder: Path) -> None:
        shape = SHAPE
        self._engine = InferenceEngine(load_base(shapes.catalog_entry(shapes.make_model(folder, shape), shape)))
        self._draw = Random(0)
        self._vocabulary = shape.vocabulary
        self._numbers = count()

    def prompt(self) -> tuple[int, ...]:
        """A prompt that nobody has asked."""
        return tuple(self._draw.randrange(10, self._vocabulary) for _ in range(TOKENS))

    def ask(self, owner: str, prompt: Sequence[int], *, sharing: bool) -> float:
        """Ask; milliseconds until the first token."""
        begin = perf_counter()
        name = str(next(self._numbers))
        request = TokenRequest(id=name, prompt_ids=tuple(prompt), sampling=HOW, owner=owner, sharing_prefixes=sharing)
        self._engine.add(request)
        while self._engine.has_work:
            list(self._engine.step())
        return 1_000 * (perf_counter() - begin)

    def trials(self, number: int, *, sharing: bool) -> Trials:
        """So many trials on one setting."""
        new, again = [], []
        for _ in range(CALIBRATIONS):
            prompt = self.prompt()
            new.append(self.ask(OBSERVER, prompt, sharing=sharing))
            again.append(self.ask(OBSERVER, prompt, sharing=sharing))
        limit = (statistics.median(new) + statistics.median(again)) / 2
        found: dict[bool, list[float]] = {True: [], False: []}
        truths = [index % 2 == 0 for index in range(number)]
        self._draw.shuffle(truths)
        for was_asked in truths:
            prompt = self.prompt()
            # Somebody asks something in every trial, so that only what it was can tell.
            self.ask(VICTIM, prompt if was_asked else self.prompt(), sharing=sharing)
            found[was_asked].append(self.ask(OBSERVER, prompt, sharing=sharing))
        return Trials(found[True], found[False], limit)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=30)
    arguments = parser.parse_args()
    children.pin(1)
    with tempfile.TemporaryDirectory() as folder:
        service = Service(Path(folder))
        print("| setting | asked by another owner | not asked | the observer's limit | right guesses |")
        print("|---|---|---|---|---|")
        for sharing in (False, True):
            found = service.trials(arguments.trials, sharing=sharing)
            asked, new = statistics.median(found.asked), statistics.median(found.new)
            print(
                f"| `TUNINGFORK_SHARE_PREFIXES={str(sharing).lower()}` | {asked:.0f} ms | {new:.0f} ms "
                f"| {found.limit:.0f} ms | {found.right} of {arguments.trials} |"
            )


if __name__ == "__main__":
    main()
