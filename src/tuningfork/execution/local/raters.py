"""Rating in a child process of this machine."""

from tuningfork.domain.safety import Assessment
from tuningfork.execution.base import RatingAssignment
from tuningfork.execution.local.child import SILENCE_SECONDS
from tuningfork.execution.local.messages import Rate, Rated
from tuningfork.execution.local.requests import RequestChild, expect

MODULE = "tuningfork.execution.local.rater_process"


class LocalRaters(RequestChild):
    """Implements `execution.base.Raters` with one rater process.

    A rater that dies ends its requests with `WorkerDied`; the next call starts a new one.
    """

    def __init__(
        self, environment: dict[str, str], module: str = MODULE, *, silence_seconds: float = SILENCE_SECONDS
    ) -> None:
        super().__init__(module, environment, silence_seconds=silence_seconds)

    async def rate(self, assignment: RatingAssignment) -> tuple[Assessment, ...]:
        """See `Raters.rate`."""
        request_id, reports = self._open()
        try:
            self._order(Rate(request_id, assignment))
            return expect(await reports.get(), Rated).assessments
        finally:
            self._forget(request_id)
