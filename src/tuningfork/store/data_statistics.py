"""Statistics of training files as JSON objects, which are a column of `tuning_jobs`."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from tuningfork.domain.conversation import Speaker, Turn
from tuningfork.domain.data_statistics import Bucket, DataStatistics, Distribution, DroppedExample

_DISTRIBUTIONS = ("input_tokens", "output_tokens", "messages")


def written(statistics: DataStatistics | None) -> dict[str, Any] | None:
    """The JSON object of these statistics; None: there are none."""
    return None if statistics is None else asdict(statistics)


def read(row: Mapping[str, Any] | None) -> DataStatistics | None:
    """The statistics of a JSON object of `written`; None: there are none."""
    if row is None:
        return None
    values = {
        **row,
        **{name: _distribution(row[name]) for name in _DISTRIBUTIONS},
        "first_turns": tuple(
            Turn(Speaker(turn["speaker"]), tuple(turn["parts"]), turn["weight"]) for turn in row["first_turns"]
        ),
        "dropped_sample": tuple(DroppedExample(**each) for each in row["dropped_sample"]),
    }
    return DataStatistics(**values)


def _distribution(row: Mapping[str, Any]) -> Distribution:
    return Distribution(**{**row, "buckets": tuple(Bucket(**each) for each in row["buckets"])})
