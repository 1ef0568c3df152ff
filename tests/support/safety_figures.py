"""How well the lexical rater does on the labelled list, as docs/safety.md prints it.

`python tests/support/safety_figures.py` writes the tables into the page; a test compares them with it.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from tuningfork.domain.safety import Assessment, HarmCategory, HarmProbability
from tuningfork.safety.lexical import LexicalRater

ROOT = Path(__file__).parents[2]
SENTENCES = ROOT / "tests" / "data" / "safety" / "sentences.tsv"
PAGE = ROOT / "docs" / "safety.md"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
LANGUAGES = {"en": "English", "de": "German", "fr": "French", "es": "Spanish"}
NAMES = {
    HarmCategory.SEXUALLY_EXPLICIT: "sexually explicit",
    HarmCategory.HATE_SPEECH: "hate speech",
    HarmCategory.HARASSMENT: "harassment",
    HarmCategory.DANGEROUS_CONTENT: "dangerous content",
}


@dataclass(frozen=True, slots=True)
class Sentence:
    """A labelled sentence and what the rater says of it."""

    half: str
    language: str
    harms: frozenset[HarmCategory]
    text: str
    assessment: Assessment

    def found(self, category: HarmCategory, least: HarmProbability) -> bool:
        return self.assessment[category].rank >= least.rank


@dataclass(frozen=True, slots=True)
class Score:
    """Counts of one category. Precision: the harmful share of the found; recall: the found share of the harmful."""

    harmful: int
    found: int
    rightly: int

    @property
    def precision(self) -> str:
        return f"{100 * self.rightly / self.found:.0f} %" if self.found else "-"

    @property
    def recall(self) -> str:
        return f"{100 * self.rightly / self.harmful:.0f} %"


def read_sentences() -> list[Sentence]:
    rater = LexicalRater()
    lines = [line for line in SENTENCES.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    rows = (line.split("\t") for line in lines[1:])
    return [
        Sentence(
            half,
            language,
            frozenset(HarmCategory[name.upper()] for name in harms.split(",") if name != "none"),
            text,
            rater.assess(text),
        )
        for half, language, harms, text in rows
    ]


def score(sentences: Iterable[Sentence], category: HarmCategory, least: HarmProbability) -> Score:
    pairs = [(category in sentence.harms, sentence.found(category, least)) for sentence in sentences]
    return Score(
        harmful=sum(is_harmful for is_harmful, _ in pairs),
        found=sum(found for _, found in pairs),
        rightly=sum(is_harmful and found for is_harmful, found in pairs),
    )


def blocked(sentences: Iterable[Sentence], least: HarmProbability) -> int:
    """How many sentences some category takes away."""
    return sum(any(each.found(category, least) for category in HarmCategory) for each in sentences)


def render() -> str:
    everything = read_sentences()
    held_out = [each for each in everything if each.half == "held_out"]
    tuned = [each for each in everything if each.half == "tuned"]
    return "\n".join(
        [
            f"At the default threshold, on {len(held_out)} held-out sentences, and on the {len(tuned)} tuned ones:",
            "",
            "| category | harmful sentences | precision | recall | tuned: precision | tuned: recall |",
            "|---|---|---|---|---|---|",
            *_rows(held_out, tuned),
            "",
            "Held out, all categories together, by language:",
            "",
            "| language | harmful | of these blocked | harmless | of these blocked |",
            "|---|---|---|---|---|",
            *(_language(held_out, code, name) for code, name in LANGUAGES.items()),
            "",
            "Held out, by threshold:",
            "",
            "| threshold | " + " | ".join(f"{name}: precision, recall" for name in NAMES.values()) + " |",
            "|---|" + "---|" * len(NAMES),
            *(_threshold(held_out, *pair) for pair in THRESHOLDS),
        ]
    )


THRESHOLDS = (
    ("BLOCK_LOW_AND_ABOVE", HarmProbability.LOW),
    ("BLOCK_MEDIUM_AND_ABOVE", HarmProbability.MEDIUM),
    ("BLOCK_ONLY_HIGH", HarmProbability.HIGH),
)


def _rows(held_out: list[Sentence], tuned: list[Sentence]) -> Iterable[str]:
    for category, name in NAMES.items():
        one, other = (score(half, category, HarmProbability.MEDIUM) for half in (held_out, tuned))
        yield f"| {name} | {one.harmful} | {one.precision} | {one.recall} | {other.precision} | {other.recall} |"


def _language(sentences: list[Sentence], code: str, name: str) -> str:
    def share(wanted: Callable[[Sentence], bool]) -> str:
        chosen = [each for each in sentences if each.language == code and wanted(each)]
        return f"{len(chosen)} | {blocked(chosen, HarmProbability.MEDIUM)}"

    return f"| {name} | {share(lambda each: bool(each.harms))} | {share(lambda each: not each.harms)} |"


def _threshold(sentences: list[Sentence], name: str, least: HarmProbability) -> str:
    scores = [score(sentences, category, least) for category in NAMES]
    return f"| `{name}` | " + " | ".join(f"{each.precision}, {each.recall}" for each in scores) + " |"


if __name__ == "__main__":
    page = PAGE.read_text(encoding="utf-8")
    before, after = page.partition(BEGIN)[0], page.partition(END)[2]
    PAGE.write_text(f"{before}{BEGIN}\n{render()}\n{END}{after}", encoding="utf-8")
