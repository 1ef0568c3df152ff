"""Several at a time: threads that pull at one job, processes that share one database, and a server that is killed."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from fakes import ECHO_CATALOG, Clock
from patience import PATIENCE_SECONDS
from tuningfork.domain.errors import AlreadyExists, Code, NotFound
from tuningfork.domain.tuned_model import ModelState, TunedModelId
from tuningfork.domain.tuning_job import JobState, Snapshot
from tuningfork.execution.dataset_file import DatasetFile
from tuningfork.service.metrics import Metrics
from tuningfork.service.tuning.running import Running
from tuningfork.service.tuning.tuning import Tuning
from tuningfork.store.artifacts import Artifacts
from tuningfork.store.database import Database
from workshop import ADA, BOB, NUMBER_PAIRS, SERVER, number_request

SUPPORT = Path(__file__).parents[1] / "support"


def at_once(*actions):
    """Run the actions in threads that begin together; an exception of any of them is raised here."""
    barrier, errors = threading.Barrier(len(actions)), []

    def run(action):
        barrier.wait()
        try:
            action()
        except Exception as error:  # noqa: BLE001 - handed to the caller
            errors.append(error)

    threads = [threading.Thread(target=run, args=(action,)) for action in actions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


@pytest.fixture
def started(workshop):
    """Makes jobs that run and have one step and an adapter."""

    def start():
        tuned = workshop.tuning.create(ADA, number_request())
        assignment = workshop.running.claim()
        snapshot = Snapshot(step=1, epoch=0, mean_loss=1.0, compute_time=workshop.clock())
        workshop.running.record(assignment.job_id, snapshot, tokens=1)
        adapter = assignment.work.below("adapter")
        with workshop.artifacts.store.writing(adapter) as directory:
            directory.mkdir()
        return tuned, adapter

    return start


class TestThreads:
    @pytest.mark.parametrize("round_", range(5))
    def test_a_cancel_beside_a_finish_leaves_one_end(self, workshop, started, round_):
        tuned, adapter = started()
        at_once(
            lambda: workshop.tuning.cancel(ADA, tuned.model.id),
            lambda: workshop.running.finish(tuned.job.id, adapter),
        )
        ended = workshop.tuning.get(ADA, tuned.model.id)
        assert (ended.model.state, ended.job.state, ended.job.error) == (ModelState.ACTIVE, JobState.SUCCEEDED, None)

    @pytest.mark.parametrize("round_", range(5))
    @pytest.mark.parametrize(
        "end",
        [
            lambda running, job_id, adapter: running.finish(job_id, adapter),
            lambda running, job_id, adapter: running.stopped(job_id, adapter),
            lambda running, job_id, adapter: running.fail(job_id, Code.INTERNAL, "The loss is not finite."),
            lambda running, job_id, adapter: running.give_back(job_id, died=True),
        ],
        ids=["finish", "stopped", "fail", "give_back"],
    )
    def test_a_delete_beside_any_end_leaves_nothing(self, workshop, started, artifacts, end, round_):
        tuned, adapter = started()
        at_once(
            lambda: workshop.tuning.delete(ADA, tuned.model.id),
            lambda: end(workshop.running, tuned.job.id, adapter),
        )
        with pytest.raises(NotFound):
            workshop.tuning.get(ADA, tuned.model.id)
        assert artifacts.job_ids() == set()

    @pytest.mark.parametrize("round_", range(5))
    def test_a_cancel_beside_a_claim_ends_the_job_or_tells_its_trainer(self, workshop, round_):
        tuned, claimed = workshop.tuning.create(ADA, number_request()), []
        at_once(
            lambda: workshop.tuning.cancel(ADA, tuned.model.id),
            lambda: claimed.append(workshop.running.claim()),
        )
        job = workshop.job(tuned)
        if claimed == [None]:
            assert (job.state, job.cancel_requested) == (JobState.CANCELLED, False)
        else:
            assert (job.state, job.cancel_requested) == (JobState.RUNNING, True)

    def test_a_chosen_id_goes_to_one_of_many(self, workshop, artifacts):
        made = []

        def create(principal):
            try:
                made.append(workshop.tuning.create(principal, number_request(tuned_model_id="abc")).job.id)
            except AlreadyExists:
                made.append(None)

        at_once(*(lambda principal=principal: create(principal) for principal in [ADA, BOB] * 3))

        winners = [job_id for job_id in made if job_id is not None]
        assert (len(made), len(winners)) == (6, 1)
        assert artifacts.job_ids() == set(winners)

    def test_steps_are_kept_while_others_create_list_and_delete(self, workshop, started):
        tuned, _ = started()

        def record():
            for step in range(2, 20):
                snapshot = Snapshot(step=step, epoch=0, mean_loss=1.0, compute_time=workshop.clock())
                workshop.running.record(tuned.job.id, snapshot, tokens=1)

        def come_and_go():
            for _ in range(5):
                other = workshop.tuning.create(BOB, number_request())
                workshop.tuning.list(BOB)
                workshop.tuning.delete(BOB, other.model.id)

        at_once(record, come_and_go, come_and_go)
        assert workshop.job(tuned).completed_steps == 19


CLAIM_ALL = """
import os, sys
from fakes import ECHO_CATALOG, Clock
from patience import PATIENCE_SECONDS
from pathlib import Path
from prometheus_client import CollectorRegistry
from tuningfork.service.metrics import Metrics
from tuningfork.service.tuning.running import Running
from tuningfork.store.artifacts import Artifacts
from tuningfork.store.database import Database
url, root = sys.argv[1:]
database = Database.open(url)
parts = (database, Artifacts(Path(root)), ECHO_CATALOG, Clock(), Metrics(CollectorRegistry()))
running = Running(*parts, server=f"server-{os.getpid()}", savepoint_every=0)
print("ready", flush=True)
sys.stdin.readline()
while (assignment := running.claim()) is not None:
    print(assignment.job_id, flush=True)
