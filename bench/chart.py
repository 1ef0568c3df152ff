"""The chart of `docs/performance.md`: how many times better ours is, bar by bar, with a mark where it was wanted to be.

Plain SVG text, so that nothing needs to be installed to make it and a reader can compare two versions line by line.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

_WIDTH, _LEFT, _RIGHT, _ROW, _TOP, _BOTTOM = 900, 12, 80, 46, 56, 34
_REACHED, _MISSED, _INK, _FAINT, _PAPER = "#2f7d4f", "#b5651d", "#222222", "#c9c9c9", "#ffffff"


@dataclass(frozen=True, slots=True)
class Bar:
    """One comparison: what was reached and what was wanted, both as ratios."""

    label: str
    reached: float
    wanted: float


def svg(bars: Sequence[Bar]) -> str:
    """The chart, on a logarithmic scale, in the order given."""
    ends = [value for bar in bars for value in (bar.reached, bar.wanted) if value > 0]
    low = min(0.5, *ends) * 0.9
    high = max(2.0, *ends) * 1.25
    span = math.log(high / low)

    def place(value: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * math.log(max(value, low) / low) / span

    height = _TOP + _ROW * len(bars) + _BOTTOM
    box = f'viewBox="0 0 {_WIDTH} {height}"'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {box} font-family="sans-serif" font-size="12" fill="{_INK}">',
        f'<rect width="{_WIDTH}" height="{height}" fill="{_PAPER}"/>',
        '<text x="10" y="22" font-size="15">How many times better ours is (logarithmic)</text>',
        '<text x="10" y="42">green: as wanted or better; brown: less than wanted; black mark: what was wanted</text>',
    ]
    for tick in _ticks(low, high):
        x = place(tick)
        lines.append(
            f'<line x1="{x:.1f}" y1="{_TOP - 2}" x2="{x:.1f}" y2="{height - _BOTTOM + 4}" stroke="{_FAINT}"/>'
            f'<text x="{x:.1f}" y="{height - 12}" text-anchor="middle">{tick:g} x</text>'
        )
    for index, bar in enumerate(bars):
        lines += _drawn(bar, _TOP + _ROW * index, place, low)
    return "\n".join([*lines, "</svg>"]) + "\n"


def _drawn(bar: Bar, y: int, place, low: float) -> list[str]:
    end, mark = place(bar.reached), place(bar.wanted)
    colour = _REACHED if bar.reached >= bar.wanted else _MISSED
    return [
        f'<text x="{_LEFT}" y="{y + 15}">{escape(bar.label)}</text>',
        f'<rect x="{_LEFT}" y="{y + 21}" width="{max(end - place(low), 1):.1f}" height="17" fill="{colour}"/>',
        f'<line x1="{mark:.1f}" y1="{y + 18}" x2="{mark:.1f}" y2="{y + 41}" stroke="{_INK}" stroke-width="2"/>',
        f'<text x="{max(end, mark) + 6:.1f}" y="{y + 34}">{bar.reached:.2f} x</text>',
    ]


def _ticks(low: float, high: float) -> list[float]:
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    return [step * 10.0**power for power in decades for step in (1, 2, 5) if low <= step * 10.0**power <= high]
