"""The loss curve, for a terminal and as an image file.

The terminal's curve is made of braille characters, 2 x 4 dots each. Legend: W columns of dots, H rows of dots.
"""

import math
from collections.abc import Sequence
from pathlib import Path

from tuningfork.client.errors import PlotUnavailable

_DOTS_WIDE, _DOTS_HIGH = 2, 4
# Unicode 2800..28FF: the bit of the dot in column x, row y of a cell, counted from its top left.
_DOT_BITS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))
_BLANK_CELL = 0x2800


def terminal_lines(losses: Sequence[float], *, width: int, height: int = 11) -> list[str]:
    """Draw the mean loss of each step as lines of text: a y axis from 0, the curve, and the steps below.

    Args:
        losses: one a step, the first is step 1; in nats per token. Those that are not finite are left out.
        width: of the whole drawing, in characters.
        height: of the curve, in lines; odd, so that the middle mark sits on a line.

    """
    finite = [(step, loss) for step, loss in enumerate(losses, start=1) if math.isfinite(loss)]
    if not finite:
        return []
    top = _round_up(max(loss for _, loss in finite))
    labels = [f"{top:g}", f"{top / 2:g}", "0"]
    margin = max(len(label) for label in labels)
    columns = max(width - margin - 2, 10)
    cells = _cells(finite, len(losses), top, columns, height)
    at_line = {0: labels[0], (height - 1) // 2: labels[1], height - 1: labels[2]}
    lines = [
        f"{at_line.get(number, ''):>{margin}} {'┤' if number in at_line else '│'}{row}"
        for number, row in enumerate(cells)
    ]
    first, last = "step 1", str(len(losses))
    return [*lines, f"{'':>{margin}} └{'─' * columns}", f"{'':>{margin}}  {first}{last:>{columns - len(first)}}"]


def save_image(losses: Sequence[float], steps_per_epoch: float, title: str, path: Path) -> Path:
    """Draw the curve into a file whose suffix says its kind (`.png`, `.svg`, `.pdf`); an existing one is replaced.

    Args:
        losses: one a step, the first is step 1; in nats per token.
        steps_per_epoch: where the marks of the epochs are drawn; need not be whole.
        title: above the curve.
        path: where to.

    Raises:
        PlotUnavailable: matplotlib is not installed.

    """
    try:
        # Half a second that only this function needs.
        from matplotlib.figure import Figure  # noqa: PLC0415
        from matplotlib.ticker import MaxNLocator  # noqa: PLC0415
    except ImportError as error:
        raise PlotUnavailable(
            "The loss curve was not drawn as an image, because matplotlib is not installed.",
            advice='Install it with `pip install "tuningfork[plot]"`.',
        ) from error
    figure = Figure(figsize=(7.2, 4.2), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    steps = range(1, len(losses) + 1)
    for epoch in range(1, math.floor(len(losses) / steps_per_epoch) + 1):
        axes.axvline(epoch * steps_per_epoch, color="#d8d8d8", linewidth=0.8, zorder=0)
    axes.plot(steps, losses, color="#0b6e75", linewidth=1.8, marker="o", markersize=3.5)
    axes.set(title=title, xlabel="step (a grey line ends an epoch)", ylabel="mean loss, nats per token")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlim(0.5, len(losses) + 0.5)
    axes.set_ylim(bottom=0)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path)
    return path


def _cells(points: Sequence[tuple[int, float]], steps: int, top: float, columns: int, height: int) -> list[str]:
    dots_W, dots_H = columns * _DOTS_WIDE, height * _DOTS_HIGH
    grid = [[0] * columns for _ in range(height)]
    positions = [
        (round((step - 1) / max(steps - 1, 1) * (dots_W - 1)), round((1 - loss / top) * (dots_H - 1)))
        for step, loss in points
    ]
    for start, end in zip(positions, [*positions[1:], positions[-1]], strict=True):
        for x, y in _segment(start, end):
            grid[y // _DOTS_HIGH][x // _DOTS_WIDE] |= _DOT_BITS[x % _DOTS_WIDE][y % _DOTS_HIGH]
    return ["".join(chr(_BLANK_CELL + cell) if cell else " " for cell in row).rstrip() for row in grid]


def _segment(start: tuple[int, int], end: tuple[int, int]) -> list[tuple[int, int]]:
    """Every dot of a straight line, both ends included."""
    (x, y), (end_x, end_y) = start, end
    count = max(abs(end_x - x), abs(end_y - y), 1)
    return [(round(x + (end_x - x) * i / count), round(y + (end_y - y) * i / count)) for i in range(count + 1)]


def _round_up(value: float) -> float:
    """The next larger number of the form 1, 1.2, 1.5, 2, 3, 4, 5, 6 or 8 times a power of ten; 1 for 0 and below."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(
        factor * power for factor in (1, 1.2, 1.5, 2, 3, 4, 5, 6, 8, 10) if value <= factor * power * (1 + 1e-9)
    )