"""

CREATE_FOREVER = """
import random, sys
from datetime import UTC, datetime
from fakes import ECHO_CATALOG
from pathlib import Path
from prometheus_client import CollectorRegistry
from workshop import ADA, number_request
from tuningfork.service.metrics import Metrics
from tuningfork.service.tuning.tuning import Tuning
from tuningfork.store.artifacts import Artifacts
from tuningfork.store.database import Database
url, root = sys.argv[1:]
database = Database.open(url)
chance, clock = random.SystemRandom().getrandbits, lambda: datetime.now(UTC)
tuning = Tuning(database, Artifacts(Path(root)), ECHO_CATALOG, clock, chance, Metrics(CollectorRegistry()))
print("ready", flush=True)
while True:
    print(tuning.create(ADA, number_request()).model.id, flush=True)
"""


def process(code, *arguments):
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(SUPPORT), os.environ.get("PYTHONPATH", "")]),
    }
    command = [sys.executable, "-c", code, *map(str, arguments)]
    started = subprocess.Popen(
        command, env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert started.stdout.readline() == "ready\n", started.communicate()
    return started


class TestProcesses:
    def test_each_job_goes_to_one_of_several_servers(self, workshop, database_url, tmp_path):
        made = {workshop.tuning.create(ADA, number_request()).job.id for _ in range(20)}
        servers = [process(CLAIM_ALL, database_url, tmp_path / "artifacts") for _ in range(2)]
        outputs = [server.communicate("go\n", timeout=PATIENCE_SECONDS) for server in servers]

        taken = [line for output, _ in outputs for line in output.split()]
        assert [error for _, error in outputs] == ["", ""]
        assert sorted(taken) == sorted(made)

    @pytest.mark.parametrize("round_", range(3))
    def test_what_a_killed_server_acknowledged_is_there_with_its_data(self, database_url, tmp_path, round_):
        server = process(CREATE_FOREVER, database_url, tmp_path / "artifacts")
        output = "".join(server.stdout.readline() for _ in range(5 + round_))
        # In the middle of one of the next.
        time.sleep(0.003 * round_)
        server.send_signal(signal.SIGKILL)
        output += server.stdout.read()
        error = server.stderr.read()
        server.communicate()
        # A last line without an end was cut short: nobody received it.
        acknowledged = [TunedModelId(line.strip()) for line in output.splitlines(keepends=True) if line[-1] == "\n"]

        database = Database.open(database_url)
        artifacts, clock, metrics = Artifacts(tmp_path / "artifacts"), Clock(), Metrics(CollectorRegistry())
        tuning = Tuning(database, artifacts, ECHO_CATALOG, clock, lambda _bits: 0, metrics)
        running = Running(database, artifacts, ECHO_CATALOG, clock, metrics, server=SERVER, savepoint_every=0)
        swept = running.sweep()
        found = [tuning.get(ADA, model_id) for model_id in acknowledged]
        kept = tuning.list(ADA, page_size=1_000).items
        database.close()

        assert error == ""
        assert len(found) > 0
        assert all(tuple(DatasetFile(artifacts.dataset_path(tuned.job.id))) == NUMBER_PAIRS for tuned in found)
        assert len(kept) - len(found) <= 1, "at most the one whose answer was on its way"
        assert len(swept) <= 1, "at most the one whose row was not yet written"
        assert artifacts.job_ids() == {tuned.job.id for tuned in kept}
