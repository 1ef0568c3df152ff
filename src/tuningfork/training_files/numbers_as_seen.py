"""Numbers as a person sees them in a cell: 1 and not 1.0, 0.3 and not 0.30000000000000004, 50% where it says so.

Number formats: ECMA-376 part 1, section 18.8.31. What is understood are formats of one number with literal text around
it, thousands, decimals, leading zeros, percent and scientific notation; under any other, a number is shown as under
"General".
"""

import math
import re
from decimal import ROUND_HALF_UP, Decimal

_DIGITS = 15
"""Spreadsheet programs show no more digits of a double, and so hide the dust of binary arithmetic."""

_PLAIN_FROM, _PLAIN_BELOW = Decimal("1e-6"), Decimal("1e21")
"""Between these, a number is written without an exponent, as JavaScript does."""

_LONGEST_FORMAT = 255
"""As spreadsheet programs have it. Patterns take their time with longer ones."""

_LITERAL = r'"[^"]*"|\\.|\[\$[^\]]*\]|[-+$€£¥() ]'
_FORMAT = re.compile(
    rf"(?P<before>(?:{_LITERAL})*)(?P<whole>[#0,]*[#0])(?:\.(?P<decimals>[0#]+))?(?P<exponent>E\+0+)?"
    rf"(?P<percent>%?)(?P<after>(?:{_LITERAL})*)"
)
_PIECE = re.compile(_LITERAL)
# Colours and conditions, the width of a character, and a character that fills the cell: none of it is text.
_NOT_TEXT = re.compile(r"\[(?!\$)[^\]]*\]|_.|\*.")


def general(value: float) -> str | None:
    """The text of a number as a spreadsheet shows it without a format; None if the number is not finite."""
    if isinstance(value, int):
        return str(value)
    if not math.isfinite(value):
        return None
    exact = Decimal(f"{value:.{_DIGITS}g}")
    if exact == 0:
        return "0"
    if _PLAIN_FROM <= abs(exact) < _PLAIN_BELOW:
        text = f"{exact:f}"
        return text.rstrip("0").rstrip(".") if "." in text else text
    digits, _, power = f"{exact:E}".partition("E")
    return f"{digits.rstrip('0').rstrip('.') if '.' in digits else digits}E{int(power):+03d}"


def formatted(value: float, number_format: str) -> str | None:
    """The text of a number as a spreadsheet shows it in this format; None if the number is not finite."""
    plain = general(value)
    if len(number_format) > _LONGEST_FORMAT:
        return plain
    found = _FORMAT.fullmatch(_NOT_TEXT.sub("", number_format.partition(";")[0]))
    if plain is None or found is None:
        return plain
    number = Decimal(plain) * (100 if found["percent"] else 1)
    if found["exponent"]:
        shown = f"{float(abs(number)):.{len(found['decimals'] or '')}E}"
    else:
        shown = _fixed(abs(number), found["whole"], found["decimals"] or "")
    sign = "-" if number < 0 and any(digit in "123456789" for digit in shown) else ""
    return f"{sign}{_literals(found['before'])}{shown}{found['percent']}{_literals(found['after'])}".strip()


def _fixed(number: Decimal, whole: str, decimals: str) -> str:
    if abs(number) >= _PLAIN_BELOW:
        return f"{number:f}"
    # Spreadsheet programs round halves away from zero; Python's own formatting rounds them to even.
    rounded = number.quantize(Decimal(1).scaleb(-len(decimals)), ROUND_HALF_UP)
    before, _, after = f"{rounded:f}".partition(".")
    before = before.rjust(whole.count("0"), "0")
    if "," in whole:
        before = f"{int(before):,}".rjust(whole.count("0"), "0")
    while len(after) > decimals.count("0") and after.endswith("0"):
        after = after[:-1]
    return f"{before}.{after}" if after else before


def _literals(text: str) -> str:
    return "".join(_plain(piece) for piece in _PIECE.findall(text))


def _plain(piece: str) -> str:
    if piece.startswith("[$"):
        # A currency's sign, and behind a hyphen the number of its language.
        return piece[2:-1].partition("-")[0]
    return piece.strip('"') if piece.startswith('"') else piece.removeprefix("\\")
