import random

import pytest

from tuningfork.embedded.recipe.notations import DIGITS, JAPANESE, ROMAN, WORDS
from tuningfork.embedded.recipe.tasks import (
    CONVERSIONS,
    DOUBLE,
    PREDECESSOR,
    SHIFTS,
    SKILLS,
    STRINGS,
    SUCCESSOR,
    Skill,
    Subject,
    draw_numeral,
    numeral,
)


@pytest.mark.parametrize(
    ("notation", "number", "answer"),
    [(DIGITS, -100, "-99"), (WORDS, 199, "two hundred"), (ROMAN, 63, "LXIV"), (JAPANESE, 7, "八")],
)
def test_the_successor_is_written_the_way_its_number_was(notation, number, answer):
    assert SUCCESSOR.answer(numeral(notation, number)) == answer


def test_every_arithmetic_skill_computes_what_its_name_says():
    ten = numeral(DIGITS, 1000)
    answers = {skill.name: skill.answer(ten) for skill in (SUCCESSOR, PREDECESSOR, DOUBLE, *SHIFTS)}
    assert answers.pop("successor") == "1001"
    assert answers.pop("predecessor") == "999"
    assert answers.pop("double") == "2000"
    assert answers == {name: str(1000 + int(name)) for name in answers}


def test_conversions_write_the_same_number_elsewhere():
    answers = {skill.name: skill.answer(numeral(WORDS, 21)) for skill in CONVERSIONS}
    assert answers["to digits"] == "21"
    assert answers["to roman"] == "XXI"
    assert answers["to japanese"] == "二十一"
    assert answers["to ordinal words"] == "twenty first"


def test_string_skills_act_on_the_text():
    answers = {skill.name: skill.answer(Subject(text="Bako")) for skill in STRINGS}
    assert answers == {
        "reverse": "okaB",
        "uppercase": "BAKO",
        "lowercase": "bako",
        "first": "B",
        "last": "o",
        "length": "4",
        "quote": '"Bako"',
        "twice": "Bako Bako",
    }


def test_a_skill_has_no_answer_where_it_does_not_apply():
    assert PREDECESSOR.answer(numeral(ROMAN, 1)) is None
    assert SUCCESSOR.answer(Subject(text="hello")) is None


@pytest.mark.parametrize("skill", SKILLS, ids=lambda skill: skill.name)
def test_every_skill_applies_to_most_numbers(skill: Skill):
    rng = random.Random(0)
    answers = [skill.answer(draw_numeral(rng, DIGITS)) for _ in range(100)]
    assert sum(answer is not None for answer in answers) > 50 or skill.name.startswith("to ")


def test_no_two_skills_share_a_phrase():
    phrases = [phrase for skill in SKILLS for phrase in skill.phrases]
    assert len(phrases) == len(set(phrases))
