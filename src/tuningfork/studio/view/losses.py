"""The losses of a job as lines of a table."""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

_COLUMNS = ("step", "epoch", "training_loss", "validation_loss", "seconds")


def csv_lines(answers: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """The lines of a CSV file: one a step, with the losses of both kinds exactly as the API has them.

    A later answer may repeat steps of an earlier one, and then counts.
    """
    steps: dict[int, dict[str, Any]] = {}
    for answer in answers:
        for kind in ("training", "validation"):
            for point in answer.get(kind, ()):
                row = steps.setdefault(int(point.get("step", 0)), {})
                row["epoch"], row["seconds"] = point.get("epoch", ""), point.get("seconds", row.get("seconds", ""))
                row[f"{kind}_loss"] = point.get("meanLoss", "")
    yield _line(_COLUMNS)
    for step in sorted(steps):
        yield _line([step if name == "step" else steps[step].get(name, "") for name in _COLUMNS])


def _line(cells: Iterable[Any]) -> str:
    written = io.StringIO()
    csv.writer(written).writerow(cells)
    return written.getvalue()
