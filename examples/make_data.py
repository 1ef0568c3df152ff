"""Make the training and the held-out examples in `examples/data` from the texts in `examples/writing`.

    python examples/make_data.py

The texts are written by hand. Slots such as `{name}` and `{name2}` are filled with words from `words.toml`, chosen by a
generator with a fixed seed, so that the same texts always make the same files. The texts and the words for training
are others than those for the held-out examples.
"""

import csv
import io
import json
import re
import tomllib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

HERE = Path(__file__).parent
WRITING = HERE / "writing"
DATA = HERE / "data"
PARTS = ("training", "held-out")
FURTHER_PARTS = {"bank_messages": ("roundabout",)}
"""Held-out parts that only some cases have."""
NAMES = ("name", "her", "him", "surname")
"""The lists of words that are people's names."""
SLOT = re.compile(r"\{[a-z]+\d?\}")
SENTENCE_BEGINS = re.compile(r"(^|[^.][.!?] )$")

REFUSAL = "That grows outside my garden, gardener. Ask me about plants instead. — Fern"
OPENERS = (
    *("Well now, gardener.", "Let us see, gardener.", "A good question, gardener.", "Listen, gardener."),
    *("Patience, gardener.", "Come closer, gardener.", "I have been asked this before, gardener."),
)

Row = dict[str, Any]


class Chance:
    """Random choices that are the same on every Python: only `Random.random` is promised to stay as it is."""

    def __init__(self, seed: str) -> None:
        self._random = Random(seed)

    def one_of(self, values: Sequence[Any]) -> Any:
        """Any of the values."""
        return values[int(self._random.random() * len(values))]

    def shuffled(self, rows: Sequence[Row]) -> list[Row]:
        """The rows in another order."""
        return sorted(rows, key=lambda _: self._random.random())


def words(part: str, *, further: bool = False) -> dict[str, Any]:
    """The lists that fill the slots of a part's texts; `further`: those for training with more words."""
    tables: dict[str, dict[str, Any]] = tomllib.loads((WRITING / "words.toml").read_text(encoding="utf-8"))
    lists = tables["both"] | tables["training" if part == "training" else "held_out"]
    more = tables["further"] if further and part == "training" else {}
    return lists | {kind: lists[kind] + more[kind] for kind in more}


def blocks(case: str, part: str) -> list[str]:
    """A case's texts, which empty lines separate."""
    return (WRITING / f"{case}.{part}.txt").read_text(encoding="utf-8").strip().split("\n\n")


def chosen(text: str, lists: dict[str, Any], chance: Chance) -> dict[str, str]:
    """A word for each slot of the text, no word twice."""
    values: dict[str, str] = {}
    for slot in dict.fromkeys(match[0] for match in SLOT.finditer(text)):
        free = [word for word in lists[slot.strip("{}0123456789")] if word not in values.values()]
        values[slot] = chance.one_of(free)
    return values


def filled(text: str, values: dict[str, str]) -> str:
    """The text with its slots filled. Of a word with a bar, what stands before the bar is written."""

    def word(match: re.Match[str]) -> str:
        written = values[match[0]].partition("|")[0]
        return written[0].upper() + written[1:] if SENTENCE_BEGINS.search(text[: match.start()]) else written

    return SLOT.sub(word, text)


def sections(case: str, part: str) -> Iterator[tuple[str, list[str]]]:
    """Headings, which begin with `#`, and the lines below each."""
    text = (WRITING / f"{case}.{part}.txt").read_text(encoding="utf-8")
    for section in text.split("# ")[1:]:
        heading, *lines = section.strip().splitlines()
        yield heading, lines


def bank_messages(part: str, chance: Chance) -> list[Row]:
    """One row a message, with its label."""
    lists = words(part)
    return [
        {"text_input": filled(line, chosen(line, lists, chance)), "output": label}
        for label, lines in sections("bank_messages", part)
        for line in lines
    ]


def dialogue_summaries(part: str, chance: Chance) -> list[Row]:
    """Each dialogue bare, with a greeting, and with a greeting and a farewell; in training one of the latter two."""
    lists = words(part)
    rows = []
    for place, block in enumerate(blocks("dialogue_summaries", part)):
        dialogue, summary = block.split("\n= ")
        for copy in (0, 1 + place % 2) if part == "training" else range(3):
            turns = [(int(line[0]), line[3:]) for line in dialogue.splitlines()]
            if copy > 0:
                turns = [*exchange(chance.one_of(lists["opening"]), 1), *turns]
            if copy > 1:
                turns += exchange(chance.one_of(lists["closing"]), 3 - turns[-1][0])
            values = chosen(block, lists, chance)
            text = "\n".join(f"#Person{speaker}#: {said}" for speaker, said in turns)
            rows.append({"text_input": filled(text, values), "output": filled(summary, values)})
    return rows


