"""The lists of the lexical rater: groups of terms for each language, and rules that say which groups are harmful.

They are read once from the TOML files in `lexicon/`. Terms are searched word by word in a tree of words.
"""

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any

from tuningfork.domain.safety import HarmCategory
from tuningfork.safety.words import normal_form

LANGUAGES = ("en", "de", "fr", "es")

_HEAD = 3
"""The number of first letters in `Node.heads`. No stem is shorter."""

Group = tuple[str, str]
"""A language and the name of one of its groups of terms. A rule never combines terms of two languages, since many words
look alike and mean something else (German "Gift" is poison)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Adds `points` to `category` where terms of all `groups` are within `within` words of each other.

    `number` identifies the rule. A rule with one group applies to each of its terms. The rule does not apply near a
    term of one of the groups in `unless`, as in "not an idiot"; these groups may be of any language.
    """

    number: int
    category: HarmCategory
    points: int
    groups: tuple[Group, ...]
    unless: tuple[Group, ...] = ()
    within: int


@dataclass(slots=True)
class Node:
    """A node in the tree of terms: its children by their words, and the groups of the term that ends here.

    `stems` are the children by the first letters of a word (`masturbat*`), by their length. `heads` are the first
    letters of all children, so that most words are excluded at once. `tells`: a term that ends at this node or below is
    enough for a rule.
    """

    words: dict[str, "Node"] = field(default_factory=dict)
    stems: dict[int, dict[str, "Node"]] = field(default_factory=dict)
    heads: set[str] = field(default_factory=set)
    groups: list[Group] = field(default_factory=list)
    tells: bool = False

    def after(self, word: str) -> Iterator["Node"]:
        """The children for this word."""
        if word[:_HEAD] not in self.heads:
            return
        if node := self.words.get(word):
            yield node
        for length, stems in self.stems.items():
            if node := stems.get(word[:length]):
                yield node

    def grow(self, word: str, *, is_stem: bool) -> "Node":
        """The child for this word or stem, created if it does not exist."""
        self.heads.add(word[:_HEAD])
        return (self.stems.setdefault(len(word), {}) if is_stem else self.words).setdefault(word, Node())


@dataclass(frozen=True, slots=True)
class Lexicon:
    """All terms in one tree, and for each group the rules that need it."""

    root: Node
    rules: Mapping[Group, tuple[Rule, ...]]


@cache
def load_lexicon() -> Lexicon:
    """The lists that come with the package."""
    tables = {language: _read(language) for language in LANGUAGES}
    rules = tuple(_rules(tables))
    telling = {rule.groups[0] for rule in rules if len(rule.groups) == 1}
    root = Node()
    for language, groups in tables.items():
        for name, terms in groups.items():
            for term in terms:
                _plant(root, term, (language, name), tells=(language, name) in telling)
    by_group: dict[Group, list[Rule]] = {}
    for rule in rules:
        for group in rule.groups:
            by_group.setdefault(group, []).append(rule)
    return Lexicon(root, {group: tuple(rules) for group, rules in by_group.items()})


def _read(name: str) -> dict[str, Any]:
    return tomllib.loads((files("tuningfork.safety") / "lexicon" / f"{name}.toml").read_text(encoding="utf-8"))


def _rules(tables: Mapping[str, Mapping[str, Any]]) -> Iterator[Rule]:
    """Each rule once for every language that has all its groups."""
    for number, table in enumerate(_read("rules")["rules"]):
        for language, groups in tables.items():
            if set(table["all"]) <= groups.keys():
                yield Rule(
                    number=number,
                    category=HarmCategory[table["category"].upper()],
                    points=table["points"],
                    groups=tuple((language, name) for name in table["all"]),
                    unless=tuple((any_language, name) for any_language in tables for name in table.get("unless", ())),
                    within=table.get("within", 0),
                )


def _plant(root: Node, term: str, group: Group, *, tells: bool) -> None:
    *first, last = normal_form(term.removesuffix("*"))
    node = root
    for word in first:
        node = node.grow(word, is_stem=False)
        node.tells = node.tells or tells
    node = node.grow(last, is_stem=term.endswith("*"))
    node.groups.append(group)
