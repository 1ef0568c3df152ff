"""Finds texts that mix scripts, such as Latin and Cyrillic: such a name can look like another name."""

import unicodedata

_WRITTEN_TOGETHER = frozenset({"CJK", "HIRAGANA", "KATAKANA", "HANGUL", "BOPOMOFO"})


def mixes_scripts(text: str) -> bool:
    """Whether the letters of a text belong to more than one script, those of East Asia counted as one.

    A letter's script is the first word of its name in Unicode's character database ("CYRILLIC SMALL LETTER A").
    """
    scripts = {unicodedata.name(letter, "UNKNOWN").partition(" ")[0] for letter in text if letter.isalpha()}
    return len({"EAST ASIA" if script in _WRITTEN_TOGETHER else script for script in scripts}) > 1
