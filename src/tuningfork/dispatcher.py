"""Brings waiting jobs to the executor and follows each until it ends.

One thread decides: it takes jobs up, asks for those to stop that nobody wants any more, and takes back what was lost.
One thread a running job pulls the executor's events and passes them to `service/running.py`. The deciding thread is
woken when something changes and looks by itself now and then, for changes made by other processes.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from tuningfork.domain.errors import ResourceExhausted, RpcCode
from tuningfork.domain.tuning_job import JobId
from tuningfork.execution.base import (
    Executor,
    Failed,
    Finished,
    Resumed,
    Stepped,
    Stopped,
    TrainingAssignment,
    TrainingEvent,
    WorkerDied,
)
from tuningfork.service.metrics import Metrics
from tuningfork.service.running import Running, Verdict

logger = logging.getLogger(__name__)

POLL_SECONDS = 1.0
GRACE_SECONDS = 5.0
"""How long a running step may take when the server is closed, before the workers are ended in the middle of it."""

PAUSE_SECONDS = 1.0
"""How long no job is taken up after two losses in a row; doubled with each further one."""

MAX_PAUSE_SECONDS = 30.0
UNHEALTHY_LOSSES = 3


@dataclass(slots=True)
class _Follower:
    """The thread of one running job. When it is `done` and has `lost` the job, the job must be given back.

    `blameless` says that the job is certainly not the reason, however often it is lost.
    """

    thread: threading.Thread
    since: float
    done: bool = False
    lost: str | None = None
    blameless: bool = False


class Dispatcher:
    """Keeps up to `concurrency` jobs running. Started once and closed once.

    `also` is called whenever the dispatcher has looked itself: once a poll, and after every change of a job.
    """

    def __init__(
        self,
        running: Running,
        executor: Executor,
        metrics: Metrics,
        *,
        concurrency: int,
        poll_seconds: float = POLL_SECONDS,
        grace_seconds: float = GRACE_SECONDS,
        pause_seconds: float = PAUSE_SECONDS,
        also: Callable[[], None] = lambda: None,
    ) -> None:
        self._running = running
        self._executor = executor
        self._metrics = metrics
        self._concurrency = concurrency
        self._poll_seconds = poll_seconds
        self._grace_seconds = grace_seconds
        self._pause_seconds = pause_seconds
        self._also = also
        self._followers: dict[JobId, _Follower] = {}
        self._woken = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._decide, name="dispatcher", daemon=True)
        self._losses_in_a_row = 0
        self._last_loss = 0.0
        self._paused_until = 0.0

    def start(self) -> None:
        """Put the house in order after the last run, then begin to take jobs up. Before requests are served."""
        for job_id in self._running.requeue_interrupted():
            _log(logging.INFO, "job_requeued", job_id, "was interrupted and waits again")
        for job_id in self._running.sweep():
            _log(logging.INFO, "files_swept", job_id, "is gone; its files were removed")
        for job in self._running.stranded():
            said = (
                f"waits for {job.base_model}, which this server does not have: start it with that base model again, or "
                f"cancel or delete tunedModels/{job.model_id}"
            )
            _log(logging.WARNING, "base_missing", job.id, said)
        self._thread.start()

    def wake(self) -> None:
        """Look at once: a job was created, cancelled or deleted. May be called from any thread, at any time."""
        self._woken.set()

    def healthy(self) -> str | None:
        """Why jobs cannot be worked on at the moment; None if they can."""
        if not self._thread.is_alive() or self._closing.is_set():
            return "the dispatcher is not running"
        if self._losses_in_a_row >= UNHEALTHY_LOSSES:
            return f"running jobs were lost {self._losses_in_a_row} times in a row; the log says why"
        return self._running.unwritable()

    def close(self) -> None:
        """Stop all running jobs and wait for them; they are given back and resume at the next start.

        Jobs stop between steps. When a step outlasts the grace, the executor is closed to end it.
        """
        self._closing.set()
        self._woken.set()
        if self._thread.ident is not None:
            self._thread.join()
        deadline = time.monotonic() + self._grace_seconds
        for job_id in self._followers:
            self._ask_to_stop(job_id)
        threads = [follower.thread for follower in self._followers.values() if follower.thread.ident is not None]
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        if any(thread.is_alive() for thread in threads):
            self._executor.close()
        for thread in threads:
            thread.join()
        self._take_back()

    def _decide(self) -> None:
        while not self._closing.is_set():
            self._woken.clear()
            try:
                self._take_back()
                self._stop_unwanted()
                self._take_up()
                self._also()
            except ResourceExhausted as error:
                # What was not done stays to be done, and is tried again after a pause.
                logger.warning("the dispatcher waits: %s", error.message, extra={"action": "disk_full"})
                self._closing.wait(self._poll_seconds)
            except Exception:
                logger.exception("the dispatcher stumbled and will try again", extra={"action": "dispatch_failed"})
                self._closing.wait(self._poll_seconds)
            pause = self._paused_until - time.monotonic()
            self._woken.wait(min(self._poll_seconds, pause) if pause > 0 else self._poll_seconds)

    def _take_back(self) -> None:
        """Let go of threads that have ended, and give the jobs back that they lost."""
        for job_id, follower in [*self._followers.items()]:
            if not follower.done:
                continue
            if follower.lost is not None:
                closing = self._closing.is_set()
                self._running.give_back(job_id, died=not (closing or follower.blameless), reason=follower.lost)
                # Jobs that shared a trainer are lost together: only one that was begun afterwards is a further loss.
                if not closing and follower.since > self._last_loss:
                    self._pause_after_loss()
            del self._followers[job_id]

    def _pause_after_loss(self) -> None:
        """The first loss is made good at once; after others in a row, wait longer and longer."""
        self._losses_in_a_row += 1
        self._last_loss = time.monotonic()
        if self._losses_in_a_row > 1:
            pause = self._pause_seconds * 2.0 ** (self._losses_in_a_row - 2)
            self._paused_until = time.monotonic() + min(MAX_PAUSE_SECONDS, pause)

    def _stop_unwanted(self) -> None:
        if self._followers:
            for job_id in self._running.unwanted(self._followers):
                self._ask_to_stop(job_id)

    def _take_up(self) -> None:
        while self._has_room():
            assignment = self._running.claim()
            if assignment is None:
                if not self._followers:
                    # Whatever was at fault has ended with its jobs.
                    self._losses_in_a_row = 0
                return
            _log(logging.INFO, "job_claimed", assignment.job_id, "is taken up")
            thread = threading.Thread(
                target=self._follow, args=(assignment,), name=f"job {assignment.job_id}", daemon=True
            )
            self._followers[assignment.job_id] = follower = _Follower(thread, since=time.monotonic())
            try:
                thread.start()
            except RuntimeError as error:
                follower.done, follower.lost = True, str(error)

    def _has_room(self) -> bool:
        paused = time.monotonic() < self._paused_until
        return len(self._followers) < self._concurrency and not paused and not self._closing.is_set()

    def _follow(self, assignment: TrainingAssignment) -> None:
        """Pass on the job's events until it ends. Whatever goes wrong concerns this job only."""
        job_id = assignment.job_id
        follower = self._followers[job_id]
        try:
            self._warm_generator(assignment)
            self._pull(assignment)
        except WorkerDied as error:
            self._metrics.worker_deaths.labels("trainer").inc()
            _log(logging.WARNING, "worker_died", job_id, f"lost its trainer: {error.message}")
            follower.lost = error.message
        except ResourceExhausted as error:
            _log(logging.WARNING, "disk_full", job_id, f"could not be recorded: {error.message}")
            follower.lost, follower.blameless = error.message, True
        except Exception as error:
            logger.exception("job %s met a fault", job_id, extra={"action": "job_fault", "job": job_id})
            follower.lost = f"{type(error).__name__}: {error}"
        finally:
            follower.done = True
            self._woken.set()

    def _pull(self, assignment: TrainingAssignment) -> None:
        job_id = assignment.job_id
        for event in self._executor.train(assignment):
            match self._pass_on(job_id, event):
                case None:
                    return
                case Verdict.STOP:
                    self._ask_to_stop(job_id)
                case Verdict.GO_ON if self._closing.is_set():
                    self._ask_to_stop(job_id)
        raise WorkerDied("the trainer's events ended before the job did")

    def _pass_on(self, job_id: JobId, event: TrainingEvent) -> Verdict | None:
        """Note the event; None if it was the last."""
        match event:
            case Resumed(step=step, snapshots=snapshots):
                return self._running.resumed(job_id, step, snapshots)
            case Stepped(snapshot=snapshot, tokens=tokens):
                self._losses_in_a_row = 0
                return self._running.record(job_id, snapshot, tokens)
            case Finished(adapter_directory=directory):
                self._running.finish(job_id, directory)
            case Stopped(adapter_directory=partial):
                self._running.stopped(job_id, partial)
            case Failed(code=RpcCode.RESOURCE_EXHAUSTED, message=message):
                raise ResourceExhausted(message)
            case Failed(code=code, message=message):
                self._running.fail(job_id, code, message)
        return None

    def _warm_generator(self, assignment: TrainingAssignment) -> None:
        # While the job trains, the generator loads the base: the model answers the moment it is made.
        try:
            self._executor.warm(assignment.base)
        except Exception:
            logger.exception("the generator was not warmed", extra={"action": "warm_failed"})

    def _ask_to_stop(self, job_id: JobId) -> None:
        try:
            self._executor.stop(job_id)
        except Exception:
            # A worker that cannot be told to stop has died or is about to; its follower will learn of it.
            logger.exception("job %s could not be asked to stop", job_id, extra={"action": "stop_failed"})


def _log(level: int, action: str, job_id: JobId, said: str) -> None:
    logger.log(level, "job %s %s", job_id, said, extra={"action": action, "job": job_id})
