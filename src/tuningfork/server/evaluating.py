"""Puts the use cases of evaluation runs together, with the loop that carries them out."""

from tuningfork.domain.base_model import Catalog
from tuningfork.domain.errors import TuningforkError
from tuningfork.evaluator import Evaluator
from tuningfork.server.data_directory import now
from tuningfork.service.answering.generation import Generation
from tuningfork.service.datasets.shelf import Shelf
from tuningfork.service.evaluating.beginning import Beginning
from tuningfork.service.evaluating.evaluations import Evaluations
from tuningfork.service.evaluating.held_out_data import HeldOut
from tuningfork.service.evaluating.leaks import LeakSearch
from tuningfork.service.evaluating.reading import Reading
from tuningfork.service.evaluating.running import EvaluationRunning
from tuningfork.service.identity.keys import Access
from tuningfork.service.quotas import Quotas
from tuningfork.store.artifacts import Artifacts
from tuningfork.store.database import Database
from tuningfork.store.leases import ServerId
from tuningfork.wire.gemini.errors import GEMINI_ERRORS


def evaluating_of(
    database: Database,
    artifacts: Artifacts,
    catalog: Catalog,
    shelf: Shelf,
    access: Access,
    generation: Generation,
    quotas: Quotas,
    server: ServerId,
) -> tuple[Evaluations, Evaluator]:
    """The use cases, and the loop, which asks by `generation`. The shelf's database is the one for requests."""
    requests = shelf.database
    running = EvaluationRunning(database, server, access, LeakSearch(database, artifacts), now)
    evaluator = Evaluator(running, generation, quotas, _message_of)
    held_out = HeldOut(shelf, artifacts)
    beginning = Beginning(requests, catalog, held_out, now, shelf.entropy, begun=evaluator.wake)
    reading = Reading(requests, now, stopped=evaluator.wake)
    return Evaluations(beginning=beginning, reading=reading), evaluator


def _message_of(error: TuningforkError) -> str:
    return GEMINI_ERRORS.message_of(error, GEMINI_ERRORS.usual_version)
