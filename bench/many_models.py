"""Ten thousand tuned models over one base: lists, single models, the server's start, adapters not in memory.

    python bench/many_models.py [--models 10000] [--rounds 40]

**Lists.** The models belong to a hundred people; one person owns half of all, one finds a thousand through a group and
a thousand through their project, one owns a single model among ten thousand. Each walks through all their pages over
HTTP; times are of one page, from the request's first byte sent to the answer's last byte read.

**One model.** Get, create and delete among so many, beside the same among ten.

**Cold adapters.** The first piece of an answer of a tuned model whose adapter is not in memory, beside one whose
adapter is; the embedded base, files in the page cache.
"""

import argparse
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx

import report
from bench_server import BenchServer, running, tune, tutorial_body
from tuningfork.domain.base_model import AdapterShape, BaseModelName
from tuningfork.domain.hyperparameters import Hyperparameters
from tuningfork.domain.ids import number_of
from tuningfork.domain.permission import Email, GranteeType, Permission, PermissionId, Role
from tuningfork.domain.tuned_model import ModelState, TunedModel, TunedModelId
from tuningfork.domain.tuning_job import JobId, JobState, Snapshot, TuningJob
from tuningfork.service.identity.keys import Access
from tuningfork.service.sharing.groups import Groups
from tuningfork.store import access, tuned_models, tuning_jobs
from tuningfork.store.database import Database

BASE = BaseModelName("models/gemini-1.0-pro-001")
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
OWNER_OF_HALF, MEMBER, LONER = "half@example.com", "member@example.com", "loner@example.com"
PAGE_MS, COLD_MS, USUAL_PAGE, FEW = 20.0, 50.0, 50, 10
GROUP, PROJECT = "team@example.com", 123_456_789_012


