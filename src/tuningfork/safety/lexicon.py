"""The lists of the lexical rater: terms in groups, language by language, and rules that say which groups make a harm.

Read once from the TOML files of `lexicon/`. Terms are found word by word in a tree of their words.
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
"""Letters; no stem is shorter."""

Group = tuple[str, str]
"""A language and the name of one of its groups: words of two languages never make a harm together, because many look
alike and mean something else (German "Gift" is poison)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Terms of all these groups within so many words are a harm of so many points; but not if one of `unless` is there.

    `number` tells rules apart. A rule of one group fires by itself. `unless` holds groups of all languages: "not an
    idiot" is none in any language that has the word.
    """

    number: int
    category: HarmCategory
    points: int
    groups: tuple[Group, ...]
    unless: tuple[Group, ...] = ()
    within: int


@dataclass(slots=True)
class Node:
    """A place in the tree of terms: where each next word leads, and the groups of the term that is complete here.

    `stems` are beginnings of words (`masturbat*`), by their length; `heads` are the first letters of all that leads on,
    which most words do not have. `tells`: a term below fires a rule by itself.
    """

    words: dict[str, "Node"] = field(default_factory=dict)
    stems: dict[int, dict[str, "Node"]] = field(default_factory=dict)
    heads: set[str] = field(default_factory=set)
    groups: list[Group] = field(default_factory=list)
    tells: bool = False

    def after(self, word: str) -> Iterator["Node"]:
        """The places that this word leads to."""
        if word[:_HEAD] not in self.heads:
            return
        if node := self.words.get(word):
            yield node
        for length, stems in self.stems.items():
            if node := stems.get(word[:length]):
                yield node

    def grow(self, word: str, *, is_stem: bool) -> "Node":
        """The place that this word or beginning of a word leads to, made if it is new."""
        self.heads.add(word[:_HEAD])
        return (self.stems.setdefault(len(word), {}) if is_stem else self.words).setdefault(word, Node())


@dataclass(frozen=True, slots=True)
class Lexicon:
    """All terms in one tree, and the rules by the groups that complete them."""

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
