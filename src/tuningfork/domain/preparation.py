"""What happens to a job's examples before its training, if they are in a bucket and not in the request."""

from dataclasses import dataclass
from datetime import datetime

from tuningfork.domain.hyperparameters import RequestedHyperparameters
from tuningfork.domain.permission import Principal


@dataclass(frozen=True, slots=True, kw_only=True)
class UnreadFiles:
    """Files of a job that could not be read at the last try: for how many seconds now, and when that try ended."""

    seconds: float
    last_try: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Preparation:
    """Where the examples of a job are, and what is chosen for the job once it is known how many there are."""

    training_uri: str
    """The object with the examples, such as `gs://bucket/training.jsonl`."""
    validation_uri: str | None = None
    """The object with the examples of the validation set; None: the job has none."""
    hyperparameters: RequestedHyperparameters = RequestedHyperparameters()
    """What the caller asked for; the rest is chosen for the number of examples."""
    keeps_checkpoints: bool = False
    """Whether the job keeps checkpoints on its way, about one for each epoch and about ten in all."""
    reader: Principal | None = None
    """Who asked for the job, without groups: the files are read only if this caller may read them at that time. None in
    a request, and in jobs of versions that did not record it, where the model's owner counts."""
    unread: UnreadFiles | None = None
    """What is known of files that could not be read at the last try; None: they were not tried, or could be read."""
