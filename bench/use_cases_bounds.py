"""What ROUGE-L of the held-out summaries means: the scores of texts that no model has written.

    python bench/use_cases_bounds.py

A second person has summed up each held-out dialogue once more (`examples/writing/dialogue_summaries.second.txt`, in the
order of the dialogues), after having read the first summaries: what a careful system may reach. The other texts know
nothing: the two speakers' names alone, the dialogue's first turns, and the summary of the next dialogue.
"""

import statistics
import sys
from collections.abc import Sequence

import report

sys.path.insert(0, str(report.ROOT / "examples"))

import make_data
import metrics

SECOND = make_data.WRITING / "dialogue_summaries.second.txt"


def second_summaries() -> list[str]:
    """The second person's summaries, one for each dialogue."""
    return SECOND.read_text(encoding="utf-8").splitlines()


def dialogues() -> list[tuple[list[str], str]]:
    """The turns of each held-out dialogue as a model reads them, and its first summary, with their slots unfilled."""
    found = [block.split("\n= ") for block in make_data.blocks("dialogue_summaries", "held-out")]
    return [([f"#Person{turn[0]}#: {turn[3:]}" for turn in text.splitlines()], summary) for text, summary in found]


def bounds() -> dict[str, float]:
    """ROUGE-L by what was written."""
    turns, summaries = zip(*dialogues(), strict=True)
    return {
        "a second person's summary": _mean(second_summaries(), summaries),
        "the first two turns": _mean([" ".join(each[:2]) for each in turns], summaries),
        "#Person1# #Person2#": _mean(["#Person1# #Person2#"] * len(turns), summaries),
        "the next dialogue's summary": _mean([*summaries[1:], summaries[0]], summaries),
    }


def _mean(written: Sequence[str], summaries: Sequence[str]) -> float:
    return statistics.fmean(map(metrics.rouge_l_of, written, summaries))


def main() -> None:
    """Print them."""
    for name, score in bounds().items():
        print(f"{name:30} {score:.3f}")


if __name__ == "__main__":
    main()
