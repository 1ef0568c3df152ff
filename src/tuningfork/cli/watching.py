"""`tuningfork jobs`, `watch` and `cancel`: tuning runs that go on at the server, from wherever they were begun."""

from typing import TYPE_CHECKING, Annotated

import typer

from tuningfork.cli import output
from tuningfork.cli.connection import DEFAULT_URL, ApiKey, Url, connect
from tuningfork.cli.listing import TunedModelName, tuned_model_name
from tuningfork.client.errors import ClientError, ServiceRefusal
from tuningfork.domain.errors import Code

if TYPE_CHECKING:
    from tuningfork.client import Client
    from tuningfork.client.dialect import Operation
    from tuningfork.client.findings import RunFinding
    from tuningfork.client.stages import RunStage

JobsAsJson = Annotated[
    bool,
    output.as_json_option(
        '{"operations": [...], "findings": {...}, "stages": {...}}: Operations of the API without snapshots, which '
        "metadata.completedSteps counts, and by model the kinds of warnings about its loss, and what a run is doing "
        "that has not ended: QUEUED, STARTING, LOADING_BASE, HELD_UP or TRAINING"
    ),
]
RunAsJson = Annotated[bool, output.as_json_option("the newest state of the run, an Operation of the API")]


def jobs(*, as_json: JobsAsJson = False, url: Url = DEFAULT_URL, api_key: ApiKey = None) -> None:
    """List the tuning runs of your models, with their progress.

    On a terminal as a table; elsewhere one line a run: model, state, steps taken, steps in all, separated by tabs,
    and kinds of warnings about its loss, if there are any. A run whose base model is being loaded is "loading".
    """
    with connect(url, api_key) as client:
        operations, found, stages = client.all_operations(), _findings(client), _stages(client)
    if as_json:
        kinds = {model: [finding.kind for finding in findings] for model, findings in found.items()}
        told = {model: stage.stage for model, stage in stages.items()}
        output.result_json({"operations": [each.answer for each in operations], "findings": kinds, "stages": told})
    elif not output.is_for_a_person():
        for each in operations:
            warnings = [finding.kind for finding in found.get(each.tuned_model, ())]
            state = state_of(each, stages.get(each.tuned_model))
            output.result_row(each.tuned_model, state, each.completed_steps, each.total_steps, *warnings)
    elif operations:
        # Rich's tables take time to import that `--help` does not need to spend.
        from tuningfork.cli import tables  # noqa: PLC0415

        rows = [_row(each, found, stages.get(each.tuned_model)) for each in operations]
        tables.show("Tuning runs", ("model", "state", "steps", "remarks"), rows)
    else:
        output.say("No tuning runs yet: `tuningfork tune FILE` begins one.")


def watch(
    context: typer.Context,
    model: TunedModelName,
    *,
    as_json: RunAsJson = False,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
) -> None:
    """Watch the loss of a tuning run until it ends, from wherever it is.

    Prints the tuned model's name. The run goes on at the server if this command is interrupted.
    """
    from tuningfork.cli.following import Follower  # noqa: PLC0415 - imports the client, which `--help` does not need

    with connect(url, api_key) as client:
        Follower(client, context, as_json=as_json).follow(lambda: client.with_results(_run_of(client, model)))


def cancel(
    model: TunedModelName, *, as_json: RunAsJson = False, url: Url = DEFAULT_URL, api_key: ApiKey = None
) -> None:
    """Stop a tuning run between two steps, and keep what it has learned so far.

    Prints the tuned model's name.
    """
    with connect(url, api_key) as client:
        run = _run_of(client, model)
        client.cancel(run.name)
        if as_json:
            output.result_json(client.operation(run.name).answer)
            return
    output.result(run.tuned_model)


def _run_of(client: "Client", model: str) -> "Operation":
    name = tuned_model_name(model)
    runs = client.operations(name)
    if not runs:
        raise ClientError(f"{name} has no tuning run.", advice="`tuningfork jobs` lists them.")
    return runs[-1]


def state_of(operation: "Operation", stage: "RunStage | None" = None) -> str:
    """Where a run stands, in a word. `stage` None: the server does not tell more than the operation."""
    if operation.error is not None:
        return "ended"
    if operation.done:
        return "done"
    if operation.completed_steps and not (stage is not None and stage.is_held_up):
        return "running"
    return "loading" if stage is not None and stage.loads_base else "waiting"


def _findings(client: "Client") -> "dict[str, tuple[RunFinding, ...]]":
    """By model, what the losses of its run give reason to warn of; nothing from a server of an earlier version."""
    try:
        return client.diagnoses()
    except ServiceRefusal as refusal:
        if refusal.status != Code.NOT_FOUND:
            raise
        return {}


def _stages(client: "Client") -> "dict[str, RunStage]":
    """By model, what its run is doing; nothing from a server of an earlier version."""
    try:
        return client.stages()
    except ServiceRefusal as refusal:
        if refusal.status != Code.NOT_FOUND:
            raise
        return {}


def _row(run: "Operation", found: "dict[str, tuple[RunFinding, ...]]", stage: "RunStage | None") -> tuple[str, ...]:
    share = f" ({100 * run.completed_steps // run.total_steps} %)" if run.total_steps else ""
    known = f"{run.completed_steps:,} of {run.total_steps:,}{share}" if run.total_steps else ""
    steps = "imported" if run.is_import else known
    waits = stage is not None and not run.done and (stage.is_held_up or not run.completed_steps)
    waits_for = stage.in_full if stage is not None and waits else ""
    left = stage.time_left if stage is not None and not run.done else ""
    is_early = run.done and run.error is None and run.completed_steps < run.total_steps
    findings = [finding.in_short for finding in found.get(run.tuned_model, ())]
    remarks = [run.error or "", "stopped early" if is_early else "", waits_for, left, *findings]
    return run.tuned_model, state_of(run, stage), steps, "; ".join(filter(None, remarks))
