"""The cell of Google's tuning notebooks that reads a job's metrics, as they have it."""

import json
import os

import vertexai
from google.cloud import aiplatform
from google.cloud.aiplatform.metadata import context
from google.cloud.aiplatform.metadata import utils as metadata_utils
from vertexai.tuning import sft

vertexai.init(
    project=os.environ["GOOGLE_CLOUD_PROJECT"],
    location=os.environ["GOOGLE_CLOUD_LOCATION"],
    api_endpoint=os.environ["URL"],
    api_transport="rest",
)
tuning_job = sft.SupervisedTuningJob(os.environ["JOB"])
experiment_resource_name = tuning_job.experiment.resource_name
experiment = aiplatform.Experiment(experiment_name=experiment_resource_name)
filter_str = metadata_utils._make_filter_string(
    schema_title="system.ExperimentRun",
    parent_contexts=[experiment.resource_name],
)
experiment_run = context.Context.list(filter_str)[0]
tensorboard_run_name = (
    f"{experiment.get_backing_tensorboard_resource().resource_name}/experiments/{experiment.name}/runs/"
    f"{experiment_run.name.replace(experiment.name, '')[1:]}"
)
tensorboard_run = aiplatform.TensorboardRun(tensorboard_run_name)
metrics = tensorboard_run.read_time_series_data()


def get_metrics(metric: str = "/train_total_loss") -> tuple[list[int], list[float]]:
    """Get metrics from Tensorboard."""
    loss_values = metrics[metric].values
    steps_loss, steps = [], []
    for loss in loss_values:
        steps_loss.append(loss.scalar.value)
        steps.append(loss.step)
    return steps, steps_loss


print(json.dumps({name: get_metrics(name) for name in sorted(metrics)}))
