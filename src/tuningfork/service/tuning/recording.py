"""Records what a trainer reports about a running job: its evaluations, its checkpoints, and from where it goes on."""

import logging
from collections.abc import Collection

from tuningfork.artifacts.base import ArtifactMissing
from tuningfork.domain.artifact import ArtifactRef
from tuningfork.domain.evaluation import Evaluation
from tuningfork.domain.tuning_job import JobId, Snapshot
from tuningfork.service.tuning import checkpointing
from tuningfork.store import checkpoints, evaluations, leases, tuning_jobs
from tuningfork.store import snapshots as snapshot_rows
from tuningfork.store.artifacts import Artifacts
from tuningfork.store.database import Database, Transaction
from tuningfork.store.leases import Claim

logger = logging.getLogger(__name__)


def rewind(
    connection: Transaction,
    job_id: JobId,
    step: int,
    snapshots: Collection[Snapshot],
    evaluated: Collection[Evaluation],
) -> None:
    """Set a job back to a step: remove what came later, and restore what the database has lost.

    `snapshots` and `evaluated` are those up to the step, as the savepoint has them.
    """
    snapshot_rows.drop_snapshots(connection, job_id, after_step=step)
    snapshot_rows.add_missing_snapshots(connection, job_id, snapshots)
    checkpoints.drop_checkpoints(connection, job_id, after_step=step)
    evaluations.drop_evaluations(connection, job_id, after_step=step)
    evaluations.add_missing_evaluations(connection, job_id, evaluated)


def record_evaluation(database: Database, claim: Claim, evaluation: Evaluation) -> bool:
    """Record an evaluation, in place of an earlier one of the same step; False if the claim is not valid."""
    with database.write() as connection:
        held = leases.hold(connection, claim)
        if held:
            evaluations.put_evaluation(connection, claim.job_id, evaluation)
    return held


def keep_checkpoint(
    database: Database, artifacts: Artifacts, claim: Claim, step: int, epoch: int, adapter: ArtifactRef
) -> None:
    """Copy an adapter from the trainer's work to a checkpoint, and record it, if the claim is valid.

    Does nothing if the checkpoint is recorded already, or if the job keeps its best checkpoint and this is not it.

    Raises:
        ArtifactMissing: there is no such adapter.
        ResourceExhausted: the disk is full.

    """
    with database.read() as connection:
        job = tuning_jobs.find(connection, claim.job_id)
        held = bool(leases.still_held(connection, [claim]))
        if job is None or not held or checkpoints.has_checkpoint(connection, job.id, step):
            return
        if not checkpointing.is_wanted(job, evaluations.evaluations_of(connection, job.id), step):
            return
    artifact = artifacts.checkpoint(job.id, step, claim.number)
    try:
        artifacts.keep_checkpoint(adapter, artifact)
    except ArtifactMissing:
        if not job.keep_best:
            raise
        # The trainer has removed it, since it has found a better one; it reports that one next.
        said, extra = "job %s: the checkpoint of step %d is not the best any more", {"action": "checkpoint_superseded"}
        logger.info(said, job.id, step, extra={**extra, "job": job.id})
        return
    superseded: tuple[ArtifactRef, ...] = ()
    with database.write() as connection:
        held = leases.hold(connection, claim)
        if held:
            superseded = checkpointing.record_kept(connection, job, step, epoch, artifact)
    for each in superseded if held else (artifact,):
        artifacts.discard_checkpoint(each)
