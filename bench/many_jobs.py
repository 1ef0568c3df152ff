"""Eight jobs of the tutorial's size at once beside one alone: on the engine, and through a running, warm server.

    python bench/many_jobs.py [--rounds 5] [--threads 2] [--jobs 8]

Time is taken from the first admission (or create request) to the last job's last step (or to the last model's ACTIVE).
The jobs have the tutorial's examples in different orders, so that each is another job; each one's losses are compared
with those that it shows when it is alone.
"""

import argparse
import random
import time
from collections.abc import Sequence

import httpx

import children
import report
import training_step
from bench_server import running, tutorial_body
from children import Child
from training import Work, ours_setup
from tuningfork.settings import usable_cores
from tuningfork.tutorial import EXAMPLES

EPOCHS = 5
ALONE = "one job"
AT_MOST = 4.0
_BETWEEN_POLLS = 0.02
"""Seconds: a poll costs the server some milliseconds of the cores that train."""

Curves = list[list[float]]


def engine_rows(
    work: Work, *, rounds: int, jobs: int, device: str = "cpu", jobs_per_step: int | None = None
) -> report.Row:
    """One engine, without the service; `jobs_per_step` None: as many share a pass as in the service's trainer."""
    setup = ours_setup(work, device) | {"max_jobs_per_step": jobs_per_step}
    alone: list[float] = []
    together: list[float] = []
    with Child("train_ours.py", setup) as child:
        child.ask("whole", jobs=1, epochs=EPOCHS)
        solo = [child.ask("whole", jobs=1, epochs=EPOCHS, first=number)["curves"][0] for number in range(jobs)]
        beside: Curves = []
        for _ in children.rounds(rounds):
            alone.append(child.ask("whole", jobs=1, epochs=EPOCHS)["seconds"])
            answer = child.ask("whole", jobs=jobs, epochs=EPOCHS)
            together.append(answer["seconds"])
            beside = answer["curves"]
    return row(f"{work.name}: {jobs} jobs at once, the engine alone", jobs, together, alone, facts(solo, beside))


def service_row(*, rounds: int, jobs: int) -> report.Row:
    """The same through HTTP, on a server that has tuned before."""
    bodies = [shuffled_body(number) for number in range(jobs)]
    alone: list[float] = []
    together: list[float] = []
    with running() as server, server.client() as client:
        tune_all(client, bodies[:1])
        solo = [tune_all(client, [body])[1][0] for body in bodies]
        beside: Curves = []
        for _ in children.rounds(rounds):
            alone.append(tune_all(client, bodies[:1])[0])
            seconds, beside = tune_all(client, bodies)
            together.append(seconds)
    return row(
        f"the tutorial's job: {jobs} jobs at once, through the service", jobs, together, alone, facts(solo, beside)
    )


def row(work: str, jobs: int, together: list[float], alone: list[float], found: dict[str, str]) -> report.Row:
    """`together` in jobs alone: the ratio of each round, and what the same jobs would take one after the other."""
    return report.Row(
        work=work,
        unit="x the time of one job",
        samples={report.OURS: [both / one for both, one in zip(together, alone, strict=True)]},
        wanted=f"at most {AT_MOST:g} x one job",
        at_most=AT_MOST * jobs / 8,
        facts={
            "seconds, one job": report.figure(report.median(alone)),
            f"seconds, {jobs} jobs": report.figure(report.median(together)),
            **found,
        },
    )


def facts(solo: Curves, beside: Curves) -> dict[str, str]:
    """Whether each job's losses are those that it has alone."""
    equal = sum(one == other for one, other in zip(solo, beside, strict=True))
    worst = max(
        abs(a - b) / max(abs(a), 1e-12)
        for one, other in zip(solo, beside, strict=True)
        for a, b in zip(one, other, strict=True)
    )
    return {"curves equal to those alone": f"{equal} of {len(solo)}", "largest difference": f"{worst:.2%}"}


def shuffled_body(seed: int) -> dict:
    """The tutorial's request with its examples in another order: another job, and another model."""
    pairs = random.Random(seed).sample(EXAMPLES, len(EXAMPLES))
    return tutorial_body([{"textInput": given, "output": output} for given, output in pairs])


def tune_all(client: httpx.Client, bodies: Sequence[dict]) -> tuple[float, Curves]:
    """Seconds from the first create to the last ACTIVE, and each job's losses; the models are deleted again."""
    begin = time.perf_counter()
    operations = [client.post("/v1beta/tunedModels", json=body).raise_for_status().json() for body in bodies]
    # One after the other: whoever asks after all of them at once measures how fast the server answers that.
    for operation in operations:
        while not client.get(f"/v1/{operation['name']}").raise_for_status().json().get("done"):
            time.sleep(_BETWEEN_POLLS)
    seconds = time.perf_counter() - begin
    curves = []
    for operation in operations:
        name = operation["metadata"]["tunedModel"]
        model = client.get(f"/v1beta/{name}").raise_for_status().json()
        if model["state"] != "ACTIVE":
            raise SystemExit(f"{name} is {model['state']}, not ACTIVE")
        curves.append([snapshot["meanLoss"] for snapshot in model["tuningTask"]["snapshots"]])
        client.delete(f"/v1beta/{name}").raise_for_status()
    return seconds, curves


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, help="default: 5, or 1 with --quick")
    parser.add_argument("--threads", type=int, default=min(2, usable_cores()))
    parser.add_argument("--jobs", type=int, default=8)
    children.add_quick(parser)
    arguments = parser.parse_args()
    children.begin(arguments)
    rounds = arguments.rounds or (1 if arguments.quick else 5)
    work = training_step.tutorial_work()
    rows = [
        engine_rows(work, rounds=rounds, jobs=arguments.jobs),
        service_row(rounds=rounds, jobs=arguments.jobs),
    ]
    report.show("Jobs at once", [each.as_json() for each in rows])
    if not arguments.quick:
        report.write_result("many_jobs", rows, title="Eight jobs at once", threads=arguments.threads)


if __name__ == "__main__":
    main()
