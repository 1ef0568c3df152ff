"""What requests to tune may ask for elsewhere and not here, refused by its name (vertex-additions, section 8)."""

from collections.abc import Iterator, Mapping
from typing import Any

from tuningfork.domain.errors import FieldViolation, Reason
from tuningfork.wire.google.proto_json.descriptors import lower_camel
from tuningfork.wire.vertex.tuning_messages import REFUSED_SPECS

_SPEC = "tuning_job.supervised_tuning_spec"
_METHODS = {"distillation_spec": "DISTILLATION", "reinforcement_tuning_spec": "REINFORCEMENT_TUNING"}
_JUDGES = ("pointwise_metric_spec", "pairwise_metric_spec", "predefined_metric_spec", "llm_based_metric_spec")
_CODE = "custom_code_execution_spec"


def refusals(fields: Mapping[str, Any], spec: Mapping[str, Any]) -> Iterator[FieldViolation]:
    """Everything in a request to create a tuning job that this server does not do, and would have to ignore."""
    for name in REFUSED_SPECS:
        if name in fields:
            method = f" (method {_METHODS[name]})" if name in _METHODS else ""
            yield _refusal(
                f"tuning_job.{name}", f"{lower_camel(name)}{method} is not served here: use supervisedTuningSpec."
            )
    if "preference_optimization_spec" in fields:
        described = (
            "preferenceOptimizationSpec (method PREFERENCE_TUNING) is not served here: use supervisedTuningSpec."
        )
        yield _refusal("tuning_job.preference_optimization_spec", described)
    if fields.get("custom_base_model"):
        described = "customBaseModel is not served here: ask the operator to add the model to the catalog."
        yield _refusal("tuning_job.custom_base_model", described)
    if fields.get("output_uri"):
        described = "outputUri is not served here: download the adapter with `tuningfork export`."
        yield _refusal("tuning_job.output_uri", described)
    if spec.get("tuning_mode") == "TUNING_MODE_FULL":
        described = "TUNING_MODE_FULL is not served here, since only adapters are tuned: use TUNING_MODE_PEFT_ADAPTER."
        yield _refusal(f"{_SPEC}.tuning_mode", described)
    yield from _of_evaluation(spec.get("evaluation_config"))


def _of_evaluation(config: Any) -> Iterator[FieldViolation]:
    """Metrics that need a judge, or run code of the caller. Other configurations are stored and shown."""
    metrics = config.get("metrics") if isinstance(config, Mapping) else None
    for index, metric in enumerate(metrics if isinstance(metrics, list) else ()):
        for name in (*_JUDGES, _CODE):
            if isinstance(metric, Mapping) and (metric.get(name) or metric.get(lower_camel(name))):
                need = "runs code of the caller" if name == _CODE else "needs another model as a judge"
                other = "use exactMatchSpec, bleuSpec or rougeSpec"
                described = f"{lower_camel(name)} is not served here, since it {need}: {other}."
                yield _refusal(f"{_SPEC}.evaluation_config.metrics[{index}].{name}", described)


def _refusal(field: str, described: str) -> FieldViolation:
    return FieldViolation(field=field, description=described, reason=Reason.NOT_ALLOWED)
