"""A job's metrics, read in the eight requests that Google's notebooks send."""

from urllib.parse import quote

import pytest

from caller import TUTORIAL_BODY
from vertex_serving import PLACE, V1, key_in_adas_project, serving_caller, train_on
from workshop import ADA, BOB, NUMBER_PAIRS, number_request


@pytest.fixture
def caller(workshop):
    return serving_caller(workshop)


def made(caller, *, validated=False):
    """The number of a job that has ended, with or without a validation set."""
    if validated:
        caller.workshop.tuning.create(ADA, number_request(tuned_model_id="numbers", validation=NUMBER_PAIRS[:3]))
    else:
        caller.post("/v1beta/tunedModels?tunedModelId=numbers", TUTORIAL_BODY)
    train_on(caller.workshop)
    return caller.workshop.tuning.get(ADA, "numbers").model.number


def got(caller, path, **options):
    answer = caller.get(path, **options)
    assert answer.status_code == 200, answer.text
    return answer.json()


def run_path(number):
    return f"{V1}/tensorboards/{number}/experiments/tuning-experiment-{number}/runs/tuning-run-{number}"


def values_by_name(caller, number):
    """What a notebook reads: each time series' steps and values, by its name."""
    series = got(caller, f"{run_path(number)}/timeSeries").get("tensorboardTimeSeries", [])
    names = {each["name"]: each["displayName"] for each in series}
    query = "&".join(f"timeSeries={quote(name, safe='')}" for name in names)
    data = got(caller, f"{V1}/tensorboards/{number}:batchRead?{query}")["timeSeriesData"]
    return {
        names[f"{run_path(number).removeprefix('/v1/')}/timeSeries/{each['tensorboardTimeSeriesId']}"]: [
            (int(value["step"]), value.get("scalar", {}).get("value", 0)) for value in each["values"]
        ]
        for each in data
    }


def test_the_notebooks_way_to_a_jobs_metrics(caller):
    number = made(caller, validated=True)
    experiment = f"{PLACE}/metadataStores/default/contexts/tuning-experiment-{number}"

    context = got(caller, f"/v1/{experiment}")
    asked = quote(f'schema_title="system.ExperimentRun" AND parent_contexts:"{experiment}"')
    [run] = got(caller, f"{V1}/metadataStores/default/contexts?filter={asked}")["contexts"]
    tensorboard = got(caller, f"/v1/{context['metadata']['backing_tensorboard_resource']}")

    assert (context["schemaTitle"], context["schemaVersion"]) == ("system.Experiment", "0.0.1")
    assert context["metadata"]["experiment_deleted"] is False
    # The notebooks strip the experiment's id and a dash.
    assert run["name"] == f"{experiment}-{run['displayName']}"
    assert run["schemaTitle"] == "system.ExperimentRun"
    assert run["parentContexts"] == [experiment]
    assert tensorboard["name"] == f"{PLACE}/tensorboards/{number}"
    path = f"/v1/{tensorboard['name']}/experiments/tuning-experiment-{number}/runs/{run['displayName']}"
    assert got(caller, path)["displayName"] == run["displayName"]


def test_every_metric_has_a_value_at_each_step_that_has_one(caller):
    number = made(caller, validated=True)
    taken = caller.workshop.tuning.get(ADA, "numbers").job.snapshots

    metrics = values_by_name(caller, number)

    assert metrics["/train_total_loss"] == [(each.step, each.mean_loss) for each in taken]
    assert metrics["/train_num_predictions"] == [(each.step, each.targets) for each in taken]
    shares = [(each.step, each.right_targets / each.targets) for each in taken]
    assert metrics["/train_fraction_of_correct_next_step_preds"] == shares
    assert [step for step, _ in metrics["/eval_total_loss"]] == [len(taken)]
    assert set(metrics) == {
        "/train_total_loss",
        "/train_fraction_of_correct_next_step_preds",
        "/train_num_predictions",
        "/eval_total_loss",
        "/eval_fraction_of_correct_next_step_preds",
        "/eval_num_predictions",
    }


def test_without_a_validation_set_there_are_no_metrics_of_one(caller):
    metrics = values_by_name(caller, made(caller))

    assert {name.partition("_")[0] for name in metrics} == {"/train"}


def test_a_job_that_has_not_begun_has_an_experiment_without_metrics(caller):
    caller.post("/v1beta/tunedModels?tunedModelId=numbers", TUTORIAL_BODY)
    number = caller.workshop.tuning.get(ADA, "numbers").model.number

    assert got(caller, f"{V1}/metadataStores/default/contexts/tuning-experiment-{number}")
    assert got(caller, f"{run_path(number)}/timeSeries") == {}


def test_steps_of_an_earlier_version_have_a_loss_alone(caller):
    caller.post("/v1beta/tunedModels?tunedModelId=numbers", TUTORIAL_BODY)
    caller.workshop.executor.tells_predictions = False
    train_on(caller.workshop)
    number = caller.workshop.tuning.get(ADA, "numbers").model.number

    assert set(values_by_name(caller, number)) == {"/train_total_loss"}


def test_one_time_series_can_be_got_and_read(caller):
    number = made(caller)

    series = got(caller, f"{run_path(number)}/timeSeries/1")
    data = got(caller, f"{run_path(number)}/timeSeries/1:read")["timeSeriesData"]

    assert (series["displayName"], series["valueType"]) == ("/train_total_loss", "SCALAR")
    assert series["metadata"]["maxStep"] == str(len(data["values"]))
    assert got(caller, f"{V1}/tensorboards/{number}/experiments/tuning-experiment-{number}/runs")["tensorboardRuns"]


@pytest.mark.parametrize(
    "path",
    [
        "metadataStores/default/contexts/tuning-experiment-1",
        "metadataStores/default/contexts/x",
        "metadataStores/other/contexts/tuning-experiment-{number}",
        "metadataStores/default/contexts/tuning-experiment-1-tuning-run-{number}",
        "tensorboards/1",
        "tensorboards/x",
        "tensorboards/{number}/experiments/tuning-experiment-1",
        "tensorboards/{number}/experiments/tuning-experiment-{number}/runs/tuning-run-1",
        "tensorboards/{number}/experiments/tuning-experiment-{number}/runs/tuning-run-{number}/timeSeries/9",
    ],
)
def test_what_is_no_experiment_is_not_found(caller, path):
    assert caller.get(f"{V1}/{path.format(number=made(caller))}").status_code == 404


def test_the_metrics_of_another_job_are_not_read_through_a_tensorboard(caller):
    number = made(caller)
    foreign = quote(f"{PLACE}/tensorboards/1/experiments/x/runs/y/timeSeries/1", safe="")

    answer = caller.get(f"{V1}/tensorboards/{number}:batchRead?timeSeries={foreign}")

    assert answer.status_code == 400


def test_contexts_of_an_experiment_that_nobody_may_see_are_an_empty_list(caller):
    experiment = f"{PLACE}/metadataStores/default/contexts/tuning-experiment-{made(caller)}"
    asked = quote(f'parent_contexts:"{experiment}"')
    colleague = key_in_adas_project(caller, BOB)

    assert got(caller, f"{V1}/metadataStores/default/contexts?filter={asked}", key=colleague) == {}
    assert caller.get(f"/v1/{experiment}", key=colleague).status_code == 404
    assert caller.get(f"{V1}/metadataStores/default/contexts").status_code == 400
