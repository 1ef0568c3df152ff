"""Starts waiting jobs on the trainers, and follows each job until it ends.

One thread decides: it claims jobs, renews their leases, asks trainers to stop jobs that were cancelled or deleted, and
queues jobs again whose trainer died. For each running job another thread reads the trainer's events and passes them to
`service/tuning/running.py`. The deciding thread is woken when something changes, and wakes once a second for changes
that other processes make.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tuningfork.domain.errors import Busy, Code, ResourceExhausted
from tuningfork.domain.server_paths import without_directories
from tuningfork.domain.tuning_job import JobId
from tuningfork.execution.base import (
    LAST_EVENTS,
    CheckpointKept,
    Evaluated,
    Failed,
    Finished,
    Generators,
    Paused,
    Resumed,
    Stepped,
    Stopped,
    TrainerDeath,
    TrainerDied,
    Trainers,
    TrainingAssignment,
    TrainingEvent,
    WorkerDied,
    WorkerStuck,
)
from tuningfork.logs.tracebacks import in_words
from tuningfork.service.metrics import Metrics
from tuningfork.service.tuning.running import Running, StepReply
from tuningfork.service.tuning.trainer_losses import PAUSE_SECONDS, TrainerLosses

logger = logging.getLogger(__name__)

POLL_SECONDS = 1.0
GRACE_SECONDS = 5.0
"""When the server closes, how long a trainer may take to finish its step before it is ended."""

LAST_WAIT_SECONDS = 5.0
"""How long the server waits for the jobs' threads after it has ended the trainer. They end at once, unless the disk or
the database is slow."""

SERVER_FAULT = "the server met a fault of its own, which its log describes; ask its operator to look there"
"""Why a job lost its trainer if an unexpected error was the reason, for the job's owner."""


@dataclass(slots=True)
class _Follower:
    """The thread that follows one running job.

    `done`: the thread has finished. `lost` is then why the job has lost its trainer and must be queued again; None: the
    job has ended. `blameless`: the job is not the reason (the disk is full), so the loss does not count towards the
    job's failure. `death` is how its trainer died, where that is known. `is_suspect`: the job is trained alone.
    """

    thread: threading.Thread
    since: float
    is_suspect: bool = False
    done: bool = False
    lost: str | None = None
    blameless: bool = False
    death: TrainerDeath | None = None


