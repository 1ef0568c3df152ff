"""Follows a job over real trainers, as the dispatcher's thread does."""

from tuningfork.execution.base import (
    CheckpointKept,
    Evaluated,
    Failed,
    Finished,
    Resumed,
    Stepped,
    Stopped,
    Trainers,
    WorkerDied,
)
from tuningfork.service.tuning.running import Running


def follow(running: Running, trainers: Trainers) -> Resumed:
    """Take a job up and record its events, to its end or to that of its trainer; returns its first event."""
    assignment = running.claim()
    assert assignment is not None, "no job waits"
    job_id = assignment.job_id
    begun: Resumed | None = None
    try:
        for event in trainers.train(assignment):
            match event:
                case Resumed(step=step, snapshots=snapshots, evaluations=evaluated):
                    begun = event
                    running.resumed(job_id, step, snapshots, evaluated)
                case Stepped(snapshot=snapshot, tokens=tokens):
                    running.record(job_id, snapshot, tokens)
                case Evaluated(evaluation=evaluation):
                    running.evaluated(job_id, evaluation)
                case CheckpointKept(step=step, epoch=epoch, adapter=adapter):
                    running.checkpoint_kept(job_id, step, epoch, adapter)
                case Finished(adapter=adapter):
                    running.finish(job_id, adapter)
                case Stopped(adapter=partial):
                    running.stopped(job_id, partial)
                case Failed(code=code, message=message):
                    running.fail(job_id, code, message)
    except WorkerDied:
        running.give_back(job_id, died=True)
    assert begun is not None, "the trainer never began"
    return begun
