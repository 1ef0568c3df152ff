"""The loop that has the examples of jobs read from buckets, after which the dispatcher takes the jobs up."""

import logging
import threading
import time
from collections.abc import Callable

from tuningfork.domain.errors import (
    BaseUnusable,
    Busy,
    Cancelled,
    Code,
    InternalError,
    ResourceExhausted,
    TuningforkError,
    Unavailable,
)
from tuningfork.domain.server_paths import without_directories
from tuningfork.domain.tuning_job import JobId
from tuningfork.execution.base import WorkerDied
from tuningfork.execution.preparation import PreparationRequest, Preparers
from tuningfork.service.tuning.preparing import Preparing

logger = logging.getLogger(__name__)

POLL_SECONDS = 1.0
"""How often the loop looks for jobs that were cancelled or deleted."""
PLACES = 4
"""How many jobs are prepared at a time, each of another owner. A preparer takes some hundred megabytes."""
PAUSE_SECONDS = 5.0
"""How long a job is not claimed that had to wait again, such as for a bucket that cannot be reached; and how long no
job is claimed after the disk was full, or the database busy."""
LAST_WAIT_SECONDS = 10.0
"""How long the threads of preparations are waited for after these were ended."""


class Preparer:
    """Claims jobs that wait to be prepared, and follows each in a thread of its own.

    Args:
        preparing: the use cases.
        preparers: read and check the files.
        places: how many jobs are prepared at a time, each of another owner.
        prepared: called when a job has been queued.
        poll_seconds: how often the loop looks for jobs that were cancelled or deleted.
        pause_seconds: how long a job is not claimed that had to wait again.

    """

    def __init__(
        self,
        preparing: Preparing,
        preparers: Preparers,
        *,
        places: int = PLACES,
        prepared: Callable[[], None] = lambda: None,
        poll_seconds: float = POLL_SECONDS,
        pause_seconds: float = PAUSE_SECONDS,
    ) -> None:
        self._preparing = preparing
        self._preparers = preparers
        self._places = places
        self._prepared = prepared
        self._poll_seconds = poll_seconds
        self._pause_seconds = pause_seconds
        self._followers: dict[JobId, threading.Thread] = {}
        self._paused_until = 0.0
        # When each job that had to wait again may be claimed, on the monotonic clock.
        self._not_before: dict[JobId, float] = {}
        self._woken = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._decide, name="preparer", daemon=True)

    def start(self) -> None:
        """Let the jobs wait again that this server was preparing, and begin to claim jobs."""
        for job_id in self._preparing.requeue_interrupted():
            logger.info("job %s will be prepared again", job_id, extra={"action": "job_requeued", "job": job_id})
        self._thread.start()

    def wake(self) -> None:
        """Wake the loop, since a job was created, cancelled or deleted. May be called from any thread."""
        self._woken.set()

    def waits_for(self, job_id: JobId) -> str:
        """See `Preparing.waits_for`."""
        return self._preparing.waits_for(job_id)

    def close(self) -> None:
        """End all preparations; their jobs wait again, and are prepared by the next start."""
        self._closing.set()
        self._woken.set()
        if self._thread.ident is not None:
            self._thread.join(LAST_WAIT_SECONDS)
        self._preparers.close()
        deadline = time.monotonic() + LAST_WAIT_SECONDS
        for thread in [*self._followers.values()]:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _decide(self) -> None:
        while not self._closing.is_set():
            self._woken.clear()
            try:
                self._followers = {job_id: each for job_id, each in self._followers.items() if each.is_alive()}
                self._preparing.let_go(besides=self._followers)
                self._preparing.keep_leases()
                self._preparing.tidy(besides=self._followers)
                self._preparing.end_hopeless()
                for job_id in self._preparing.unwanted(self._followers.keys()) if self._followers else ():
                    self._preparers.cancel(job_id)
                self._take_up()
            except (Busy, ResourceExhausted) as error:
                logger.warning("preparing waits: %s", error.message, extra={"action": "preparing_waits"})
                self._pause()
            except Exception:
                logger.exception("preparing stumbled and will try again", extra={"action": "preparing_failed"})
                self._pause()
            self._woken.wait(self._poll_seconds)

    def _take_up(self) -> None:
        now = time.monotonic()
        for job_id in [job_id for job_id, moment in [*self._not_before.items()] if moment <= now]:
            self._not_before.pop(job_id, None)
        while len(self._followers) < self._places and now >= self._paused_until:
            request = self._preparing.claim(self._not_before)
            if request is None or self._closing.is_set():
                return
            name = f"preparing {request.job_id}"
            thread = threading.Thread(target=self.follow, args=(request,), name=name, daemon=True)
            self._followers[request.job_id] = thread
            thread.start()

    def follow(self, request: PreparationRequest) -> None:
        """Have the job prepared, and say what became of it. An error affects only this job."""
        try:
            self._prepare(request)
        except Exception:
            # The loop lets it go, so that it waits again when its lease has run out.
            extra = {"action": "preparing_failed", "job": request.job_id}
            logger.exception("what became of job %s could not be recorded", request.job_id, extra=extra)
            self._pause()
        finally:
            self._woken.set()

    def _prepare(self, request: PreparationRequest) -> None:
        job_id = request.job_id
        try:
            self._preparing.finish(job_id, self._preparers.prepare(request))
        except Cancelled:
            self._preparing.give_back(job_id, died=False, reason="it was stopped")
        except (Busy, ResourceExhausted) as error:
            self._wait_again(job_id, error, counts=False)
            self._pause()
        except WorkerDied as error:
            self._wait_again(job_id, error, counts=not self._closing.is_set())
        except Unavailable as error:
            self._wait_for_files(job_id, error)
        except BaseUnusable as error:
            logger.warning("job %s cannot be prepared: %s", job_id, error.message, extra={"action": "job_refused"})
            self._preparing.fail(job_id, Code.INTERNAL, without_directories(error.message))
        except InternalError as error:
            self._wait_again(job_id, error, counts=True)
        except TuningforkError as error:
            # Whatever is wrong with the files is the caller's to mend, also one that is gone.
            self._preparing.fail(job_id, Code.INVALID_ARGUMENT, error.message)
        except Exception:
            logger.exception("job %s met a fault", job_id, extra={"action": "job_fault", "job": job_id})
            self._not_before[job_id] = time.monotonic() + self._pause_seconds
            self._preparing.give_back(job_id, died=True, reason="the server met a fault; its log says more")
        else:
            self._prepared()

    def _wait_again(self, job_id: JobId, error: Exception, *, counts: bool) -> None:
        said = getattr(error, "message", str(error))
        logger.warning("job %s was not prepared: %s", job_id, said, extra={"action": "preparing_waits", "job": job_id})
        self._not_before[job_id] = time.monotonic() + self._pause_seconds
        self._preparing.give_back(job_id, died=counts, reason=without_directories(said))

    def _wait_for_files(self, job_id: JobId, error: Unavailable) -> None:
        """Let a job wait again whose files cannot be read at the moment; it fails if it has waited for long enough."""
        said = without_directories(error.message)
        labels = {"action": "preparing_waits", "job": job_id}
        # It must not be claimed between being given back and the moment that is then known.
        self._not_before[job_id] = time.monotonic() + self._pause_seconds
        pause = self._preparing.give_back_unread(job_id, reason=said)
        if pause is None:
            logger.warning("job %s waits for its files no longer: %s", job_id, said, extra=labels)
            return
        self._not_before[job_id] = time.monotonic() + pause
        logger.warning("job %s is tried again in %.0f s: %s", job_id, pause, said, extra=labels)

    def _pause(self) -> None:
        self._paused_until = time.monotonic() + self._pause_seconds
