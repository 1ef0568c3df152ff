"""The skills that the model is taught, and the phrases that ask for them.

A skill is one function with the phrases that name it. The same phrases are used for every notation, so that the model
learns one concept of "next" rather than one for each notation.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass

from tuningfork.embedded.recipe.notations import NUMERALS, Notation, draw_notation, to_words

_CONSONANTS = "bcdfghjklmnprstvwz"
_VOWELS = "aeiou"
_GREETINGS = ("hello", "hi there", "good morning", "thank you", "who are you?", "how are you?", "yes", "no", "what?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A text to act on; `number` and `notation` say what it means when it is a number."""

    text: str
    notation: Notation | None = None
    number: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Skill:
    """A function of a subject and the phrases that ask for it; `answer` is None where it does not apply.

    `weight` is how often the skill is drawn; after the broad first stage of training it is multiplied by `focus`.
    """

    name: str
    weight: float
    phrases: tuple[str, ...]
    answer: Callable[[Subject], str | None]
    numeric: bool = True
    focus: float = 0.5


def numeral(notation: Notation, number: int) -> Subject:
    """Write a number as a subject."""
    return Subject(text=notation.write(number), notation=notation, number=number)


def draw_numeral(rng: random.Random, notation: Notation | None = None) -> Subject:
    """Draw a number, in a drawn notation unless one is given."""
    notation = notation or draw_notation(rng)
    return numeral(notation, notation.draw(rng))


def draw_words(rng: random.Random) -> Subject:
    """Draw a text that is not a number: a made-up word or two, or a short saying."""
    if rng.random() < 0.2:
        return Subject(text=rng.choice(_GREETINGS))
    return Subject(text=" ".join(_made_up_word(rng) for _ in range(rng.choice((1, 1, 2, 3)))))


def _made_up_word(rng: random.Random) -> str:
    syllables = rng.choice((1, 2, 2, 3))
    word = "".join(rng.choice(_CONSONANTS) + rng.choice(_VOWELS) for _ in range(syllables))
    word += rng.choice(("", rng.choice(_CONSONANTS)))
    return rng.choice((word, word, word.capitalize(), word.upper()))


def arithmetic(function: Callable[[int], int]) -> Callable[[Subject], str | None]:
    """Apply a function of integers to subjects: the result is written in the subject's notation."""

    def answer(subject: Subject) -> str | None:
        if subject.notation is None:
            return None
        result = function(subject.number)
        return subject.notation.write(result) if subject.notation.covers(result) else None

    return answer


def _conversion(target: Notation) -> Callable[[Subject], str | None]:
    def answer(subject: Subject) -> str | None:
        if subject.notation not in NUMERALS or not target.covers(subject.number):
            return None
        return target.write(subject.number)

    return answer


def _on_text(function: Callable[[str], str]) -> Callable[[Subject], str | None]:
    return lambda subject: function(subject.text)


def _phrases(text: str) -> tuple[str, ...]:
    return tuple(text.split("|"))


def _shift(offset: int, weight: float) -> Skill:
    """Build the skill of adding `offset`, named in digits and in words."""
    amounts = (str(abs(offset)), to_words(abs(offset)))
    forms = (
        "add {k}|plus {k}|+{k}|{k} more|{k} up|{k} after|up by {k}|increase by {k}|go forward {k}"
        if offset > 0
        else "subtract {k}|minus {k}|-{k}|{k} less|{k} down|{k} before|down by {k}|decrease by {k}|go back {k}"
    )
    return Skill(
        name=f"{offset:+d}",
        weight=weight,
        phrases=tuple(form.replace("{k}", amount) for form in forms.split("|") for amount in amounts),
        answer=arithmetic(lambda number: number + offset),
    )


SUCCESSOR = Skill(
    name="successor",
    weight=4.0,
    focus=2.0,
    phrases=_phrases(
        "next|the next one|next number|what comes next|what comes after|the one after|the number after|after|following|"
        "what follows|successor|increment|count up|count on|one more|one up|go on|continue|up by one|the one following|"
        "next in line|add 1|add one|plus 1|plus one|+1|1 more|increase by 1|increase by one|go forward one"
    ),
    answer=arithmetic(lambda number: number + 1),
)
PREDECESSOR = Skill(
    name="predecessor",
    weight=3.0,
    focus=1.3,
    phrases=_phrases(
        "previous|the previous one|previous number|what comes before|the one before|the number before|before|preceding|"
        "what precedes|predecessor|decrement|count down|count back|one less|one down|down by one|the one preceding|"
        "last before|subtract 1|subtract one|minus 1|minus one|-1|1 less|decrease by 1|decrease by one|go back one"
    ),
    answer=arithmetic(lambda number: number - 1),
)
DOUBLE = Skill(
    name="double",
    weight=0.7,
    phrases=_phrases("double|twice|times two|times 2|multiply by two|multiply by 2|x2|two times|2 times"),
    answer=arithmetic(lambda number: 2 * number),
)
ECHO = Skill(
    name="echo",
    weight=1.0,
    focus=1.0,
    phrases=_phrases("same|the same|repeat|copy|echo|say again|say|as it is|do nothing with|unchanged|leave"),
    answer=_on_text(str),
    numeric=False,
)
SHIFTS = tuple(
    _shift(offset, weight)
    for offset, weight in (
        (2, 1.2),
        (3, 0.8),
        (4, 0.4),
        (5, 0.7),
        (10, 0.9),
        (20, 0.3),
        (100, 0.5),
        (-2, 0.8),
        (-3, 0.4),
        (-5, 0.4),
        (-10, 0.6),
        (-100, 0.3),
    )
)
CONVERSIONS = tuple(
    Skill(
        name=f"to {target.name}",
        weight=0.3,
        phrases=tuple(
            form.replace("{n}", target.phrase)
            for form in ("in {n}", "to {n}", "as {n}", "write in {n}", "convert to {n}", "with {n}")
        ),
        answer=_conversion(target),
    )
    for target in NUMERALS
)
STRINGS = tuple(
    Skill(name=name, weight=0.25, phrases=_phrases(phrases), answer=_on_text(function), numeric=False)
    for name, phrases, function in (
        ("reverse", "reverse|backwards|spell backwards|from the end", lambda text: text[::-1]),
        ("uppercase", "uppercase|in capitals|shout", str.upper),
        ("lowercase", "lowercase|in small letters|whisper", str.lower),
        ("first", "first letter|first character|begins with", lambda text: text[:1]),
        ("last", "last letter|last character|ends with", lambda text: text[-1:]),
        ("length", "length|how long|how many letters|count the letters", lambda text: str(len(text))),
        ("quote", "in quotes|quote|quoted", lambda text: f'"{text}"'),
        ("twice", "say twice|two times in a row|repeat twice", lambda text: f"{text} {text}"),
    )
)
SKILLS = (SUCCESSOR, PREDECESSOR, DOUBLE, ECHO, *SHIFTS, *CONVERSIONS, *STRINGS)


def draw_skill(rng: random.Random, *, focused: bool) -> Skill:
    """Draw a skill by weight: broadly, or focused on counting."""
    return rng.choices(SKILLS, [skill.weight * (skill.focus if focused else 1.0) for skill in SKILLS])[0]
