import random

import pytest

from tuningfork.embedded.recipe.notations import (
    JAPANESE,
    NOTATIONS,
    ROMAN,
    THOUSANDS,
    WORDS,
    Notation,
    to_ordinal,
    to_ordinal_words,
)


@pytest.mark.parametrize("notation", NOTATIONS, ids=lambda notation: notation.name)
def test_reading_undoes_writing(notation: Notation):
    rng = random.Random(0)
    numbers = [notation.low, notation.high, *(notation.draw(rng) for _ in range(2000))]
    assert [notation.read(notation.write(number)) for number in numbers] == numbers


@pytest.mark.parametrize("notation", NOTATIONS, ids=lambda notation: notation.name)
def test_drawn_numbers_stay_in_the_range_the_notation_covers(notation: Notation):
    rng = random.Random(1)
    assert all(notation.covers(notation.draw(rng)) for _ in range(2000))


def test_words_follow_the_tutorials_style():
    assert [WORDS.write(number) for number in (22, 201, 1305, -7)] == [
        "twenty two",
        "two hundred one",
        "one thousand three hundred five",
        "minus seven",
    ]


def test_each_notation_writes_what_people_write():
    assert [ROMAN.write(number) for number in (4, 63, 1994)] == ["IV", "LXIII", "MCMXCIV"]
    assert [JAPANESE.write(number) for number in (7, 21, 110, 9999)] == ["七", "二十一", "百十", "九千九百九十九"]
    assert [THOUSANDS.write(number) for number in (3999, -10_100_000)] == ["3,999", "-10,100,000"]
    assert [to_ordinal(number) for number in (1, 12, 22, 113)] == ["1st", "12th", "22nd", "113th"]
    assert [to_ordinal_words(number) for number in (8, 20, 101)] == ["eighth", "twentieth", "one hundred first"]
