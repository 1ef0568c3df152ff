"""The options of a job's training that have no columns: one JSON object in its row.

    {"objective": {"name": "dpo", "beta": 0.1}, "checkpoints": {"steps_every": 5, "epochs_every": 0},
     "validation_count": 100, "evaluate_every": 4, "imported": true, "keep_best": true,
     "early_stopping": {"patience": 3, "least_improvement": 0.0},
     "teaches_next_turn": true, "base_fingerprint": "1f0c",
     "preparation": {"training_uri": "gs://b/t.jsonl", "requested": {"epoch_count": 3},
                     "reader": {"email": "ada@example.com", "project": "local"},
                     "unread": {"seconds": 75.0, "last_try": "2026-12-01T06:00:00+00:00"}}, "unprepared": true}

They are not columns, since no query uses them, and each objective has different hyperparameters. Options with their
default value are left out, so that rows of earlier versions, `{}`, mean cross-entropy without checkpoints and without a
validation set. Only `teaches_next_turn` is written if it is false, too: earlier versions did not look for it. Options
that other versions have written and this one does not know, such as `answers`, are not read.

The columns of a job that was imported, not trained, or that is not prepared, hold the least that their constraints
allow; they mean nothing.
"""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

from tuningfork.domain.checkpoint_schedule import CheckpointSchedule
from tuningfork.domain.early_stopping import EarlyStopping
from tuningfork.domain.hyperparameters import RequestedHyperparameters
from tuningfork.domain.objective import CrossEntropy, DirectPreferenceOptimization, Objective
from tuningfork.domain.permission import Email, Principal
from tuningfork.domain.preparation import Preparation, UnreadFiles
from tuningfork.domain.tuning_job import TuningJob

_DPO = "dpo"
_REQUESTED = ("epoch_count", "batch_size", "learning_rate", "learning_rate_multiplier")


def options_of(job: TuningJob) -> dict[str, Any]:
    """The JSON object of a job's options."""
    schedule, stopping, preparation = job.checkpoints, job.early_stopping, job.preparation
    options = {
        "checkpoints": None if schedule == CheckpointSchedule() else asdict(schedule),
        "validation_count": job.validation_count or None,
        "evaluate_every": job.evaluate_every or None,
        "keep_best": job.keep_best or None,
        "early_stopping": None if stopping is None else asdict(stopping),
        "teaches_next_turn": job.teaches_next_turn,
        "imported": job.imported or None,
        "base_fingerprint": job.base_fingerprint,
        "preparation": None if preparation is None else _written_preparation(preparation),
        "unprepared": None if job.is_prepared else True,
    }
    written = {name: value for name, value in options.items() if value is not None}
    return _written_objective(job.hyperparameters.objective) | written


def _written_objective(objective: Objective) -> dict[str, Any]:
    if isinstance(objective, DirectPreferenceOptimization):
        return {"objective": {"name": _DPO, "beta": objective.beta}}
    return {}


def _written_preparation(preparation: Preparation) -> dict[str, Any]:
    requested = preparation.hyperparameters
    values = {name: getattr(requested, name) for name in _REQUESTED if getattr(requested, name) is not None}
    written: dict[str, Any] = {"training_uri": preparation.training_uri}
    if preparation.validation_uri is not None:
        written["validation_uri"] = preparation.validation_uri
    if asked := values | _written_objective(requested.objective):
        written["requested"] = asked
    if preparation.keeps_checkpoints:
        written["keeps_checkpoints"] = True
    if preparation.reader is not None:
        written["reader"] = {"email": preparation.reader.email, "project": preparation.reader.project}
    if (unread := preparation.unread) is not None:
        written["unread"] = {"seconds": unread.seconds, "last_try": unread.last_try.isoformat()}
    return written


def objective_in(options: Mapping[str, Any]) -> Objective:
    """The objective of a job with these options."""
    return _objective(options.get("objective"))


def _objective(written: Mapping[str, Any] | None) -> Objective:
    if written is None:
        return CrossEntropy()
    if written["name"] != _DPO:
        raise ValueError(f"a job has the objective {written['name']!r}, which this version does not know")
    return DirectPreferenceOptimization(beta=written["beta"])


def checkpoints_in(options: Mapping[str, Any]) -> CheckpointSchedule:
    """When a job with these options keeps checkpoints."""
    return CheckpointSchedule(**options.get("checkpoints", {}))


def validation_count_in(options: Mapping[str, Any]) -> int:
    """How many examples the validation set of a job with these options has; 0: it has none."""
    return int(options.get("validation_count", 0))


def evaluate_every_in(options: Mapping[str, Any]) -> int:
    """The number of steps between evaluations of a job with these options; 0: only after its last step."""
    return int(options.get("evaluate_every", 0))


def keeps_best(options: Mapping[str, Any]) -> bool:
    """Whether a job with these options keeps the checkpoint with the lowest validation loss."""
    return bool(options.get("keep_best"))


def early_stopping_in(options: Mapping[str, Any]) -> EarlyStopping | None:
    """When a job with these options ends before its last step; None: never."""
    written = options.get("early_stopping")
    return None if written is None else EarlyStopping(**written)


def is_imported(options: Mapping[str, Any]) -> bool:
    """Whether the adapter of a job with these options was trained elsewhere."""
    return bool(options.get("imported"))


def preparation_in(options: Mapping[str, Any]) -> Preparation | None:
    """Where the examples of a job with these options are; None: they came with the request."""
    written = options.get("preparation")
    if written is None:
        return None
    requested = dict(written.get("requested", {}))
    objective = _objective(requested.pop("objective", None))
    reader = written.get("reader")
    return Preparation(
        training_uri=written["training_uri"],
        validation_uri=written.get("validation_uri"),
        hyperparameters=RequestedHyperparameters(**requested, objective=objective),
        keeps_checkpoints=bool(written.get("keeps_checkpoints")),
        reader=None if reader is None else Principal(email=Email(reader["email"]), project=reader["project"]),
        unread=_unread(written.get("unread")),
    )


def _unread(written: Mapping[str, Any] | None) -> UnreadFiles | None:
    if written is None:
        return None
    return UnreadFiles(seconds=written["seconds"], last_try=datetime.fromisoformat(written["last_try"]))


def is_prepared(options: Mapping[str, Any]) -> bool:
    """Whether the dataset of a job with these options has been written."""
    return not options.get("unprepared")


def teaches_next_turn(options: Mapping[str, Any]) -> bool | None:
    """Whether examples of a job with these options have answers with the label of a next turn; None: nobody knows."""
    written = options.get("teaches_next_turn")
    return None if written is None else bool(written)


def base_fingerprint_in(options: Mapping[str, Any]) -> str | None:
    """The fingerprint of the weights that a job's adapter belongs to; None: it is not recorded here."""
    written = options.get("base_fingerprint")
    return None if written is None else str(written)
