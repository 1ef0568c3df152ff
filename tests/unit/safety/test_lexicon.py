"""The lists: every term can be found, and no rule can be met by one word."""

import tomllib
from importlib.resources import files
from itertools import combinations

import pytest

from tuningfork.domain.safety import HarmCategory
from tuningfork.safety.lexicon import LANGUAGES, load_lexicon
from tuningfork.safety.words import LONGEST_WORD, normal_form

FOLDER = files("tuningfork.safety") / "lexicon"
RULES = tomllib.loads((FOLDER / "rules.toml").read_text(encoding="utf-8"))["rules"]
GROUPS = {language: tomllib.loads((FOLDER / f"{language}.toml").read_text(encoding="utf-8")) for language in LANGUAGES}
# A recipe is both what is asked for and how a thing is made.
BOTH_ON_PURPOSE = {"recipe*", "rezept*", "anleitung*", "recette*", "receta*"}


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_group_of_every_rule_exists(language):
    wanted = {name for rule in RULES for name in (*rule["all"], *rule.get("unless", ()))}

    assert wanted == set(GROUPS[language])


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_term_is_empty_or_longer_than_a_text_is_searched(language):
    terms = [term for group in GROUPS[language].values() for term in group]

    assert all(normal_form(term.removesuffix("*")) for term in terms)
    assert all(len(word) < LONGEST_WORD for term in terms for word in normal_form(term))


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_stem_is_so_short_that_it_says_nothing(language):
    stems = [term for group in GROUPS[language].values() for term in group if term.endswith("*")]

    assert [stem for stem in stems if len(normal_form(stem.removesuffix("*"))[-1]) < 3] == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_term_meets_a_rule_of_several_groups_alone(language):
    found = {
        term
        for rule in RULES
        for one, other in combinations(rule["all"], 2)
        for term in set(GROUPS[language][one]) & set(GROUPS[language][other])
    }

    assert found <= BOTH_ON_PURPOSE


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_group_has_a_term_twice(language):
    for group in GROUPS[language].values():
        assert len(group) == len(set(group))


def test_every_rule_has_its_category_and_its_distance():
    for rule in RULES:
        assert rule["category"].upper() in HarmCategory.__members__
        assert 1 <= rule["points"] <= 4
        assert ("within" in rule) == (len(rule["all"]) > 1 or "unless" in rule)


def test_rules_are_made_for_every_language():
    rules = {rule for rules in load_lexicon().rules.values() for rule in rules}

    assert len(rules) == len(RULES) * len(LANGUAGES)
