"""Puts the asking of probe prompts together."""

from tuningfork.domain.errors import TuningforkError
from tuningfork.prober import Prober
from tuningfork.server.data_directory import now
from tuningfork.service.answering.generation import Generation
from tuningfork.service.quotas import Quotas
from tuningfork.service.tuning.probing import Probing
from tuningfork.store.artifacts import Artifacts
from tuningfork.store.database import Database
from tuningfork.wire.gemini.errors import GEMINI_ERRORS


def probing_of(
    database: Database, artifacts: Artifacts, generation: Generation, quotas: Quotas
) -> tuple[Probing, Prober]:
    """The use cases, and the loop, which asks by `generation`."""
    probing = Probing(database, artifacts, now)
    return probing, Prober(probing, generation, quotas, _message_of)


def _message_of(error: TuningforkError) -> str:
    return GEMINI_ERRORS.message_of(error, GEMINI_ERRORS.usual_version)
