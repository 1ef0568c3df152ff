"""The use case of reading the metrics of a tuning job, by the job's number."""

from dataclasses import dataclass

from tuningfork.domain.errors import NotFound
from tuningfork.domain.evaluation import Evaluation
from tuningfork.domain.permission import Action, Principal
from tuningfork.domain.tuned_model import ProjectLocation
from tuningfork.service.tuning.registered import check
from tuningfork.service.tuning.tuned import Tuned, with_jobs
from tuningfork.store import registry
from tuningfork.store.database import Database, Transaction
from tuningfork.store.evaluations import evaluations_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A job with its snapshots and evaluations so far, and the model that it makes."""

    tuned: Tuned
    evaluations: tuple[Evaluation, ...]


class NoSuchExperiment(NotFound):
    """No job has this number, or nobody with the caller's roles may know."""

    def __init__(self) -> None:
        super().__init__("The Experiment does not exist.")


@dataclass(frozen=True, slots=True)
class Experiments:
    """Each job is an experiment with one run."""

    database: Database

    def find(self, principal: Principal, place: ProjectLocation, number: int) -> Tuned:
        """The job with this number, without its snapshots.

        Raises:
            NotFound: there is no such job in this project and location, or the caller has no role on its model.

        """
        with self.database.read() as connection:
            return _found(connection, principal, place, number, snapshots=False)

    def measured(self, principal: Principal, place: ProjectLocation, number: int) -> Measured:
        """The job with this number, and what was measured so far.

        Raises:
            NotFound: there is no such job in this project and location, or the caller has no role on its model.

        """
        with self.database.read() as connection:
            tuned = _found(connection, principal, place, number, snapshots=True)
            return Measured(tuned=tuned, evaluations=evaluations_of(connection, tuned.job.id))


def _found(
    connection: Transaction, principal: Principal, place: ProjectLocation, number: int, *, snapshots: bool
) -> Tuned:
    model = registry.find_numbered(connection, place, number)
    if model is None:
        raise NoSuchExperiment
    check(connection, principal, model.id, Action.GET, NoSuchExperiment)
    [tuned] = with_jobs(connection, [model], snapshots=snapshots)
    return tuned
