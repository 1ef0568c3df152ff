"""Renders the statistics of a training file.

Source: vertex-api section 3.5. `billableSum` is left out where it is 0, as every field with its default.
"""

from typing import Any

from tuningfork.domain.conversation import Turn
from tuningfork.domain.data_statistics import DataStatistics, Distribution
from tuningfork.domain.tuning_job import TuningJob


def data_stats(job: TuningJob) -> dict[str, Any] | None:
    """The fields of a job's `tuning_data_stats`; None: nobody has computed them yet."""
    found = job.data_statistics
    if found is None:
        return None
    return {"supervised_tuning_data_stats": _supervised(found, job.total_steps)}


def _supervised(found: DataStatistics, steps: int) -> dict[str, Any]:
    return {
        "tuning_dataset_example_count": found.examples,
        "total_tuning_character_count": found.characters,
        "total_billable_character_count": found.billable_characters,
        "total_billable_token_count": found.billable_tokens,
        "tuning_step_count": steps,
        "user_input_token_distribution": _distribution(found.input_tokens),
        "user_output_token_distribution": _distribution(found.output_tokens),
        "user_message_per_example_distribution": _distribution(found.messages),
        "user_dataset_examples": [_content(turn) for turn in found.first_turns],
        "total_truncated_example_count": found.dropped,
        "truncated_example_indices": [each.number for each in found.dropped_sample],
        "dropped_example_reasons": [each.reason for each in found.dropped_sample],
    }


def _distribution(found: Distribution) -> dict[str, Any]:
    return {
        "sum": found.sum,
        "billable_sum": found.billable_sum,
        **{name: float(getattr(found, name)) for name in ("min", "max", "mean", "median", "p5", "p95")},
        "buckets": [
            {"count": float(each.count), "left": float(each.left), "right": float(each.right)} for each in found.buckets
        ],
    }


def _content(turn: Turn) -> dict[str, Any]:
    return {"role": turn.speaker.value, "parts": [{"text": part} for part in turn.parts]}