class Dispatcher:
    """Keeps up to `concurrency` jobs running. Started once and closed once.

    The deciding thread calls `after_each_round` at the end of each of its rounds: at least once in `poll_seconds`, and
    after every change of a job.
    """

    def __init__(
        self,
        running: Running,
        trainers: Trainers,
        generators: Generators,
        metrics: Metrics,
        *,
        concurrency: int,
        poll_seconds: float = POLL_SECONDS,
        grace_seconds: float = GRACE_SECONDS,
        pause_seconds: float = PAUSE_SECONDS,
        after_each_round: Callable[[], None] = lambda: None,
    ) -> None:
        self._running = running
        self._trainers = trainers
        self._generators = generators
        self._metrics = metrics
        self._concurrency = concurrency
        self._poll_seconds = poll_seconds
        self._grace_seconds = grace_seconds
        self._after_each_round = after_each_round
        self._followers: dict[JobId, _Follower] = {}
        self._woken = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._decide, name="dispatcher", daemon=True)
        self._losses = TrainerLosses(pause_seconds)

    def start(self) -> None:
        """Queue again what this server was running, remove the files of deleted jobs, and begin to take jobs up.

        To be called before requests are served.
        """
        for job_id in self._running.requeue_interrupted():
            self._log(logging.INFO, "job_requeued", job_id, "was interrupted and waits again")
        for job_id in self._running.sweep():
            self._log(logging.INFO, "files_swept", job_id, "was deleted; its files were removed")
        self._running.turns.without_data()
        self._tell_without_data()
        for job in self._running.turns.stranded():
            said = f"{self._running.turns.why_stranded(job)}, or cancel or delete tunedModels/{job.model_id}"
            self._log(logging.WARNING, "base_missing", job.id, said)
        self._thread.start()

    def wake(self) -> None:
        """Wake the deciding thread, since a job was created, cancelled or deleted. May be called from any thread."""
        self._woken.set()

    def healthy(self) -> str | None:
        """Why jobs cannot run at the moment; None if they can."""
        if not self._thread.is_alive() or self._closing.is_set():
            return "the dispatcher is not running"
        if self._losses.is_unhealthy:
            return f"running jobs were lost {self._losses.in_a_row} times in a row; the log says why"
        return self._running.unwritable()

    def close(self) -> None:
        """Pause all running jobs and wait for them. They are queued again, and resume at the next start.

        Jobs pause between steps. If a step takes longer than the grace period, the trainers are closed. A thread that
        still waits then, such as for the database, is left behind; its job is queued again by the next start.
        """
        self._closing.set()
        self._woken.set()
        deadline = time.monotonic() + self._grace_seconds
        if self._thread.ident is not None:
            self._thread.join(self._grace_seconds)
        for job_id in [*self._followers]:
            self._ask_to_pause(job_id)
        threads = [follower.thread for follower in self._followers.values() if follower.thread.ident is not None]
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        if any(thread.is_alive() for thread in threads):
            self._trainers.close()
        deadline = time.monotonic() + LAST_WAIT_SECONDS
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        if not self._thread.is_alive():
            self._take_back()

    def _decide(self) -> None:
        while not self._closing.is_set():
            self._woken.clear()
            try:
                self._keep_leases()
                self._take_back()
                self._stop_unwanted()
                self._take_up()
                self._tell_without_data()
                self._running.remove_deferred()
                self._after_each_round()
            except Busy as error:
                logger.warning("the dispatcher waits: %s", error.message, extra={"action": "database_busy"})
            except ResourceExhausted as error:
                # The dispatcher tries again after a pause.
                logger.warning("the dispatcher waits: %s", error.message, extra={"action": "disk_full"})
                self._closing.wait(self._poll_seconds)
            except Exception:
                logger.exception("the dispatcher stumbled and will try again", extra={"action": "dispatch_failed"})
                self._closing.wait(self._poll_seconds)
            pause = self._losses.seconds_to_wait
            self._woken.wait(min(self._poll_seconds, pause) if pause else self._poll_seconds)

    def _keep_leases(self) -> None:
        for job_id in self._running.keep_leases():
            self._log(logging.WARNING, "job_abandoned", job_id, "lost its server and waits again")

    def _take_back(self) -> None:
        """Forget threads that have ended, and queue the jobs again that have lost their trainer."""
        for job_id, follower in [*self._followers.items()]:
            if not follower.done:
                continue
            if follower.lost is not None:
                closing = self._closing.is_set()
                self._give_back(job_id, follower, died=not (closing or follower.blameless))
                if not closing:
                    self._losses.lost(follower.since)
            del self._followers[job_id]

    def _give_back(self, job_id: JobId, follower: _Follower, *, died: bool) -> None:
        death = follower.death
        shared = death.id if died and death is not None and death.is_shared else None
        if shared:
            self._log(
                logging.WARNING, "job_suspected", job_id, "will be trained alone until it has completed a further step"
            )
        self._running.give_back(job_id, died=died, reason=follower.lost or "", shared_death=shared)

    def _stop_unwanted(self) -> None:
        if self._followers:
            for job_id in self._running.unwanted(self._followers):
                self._ask_to_stop(job_id)

    def _take_up(self) -> None:
        while True:
            now = time.monotonic()
            running = {job_id: now - follower.since for job_id, follower in self._followers.items()}
            turn = self._running.turns.turn(running, self._concurrency + self._held_up())
            for job_id in turn.pause:
                self._ask_to_pause(job_id)
            if self._closing.is_set() or self._losses.seconds_to_wait:
                return
            if not turn.next:
                if not self._followers:
                    # No job is running, so the job that caused the losses has ended.
                    self._losses.ended()
                return
            assignment = self._running.claim(turn.next)
            if assignment is None:
                return
            self._begin(assignment, is_suspect=turn.alone)

    def _held_up(self) -> int:
        """How many jobs of the trainer it cannot take up at the moment: others have their places, at most as many."""
        held_up = (job_id for job_id, each in self._trainers.beginnings().items() if each.held_up_by)
        return min(self._concurrency, sum(job_id in self._followers for job_id in held_up))

    def _tell_without_data(self) -> None:
        """Log each waiting job that this server cannot train for lack of files, once."""
        turns = self._running.turns
        for job_id, missing in turns.newly_without_data().items():
            lacks = f"lacks its {' and its '.join(missing)}"
            if turns.has_some_files(job_id):
                said = (
                    f"waits: this server has some of its files and {lacks}. Restore what is missing from a backup, or "
                    f"cancel or delete tunedModels/{self._running.names.model_of(job_id)}"
                )
                self._log(logging.WARNING, "data_missing", job_id, said)
            else:
                said = f"waits for a server that has its files; this one {lacks}"
                self._log(logging.INFO, "data_elsewhere", job_id, said)

    def _begin(self, assignment: TrainingAssignment, *, is_suspect: bool) -> None:
        """Start the thread that follows the job."""
        self._log(logging.INFO, "job_claimed", assignment.job_id, "is taken up")
        thread = threading.Thread(target=self._follow, args=(assignment,), name=f"job {assignment.job_id}", daemon=True)
        self._followers[assignment.job_id] = follower = _Follower(thread, since=time.monotonic(), is_suspect=is_suspect)
        try:
            thread.start()
        except RuntimeError:
            # The system starts no further thread, for which the job is not to blame.
            labels = self._running.names.labels("job_fault", assignment.job_id)
            logger.exception("job %s has no thread", assignment.job_id, extra=labels)
            follower.done, follower.lost, follower.blameless = True, SERVER_FAULT, True

    def _follow(self, assignment: TrainingAssignment) -> None:
        """Pass on the job's events until it ends. An error affects only this job."""
        job_id = assignment.job_id
        follower = self._followers[job_id]
        try:
            self._warm_generator(assignment)
            self._pull(assignment)
        except WorkerDied as error:
            self._metrics.worker_deaths.labels("trainer").inc()
            self._log(logging.WARNING, "worker_died", job_id, f"lost its trainer: {error.message}")
            follower.lost, follower.blameless = error.message, isinstance(error, WorkerStuck)
            if isinstance(error, TrainerDied):
                follower.death, follower.blameless = error.death, error.death.is_blameless
        except Busy as error:
            self._log(logging.WARNING, "database_busy", job_id, f"could not be recorded: {error.message}")
            follower.lost, follower.blameless = error.message, True
        except ResourceExhausted as error:
            self._log(logging.WARNING, "disk_full", job_id, f"could not be recorded: {error.message}")
            follower.lost, follower.blameless = error.message, True
        except Exception:
            logger.exception("job %s met a fault", job_id, extra=self._running.names.labels("job_fault", job_id))
            follower.lost = SERVER_FAULT
        finally:
            follower.done = True
            self._woken.set()

    def _pull(self, assignment: TrainingAssignment) -> None:
        job_id = assignment.job_id
        events = self._trainers.train(assignment)
        for event in events:
            try:
                reply = self._pass_on(job_id, event)
            except Exception as error:
                if not isinstance(event, LAST_EVENTS):
                    self._withdraw(job_id, events, error)
                raise
            match reply:
                case None:
                    return
                case StepReply.STOP:
                    self._ask_to_stop(job_id)
                case StepReply.CONTINUE if self._closing.is_set():
                    self._ask_to_pause(job_id)
                case StepReply.CONTINUE if self._followers[job_id].is_suspect:
                    # After this step the job may not be a suspect any more, so that other jobs can be started.
                    self._woken.set()
        raise WorkerDied("the trainer's events ended before the job did")

    def _withdraw(self, job_id: JobId, events: Iterator[TrainingEvent], error: Exception) -> None:
        """Pause the job, whose event could not be recorded, and wait until its trainer has let it go.

        Only then can the job be queued again, since a trainer must not have it twice. The events until then are
        dropped: when the job resumes, the trainer reports its snapshots and checkpoints again.
        """
        self._log(
            logging.WARNING,
            "job_withdrawn",
            job_id,
            f"is paused, since an event could not be recorded: {in_words(error)}",
        )
        self._ask_to_pause(job_id)
        for _ in events:
            pass

    def _pass_on(self, job_id: JobId, event: TrainingEvent) -> StepReply | None:
        """Pass the event to the service, and return its reply; None: it was the last event."""
        match event:
            case Resumed(step=step, snapshots=snapshots, evaluations=evaluated):
                return self._running.resumed(job_id, step, snapshots, evaluated)
            case Stepped(snapshot=snapshot, tokens=tokens):
                self._losses.ended()
                return self._running.record(job_id, snapshot, tokens)
            case Evaluated(evaluation=evaluation):
                return self._running.evaluated(job_id, evaluation)
            case CheckpointKept(step=step, epoch=epoch, adapter=adapter):
                return self._running.checkpoint_kept(job_id, step, epoch, adapter)
            case Finished(adapter=adapter):
                self._running.finish(job_id, adapter)
            case Stopped(adapter=partial):
                self._running.stopped(job_id, partial)
            case Paused():
                self._running.give_back(job_id, died=False, reason="paused between steps")
            case Failed(code=Code.RESOURCE_EXHAUSTED, message=message):
                raise ResourceExhausted(message)
            case Failed(code=code, message=message):
                self._fail(job_id, code, message)
        return None

    def _fail(self, job_id: JobId, code: Code, message: str) -> None:
        if code is Code.INTERNAL:
            # With the directories, of which its owner is not told.
            self._log(logging.WARNING, "job_refused", job_id, f"cannot be trained: {message}")
        self._running.fail(job_id, code, without_directories(message))

    def _warm_generator(self, assignment: TrainingAssignment) -> None:
        # The generator loads the base while the job trains, so that the model can answer as soon as it is ready.
        try:
            self._generators.warm(assignment.base)
        except WorkerDied as error:
            self._log(logging.INFO, "warm_failed", assignment.job_id, f"goes on without its generator: {error.message}")
        except Exception:
            logger.exception("the generator was not warmed", extra={"action": "warm_failed"})

    def _ask_to_stop(self, job_id: JobId) -> None:
        self._ask(self._trainers.stop, job_id)

    def _ask_to_pause(self, job_id: JobId) -> None:
        self._ask(self._trainers.pause, job_id)

    def _ask(self, command: Callable[[JobId], None], job_id: JobId) -> None:
        try:
            command(job_id)
        except Exception:
            # A trainer that cannot be asked has died or is dying; the job's thread will notice that.
            logger.exception(
                "job %s could not be asked to stop", job_id, extra=self._running.names.labels("stop_failed", job_id)
            )

    def _log(self, level: int, action: str, job_id: JobId, message: str) -> None:
        logger.log(level, "job %s %s", job_id, message, extra=self._running.names.labels(action, job_id))