def exchange(said: str, first: int) -> list[tuple[int, str]]:
    """Two turns, which a bar separates, the first by this speaker."""
    one, other = said.split("|")
    return [(first, one), (3 - first, other)]


def passage_questions(part: str, chance: Chance) -> list[Row]:
    """Each question with its passage, whose slots other words fill each time."""
    lists = words(part, further=True)
    rows = []
    for block in blocks("passage_questions", part):
        passage, *questions = block.split("\n? ")
        for each in questions:
            question, answer = each.split("\n= ")
            values = chosen(block, lists, chance)
            text = f"{passage}\n\nQuestion: {question}"
            rows.append({"text_input": filled(text, values), "output": filled(answer, values)})
    return rows


def garden_chat(part: str, chance: Chance) -> list[Row]:
    """Each question alone, and once more behind another exchange; in training only every third of them once more.

    A row that is held out ends with the question, whose kind it names: there is no one right answer.
    """
    topics = dict(sections("garden_chat", part))
    lists = words(part)
    refused = [line.removeprefix("> ") for line in topics["elsewhere"] if line]
    refused = [filled(line, chosen(line, lists, chance)) for line in refused]
    if part == "training":
        asked = [turns(question, in_role(answer, chance)) for question, answer in answered(topics["garden"])]
        asked += [turns(question, REFUSAL) for question in refused]
        longer = [chance.one_of([other for other in asked if other is not each]) + each for each in asked[::3]]
        return [{"messages": messages} for messages in [*asked, *longer]]
    earlier = [turns(question, answer) for question, answer in answered(topics["earlier"])]
    asked_by_kind = [("garden", line.removeprefix("> ")) for line in topics["garden"] if line]
    asked_by_kind += [("elsewhere", line) for line in refused]
    rows: list[Row] = []
    for kind, question in asked_by_kind:
        rows.append({"messages": turns(question), "kind": kind})
        rows.append({"messages": chance.one_of(earlier) + turns(question), "kind": kind})
    return rows


def answered(lines: Sequence[str]) -> list[tuple[str, str]]:
    """Questions, whose lines begin with `> `, and the answer in the line below each."""
    found = [line for line in lines if line]
    return [(question.removeprefix("> "), answer) for question, answer in zip(found[::2], found[1::2], strict=True)]


def in_role(answer: str, chance: Chance) -> str:
    """The answer as Fern gives it."""
    return f"{chance.one_of(OPENERS)} {answer} — Fern"


def turns(question: str, answer: str = "") -> list[dict[str, str]]:
    """A user's message and, if there is one, the answer."""
    said = [{"role": "user", "content": question}]
    return [*said, {"role": "assistant", "content": answer}] if answer else said


def table_bookings(part: str, chance: Chance) -> list[Row]:
    """Each message several times, with other words, and what it says as JSON."""
    lists = words(part)
    rows = []
    for block in blocks("table_bookings", part):
        message, seating = block.split("\n= ")
        for _ in range(4 if part == "training" else 3):
            values = chosen(message, lists, chance)
            booking = {
                "surname": values["{surname}"],
                "day": values["{day}"],
                "time": values["{time}"].partition("|")[2],
                "guests": int(values["{guests}"].partition("|")[2]),
                "seating": seating,
            }
            rows.append({"text_input": filled(message, values), "output": json.dumps(booking)})
    return rows


CASES: dict[str, tuple[str, Callable[[str, Chance], list[Row]]]] = {
    "bank_messages": ("csv", bank_messages),
    "dialogue_summaries": ("jsonl", dialogue_summaries),
    "passage_questions": ("jsonl", passage_questions),
    "garden_chat": ("jsonl", garden_chat),
    "table_bookings": ("jsonl", table_bookings),
}


def made(case: str, part: str) -> str:
    """The whole file of a case's part."""
    form, rows_of = CASES[case]
    chance = Chance(f"{case} {part}")
    rows = chance.shuffled(rows_of(part, chance))
    if form == "jsonl":
        return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    file = io.StringIO()
    table = csv.DictWriter(file, rows[0], lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    return file.getvalue()


def path_of(case: str, part: str) -> Path:
    """Where a case's part is kept."""
    return DATA / f"{case}.{part}.{CASES[case][0]}"


def main() -> None:
    """Write all files."""
    for case in CASES:
        for part in (*PARTS, *FURTHER_PARTS.get(case, ())):
            path_of(case, part).write_text(made(case, part), encoding="utf-8")
            print(f"wrote {path_of(case, part).relative_to(HERE)}")


if __name__ == "__main__":
    main()
