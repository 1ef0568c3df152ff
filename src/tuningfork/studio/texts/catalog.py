"""Texts by id, in the language of a visitor, with the numbers and times in it as that language writes them.

A file `library.toml` with `title = "..."` has the text `library.title`. A table whose names are plural categories of
CLDR (`one`, `few`, `many`, `other`) is one text, of which the value `count` picks a form.
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from babel import Locale

from tuningfork.studio.texts.formats import Formats

LANGUAGES = {
    "en": "English",
    "de": "Deutsch",
    "tr": "Türkçe",
    "ru": "Русский",
    "hi": "हिन्दी",
    "zh": "中文",
}
"""The languages by their codes, each by its own name."""

DEFAULT_LANGUAGE = "en"
PLURALS = frozenset({"zero", "one", "two", "few", "many", "other"})
PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")

Text = str | Mapping[str, str]
"""A text, or its plural forms by category."""

_FOLDER = Path(__file__).parent


@lru_cache
def texts_in(language: str) -> Mapping[str, Text]:
    """Every text of a language by its id."""
    found: dict[str, Text] = {}
    for path in sorted((_FOLDER / language).glob("*.toml")):
        found |= _flattened(path.stem, tomllib.loads(path.read_text(encoding="utf-8")))
    return found


def _flattened(beginning: str, table: Mapping[str, Any]) -> dict[str, Text]:
    found: dict[str, Text] = {}
    for name, value in table.items():
        whole = f"{beginning}.{name}"
        if isinstance(value, str) or ("other" in value and value.keys() <= PLURALS):
            found[whole] = value
        else:
            found |= _flattened(whole, value)
    return found


@dataclass(frozen=True)
class Texts:
    """The texts of one language; called with an id and the values of its placeholders.

    Whole numbers are written as the language writes them; everything else as it is.
    """

    language: str

    @property
    def formats(self) -> Formats:
        """Numbers and times in the language."""
        return Formats.of(self.language)

    def __call__(self, text_id: str, **values: object) -> str:
        """One text.

        Raises:
            KeyError: there is no such text, or a placeholder has no value; a bug of ours.

        """
        text = self.form_of(text_id, values.get("count"))
        return PLACEHOLDER.sub(lambda found: self._written(values[found[1]]), text)

    def form_of(self, text_id: str, count: object = None) -> str:
        """The text with its placeholders; of a text with plural forms, the one for this count."""
        text = texts_in(self.language).get(text_id) or texts_in(DEFAULT_LANGUAGE)[text_id]
        if isinstance(text, str):
            return text
        if not isinstance(count, int | float):
            raise KeyError(f"{text_id} has plural forms and needs a count")
        return text.get(plural_form(self.language, count), text["other"])

    def has(self, text_id: str) -> bool:
        """Whether there is such a text."""
        return text_id in texts_in(DEFAULT_LANGUAGE)

    def beginning_with(self, *prefixes: str) -> dict[str, Text]:
        """The texts whose ids begin so, for scripts."""
        return {
            text_id: texts_in(self.language).get(text_id, english)
            for text_id, english in texts_in(DEFAULT_LANGUAGE).items()
            if text_id.startswith(prefixes)
        }

    def _written(self, value: object) -> str:
        if isinstance(value, int) and not isinstance(value, bool):
            return self.formats.number(value)
        return str(value)


def plural_form(language: str, count: float) -> str:
    """The plural category of a count."""
    return str(Locale.parse(language).plural_form(count))


def plural_categories(language: str) -> frozenset[str]:
    """The plural categories that the language has."""
    return frozenset(Locale.parse(language).plural_form.rules) | {"other"}


def choose_language(chosen: str | None, accepted: str) -> str:
    """The language of a page: the one that was chosen, else the best of an `Accept-Language` header, else English."""
    if chosen in LANGUAGES:
        return chosen
    wanted = []
    for place, part in enumerate(accepted.split(",")[:50]):
        code, _, rest = part.partition(";")
        quality = re.fullmatch(r"\s*q=([01](?:\.\d{1,3})?)\s*", rest)
        wanted.append((-float(quality[1]) if quality else -1.0, place, code.strip().lower().partition("-")[0]))
    return next((code for weight, _, code in sorted(wanted) if code in LANGUAGES and weight), DEFAULT_LANGUAGE)
