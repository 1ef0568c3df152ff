"""Which public names a base model may have: those that can be written in a path of the API, on a command line and in a
list of settings.
"""

import re
import unicodedata
from collections.abc import Collection

MAX_CHARACTERS = 100
ALLOWED = (
    f"a public name has 1 to {MAX_CHARACTERS} letters and digits of ASCII, dots, underscores and hyphens, and begins "
    "and ends with a letter or digit; models/ may stand before it"
)

_PREFIX = "models/"
_FORM = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
_OTHER = re.compile(r"[^A-Za-z0-9._-]+")


def refusal_of_name(name: str, reserved: Collection[str]) -> str | None:
    """What is wrong with a public name, with or without its prefix; None: nothing.

    `reserved` are words that are no names, in lower case.
    """
    own = name.removeprefix(_PREFIX)
    if not own.strip():
        return "it is empty"
    if own.casefold() in reserved:
        return "it is a word of the API"
    if len(own) > MAX_CHARACTERS:
        return f"it has {len(own)} characters"
    if _FORM.fullmatch(own):
        return None
    strange = "".join(dict.fromkeys(_OTHER.findall(own)))
    return (
        f"it has {strange!r}" if strange else f"it begins or ends with {own[0] if not own[0].isalnum() else own[-1]!r}"
    )


def suggested_name(name: str, location: str, reserved: Collection[str]) -> str:
    """A public name that is allowed, and as near to this one as possible; of an empty one, near to the location."""
    for text in (name.removeprefix(_PREFIX), re.split(r"[/\\]", location.rstrip("/\\"))[-1]):
        plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
        found = _OTHER.sub("-", plain)[:MAX_CHARACTERS].strip("._-")
        if found and refusal_of_name(found, reserved) is None:
            return found
    return "my-model"