def fill(database: Database, count: int) -> None:
    """So many finished models with nineteen snapshots each."""
    with database.write() as connection:
        for number in range(count):
            name = TunedModelId(f"model-{number:05}")
            time_made = BEGIN + timedelta(seconds=number)
            owner = OWNER_OF_HALF if number % 2 else f"person{number % 200}@example.com"
            if number == count // 2 + 2:
                owner = LONER
            tuned_models.insert(connection, model_of(name, number, time_made))
            job = job_of(name, time_made)
            tuning_jobs.insert(connection, job)
            access.grant(connection, permission(name, "owner", owner, Role.OWNER))
            if number % 10 == 0:
                access.grant(connection, permission(name, "group", GROUP, Role.READER, GranteeType.GROUP))
            tuning_jobs.move(connection, job.id, JobState.RUNNING, time_made)
            taken = [
                Snapshot(step=step, epoch=step * 4 // 15, mean_loss=2 / step, compute_time=time_made)
                for step in range(1, 20)
            ]
            tuning_jobs.add_missing_snapshots(connection, job.id, taken)
            tuning_jobs.move(connection, job.id, JobState.SUCCEEDED, time_made)


def model_of(name: TunedModelId, number: int, time_made: datetime) -> TunedModel:
    return TunedModel(
        id=name,
        number=number_of(name),
        base_model=BASE,
        display_name=f"model {number}",
        description="counts up" if number % 7 == 0 else "something else that a description may say of a model",
        state=ModelState.ACTIVE,
        create_time=time_made,
        update_time=time_made,
        temperature=0.7,
        top_p=0.95,
        top_k=64,
        reader_project_numbers=(PROJECT,) if number % 10 == 5 else (),
    )


def job_of(name: TunedModelId, time_made: datetime) -> TuningJob:
    return TuningJob(
        id=JobId(f"job{name[6:]}"),
        model_id=name,
        base_model=BASE,
        state=JobState.QUEUED,
        hyperparameters=Hyperparameters(
            epoch_count=5, batch_size=4, learning_rate=0.001, learning_rate_multiplier=None
        ),
        adapter=AdapterShape(rank=8, alpha=80.0),
        example_count=15,
        seed=1,
        create_time=time_made,
        created_by="",
    )


def permission(
    name: TunedModelId, key: str, email: str, role: Role, kind: GranteeType = GranteeType.USER
) -> Permission:
    return Permission(id=PermissionId(key), model_id=name, grantee_type=kind, email=Email(email), role=role)


def timed(work: Callable[[], httpx.Response]) -> tuple[float, dict]:
    begin = time.perf_counter()
    answer = work()
    passed = time.perf_counter() - begin
    return passed, answer.raise_for_status().json()


def walk(client: httpx.Client, most: int, **query: object) -> Iterator[tuple[float, int]]:
    """The time and the length of each page to the last, or of so many."""
    token = ""
    for _ in range(most):
        asked = query | ({"pageToken": token} if token else {})
        passed, page = timed(lambda asked=asked: client.get("/v1beta/tunedModels", params=asked))
        yield passed, len(page.get("tunedModels", ()))
        token = page.get("nextPageToken", "")
        if not token:
            return


def rows_of_lists(server: BenchServer, keys: dict[str, str], most: int) -> list[report.Row]:
    rows = []
    for who, key in keys.items():
        with httpx.Client(base_url=server.url, headers={"x-goog-api-key": key}, timeout=60) as client:
            client.get("/v1beta/tunedModels").raise_for_status()
            for size, words in ((10, ""), (10, "counts"), (10, "nothing-like-this"), (50, ""), (1_000, "")):
                pages = list(walk(client, most, pageSize=size, filter=words))
                what = f"a page of {size}" + (f", filter {words}" if words else "")
                rows.append(
                    report.Row(
                        work=f"{what}, for the {who}",
                        unit="ms",
                        samples={report.OURS: [1000 * passed for passed, _ in pages]},
                        wanted=f"at most {PAGE_MS:g} ms" if size <= USUAL_PAGE else "",
                        at_most=PAGE_MS if size <= USUAL_PAGE else None,
                        facts={"pages": len(pages), "models": sum(length for _, length in pages)},
                    )
                )
    return rows


def singles(server: BenchServer, rounds: int) -> dict[str, list[float]]:
    """Milliseconds of create, get and delete."""
    times: dict[str, list[float]] = {"create": [], "get": [], "delete": []}
    body = tutorial_body()
    with server.client() as client:
        for _ in range(rounds):
            passed, operation = timed(lambda: client.post("/v1beta/tunedModels", json=body))
            times["create"].append(1000 * passed)
            name = operation["metadata"]["tunedModel"]
            times["get"].append(1000 * timed(lambda name=name: client.get(f"/v1beta/{name}"))[0])
            times["delete"].append(1000 * timed(lambda name=name: client.delete(f"/v1beta/{name}"))[0])
    return times


def row_of_cold_adapters(server: BenchServer, most: int) -> report.Row:
    """The first token of models whose adapters lie on the disk only, and of the same models asked again."""
    with server.client() as client:
        made = tune(client)
        adapters = server.data_directory / "adapters"
        residence = client.get(f"/tuningfork/v1/{made}/residence").raise_for_status().json()
        (finished,) = adapters.iterdir()
        for number in range(1, 2 * most, 2):
            shutil.copytree(finished, adapters / f"job{number:05}")
        names = [f"tunedModels/model-{number:05}" for number in range(1, 2 * most, 2)]
        body = {"contents": [{"parts": [{"text": "7"}]}], "generationConfig": {"maxOutputTokens": 1}}

        def first_tokens() -> list[float]:
            return [
                1000 * timed(lambda name=name: client.post(f"/v1beta/{name}:generateContent", json=body))[0]
                for name in names
            ]

        first_tokens_of_base = [
            timed(lambda: client.post(f"/v1beta/{made}:generateContent", json=body)) for _ in range(5)
        ]
        cold, resident = first_tokens(), first_tokens()
    difference = statistics.median(cold) - statistics.median(resident)
    return report.Row(
        work="the first token of a model that is not in memory, beyond that of one that is",
        unit="ms",
        samples={report.OURS: [difference]},
        wanted=f"at most {COLD_MS:g} ms",
        at_most=COLD_MS,
        facts={
            "models": len(names),
            "whole request, not in memory, ms": f"median {statistics.median(cold):.1f}, worst {max(cold):.1f}",
            "whole request, in memory, ms": f"median {statistics.median(resident):.1f}, worst {max(resident):.1f}",
            "resident before": str(residence["resident"]),
            "warm requests before": len(first_tokens_of_base),
        },
    )


def prepared(folder: Path, count: int) -> tuple[Path, dict[str, str]]:
    """A data directory with so many models, and the keys of those who look."""
    directory = folder / f"data{count}"
    directory.mkdir(mode=0o700)
    database = Database.open(f"sqlite:///{directory / 'tuningfork.db'}")
    fill(database, count)
    made = Access(database, lambda: datetime.now(UTC))
    keys = {
        "owner of half": made.create_key("k", OWNER_OF_HALF, "1").key,
        "member of a group and a project": made.create_key("k", MEMBER, str(PROJECT)).key,
        "owner of one": made.create_key("k", LONER, "2").key,
    }
    Groups(database, lambda: datetime.now(UTC)).add(GROUP, [MEMBER])
    database.close()
    (directory / "api-key").write_text(f"{keys['owner of half']}\n")
    return directory, keys


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--pages", type=int, default=200)
    arguments = parser.parse_args()
    rows: list[report.Row] = []
    alone: dict[int, dict[str, list[float]]] = {}
    with tempfile.TemporaryDirectory() as name:
        for count in (FEW, arguments.models):
            directory, keys = prepared(Path(name), count)
            begin = time.perf_counter()
            with running(data=directory) as server:
                alone[count] = {"server start": [1000 * (time.perf_counter() - begin)]}
                alone[count] |= singles(server, arguments.rounds)
                if count == arguments.models:
                    rows += rows_of_lists(server, keys, arguments.pages)
                    rows.append(row_of_cold_adapters(server, arguments.rounds))
    for what, times in alone[arguments.models].items():
        samples = {report.OURS: times, f"among {FEW} models": alone[FEW][what]}
        rows.append(report.Row(work=f"{what} among {arguments.models} models", unit="ms", samples=samples))
    title = f"{arguments.models} tuned models over one base"
    report.show(title, [row.as_json() for row in rows])
    report.write_result("many_models", rows, title=title)


if __name__ == "__main__":
    main()
